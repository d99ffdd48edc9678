package leaktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"watertight/fault"
	"watertight/visit"
)

// cutLimit is how long one who asks a copy that is cut off waits for his refusal.
const cutLimit = 25 * time.Second

// tryCut gives the case of channels that are cut off, where all is refused or nobody answers.
func tryCut(silent bool) func(ctx context.Context, r *run, f *findings) {
	return func(ctx context.Context, r *run, f *findings) {
		var trying sync.WaitGroup
		for _, c := range r.channels {
			trying.Go(func() {
				defer guard(f)
				r.cut(ctx, c, silent, f)
			})
		}
		trying.Wait()
	}
}

// cut cuts a private copy of a channel off, and asks it for a fresh name.
func (r *run) cut(ctx context.Context, c Channel, silent bool, f *findings) {
	what := "a copy of the channel " + c.Name
	copied, err := r.o.Subject.Copy(ctx, c.Name)
	if err != nil {
		f.doubt("see `watertight status`", "%s: %s", what, err)
		return
	}
	r.cutCopy(ctx, c, copied, what, silent, f)
}

// tryCutResolver cuts the resolver off of private copies of channels whose hops live on: refused, and silent.
func tryCutResolver(ctx context.Context, r *run, f *findings) {
	var trying sync.WaitGroup
	for _, c := range r.channels {
		if c.Exit || c.Over == "" && len(c.Hops) == 0 {
			f.skip("channel %s: it has no resolver behind hops", c.Name)
			continue
		}
		for _, silent := range []bool{false, true} {
			trying.Go(func() {
				defer guard(f)
				what := fmt.Sprintf("a copy of the channel %s whose resolver alone %s", c.Name, map[bool]string{false: "refuses", true: "is silent"}[silent])
				copied, err := r.o.Subject.CopyForResolver(ctx, c.Name)
				if errors.Is(err, ErrTunnel) {
					f.skip("channel %s: %v", c.Name, err)
					return
				}
				f.need()
				if err != nil {
					f.doubt("see `watertight status`", "%s: %s", what, err)
					return
				}
				r.cutCopy(ctx, c, copied, what, silent, f)
			})
		}
	}
	trying.Wait()
}

// cutCopy cuts a copy off, asks it for a fresh name, and ends it.
func (r *run) cutCopy(ctx context.Context, c Channel, copied Copy, what string, silent bool, f *findings) {
	defer copied.Close()
	if err := copied.Ready(); err != nil {
		what += " that never worked (" + string(fault.Of(err).Code) + ")"
	}
	copied.Cut(silent)
	ctx, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	cause := c.causeWhereDead()
	r.askInVain(ctx, c, copied, what, vain{cause, "the resolver cannot be reached"}, f)
	r.judgeTried(c, copied, what, cause, f)
}

// causeWhereDead is the cause of a leak of a channel that reaches nobody.
func (c Channel) causeWhereDead() string {
	if c.Pool { // all of its members are dead
		return "B6"
	}
	return "B1"
}

const fixCut = "this is a fault of the program: report it with this report"

// unreachable is a fresh name that nobody is to be asked for.
func (r *run) unreachable(what string) (visited, string) {
	label := r.label()
	host := label + ".example.com"
	if r.noCanary == "" {
		host = visit.Name(label, visit.Plain, r.o.Canary.Zone)
	}
	return visited{label: label, what: what, nobody: true}, host
}

// refusedBy notes with what code something was refused. INTERNAL is none that a channel which cannot be reached has.
func refusedBy(err error, what string, f *findings) {
	if err == nil {
		return
	}
	e := fault.Of(err)
	if e.Code == fault.Internal {
		f.doubt("report this as a fault of the program", "%s: %s", what, fmt.Sprintf("%s (%s)", e.Message, e.Code))
		return
	}
	f.held("%s: refused with %s", what, e.Code)
}
