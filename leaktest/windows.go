package leaktest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/visit"
)

// The windows in time in which others leak (docs/leaks.md, C1 to C4): before a channel is ready, when a reload takes it away, when the
// network has changed, and when a connection is made again. They are made for private copies.

const (
	unreadyLimit = 2 * time.Second // who asks a copy that is not ready waits for so long
	windowLimit  = 10 * time.Second
	againMost    = 8 // questions until a copy that was cut off is back
)

// eachCopy does something with a copy of each channel, side by side, unless it says why not.
func (r *run) eachCopy(f *findings, but func(c Channel) string, do func(c Channel)) {
	var trying sync.WaitGroup
	for _, c := range r.channels {
		if why := but(c); why != "" {
			f.skip("channel %s: %s", c.Name, why)
			continue
		}
		trying.Go(func() {
			defer guard(f)
			do(c)
		})
	}
	trying.Wait()
}

func every(Channel) string { return "" }

// resolving says why a channel has no resolver that a copy could ask.
func resolving(c Channel) string {
	switch {
	case c.Exit:
		return "its exit resolves"
	case c.Tunnel:
		return ErrTunnel.Error()
	}
	return ""
}

// tryUnready asks copies of channels that never became ready, as nothing lets them reach anybody.
func tryUnready(ctx context.Context, r *run, f *findings) {
	r.eachCopy(f, every, func(c Channel) {
		var trying sync.WaitGroup
		for _, silent := range []bool{false, true} {
			trying.Go(func() {
				defer guard(f)
				what := fmt.Sprintf("a copy of the channel %s that is not ready yet, as all %s", c.Name, map[bool]string{false: "refuses", true: "is silent"}[silent])
				copied, err := r.o.Subject.CopyUnready(ctx, c.Name, silent)
				if err != nil {
					f.doubt("see `watertight status`", "%s: %s", what, err)
					return
				}
				defer copied.Close()
				ctx, cancel := context.WithTimeout(ctx, unreadyLimit)
				defer cancel()
				r.askInVain(ctx, c, copied, what, vain{"C1", "nothing of the channel can be reached"}, f)
				r.judgeTried(c, copied, what, "C1", f)
			})
		}
		trying.Wait()
	})
}

// tryRetired closes copies as a reload closes what it replaces, under a question, and asks them once more.
func tryRetired(ctx context.Context, r *run, f *findings) {
	r.eachCopy(f, every, func(c Channel) {
		what := "a copy of the channel " + c.Name + " that was closed, as by a reload"
		copied, err := r.o.Subject.Copy(ctx, c.Name)
		if err != nil {
			f.doubt("see `watertight status`", "%s: %s", what, err)
			return
		}
		defer copied.Close()
		ctx, cancel := context.WithTimeout(ctx, windowLimit)
		defer cancel()
		var asking sync.WaitGroup
		if r.noCanary == "" && resolving(c) == "" {
			asking.Go(func() {
				defer guard(f)
				label, host := r.name(visit.Slow)
				_, _, err := copied.Exchange(ctx, dnswire.Question{Name: host, Type: dnswire.A})
				v := visited{label: label, channel: c.Name, what: what + ", a question under way"}
				f.note("%s: %s", v.what, outcomeOf(err))
				f.visit(v)
			})
			pauseBriefly(ctx)
		}
		copied.Retire()
		if c.Exit {
			f.skip("channel %s: its exit resolves: it has nothing that could answer", c.Name)
		} else {
			r.askInVain(ctx, c, copied, what, vain{"C2", "it is closed"}, f)
		}
		asking.Wait()
		r.judgeTried(c, copied, what, "C2", f)
	})
}

// tryChanged tells copies that the network has changed, and asks for a name once more that they have learnt before.
func tryChanged(ctx context.Context, r *run, f *findings) {
	r.eachWorking(ctx, f, "whose network has changed", func(ctx context.Context, c Channel, copied Copy, what string) {
		label, host := r.name(visit.Plain)
		q := dnswire.Question{Name: host, Type: dnswire.A}
		v := visited{label: label, channel: c.Name, what: what, must: true}
		defer f.visit(v)
		if _, _, err := copied.Exchange(ctx, q); err != nil && fault.Of(err).Code == fault.NotReady {
			f.doubt("see `watertight status`", "%s: %s", what, fault.Of(err).Message)
			return
		}
		copied.Changed()
		_, _, err := copied.Exchange(ctx, q)
		f.note("%s, asked once more: %s", what, outcomeOf(err))
		if err != nil {
			f.doubt("see `watertight status`, and run it again", "%s: its resolver did not answer once more", what)
		} else if len(copied.Tried()) == 0 {
			f.leak("C3", fixProgram, "%s: it answers with what it learnt before, or by a connection of before: nothing was connected to anew", what)
		}
		r.judgeTried(c, copied, what, "C3", f)
	})
}

// tryAgain cuts copies off, gives them their network back, and asks until they are there again.
func tryAgain(ctx context.Context, r *run, f *findings) {
	r.eachWorking(ctx, f, "that was cut off for a moment", func(ctx context.Context, c Channel, copied Copy, what string) {
		copied.Cut(false)
		meanwhile, host := r.unreachable(what + ", meanwhile")
		meanwhile.cause = c.causeWhereDead()
		if _, _, err := copied.Exchange(ctx, dnswire.Question{Name: host, Type: dnswire.A}); err == nil {
			f.leak(c.causeWhereDead(), fixCut, "%s: it was answered, though the resolver cannot be reached", meanwhile.what)
		}
		f.visit(meanwhile)
		copied.Restore()
		back := false
		for range againMost {
			label, host := r.name(visit.Plain)
			_, _, err := copied.Exchange(ctx, dnswire.Question{Name: host, Type: dnswire.A})
			back = err == nil
			f.visit(visited{label: label, channel: c.Name, what: what, must: back})
			if back || ctx.Err() != nil {
				break
			}
			pause(ctx, pauseMost)
		}
		if !back {
			f.doubt("see `watertight status`", "%s: its resolver did not answer again", what)
		}
		r.judgeTried(c, copied, what, "C4", f)
	})
}

// eachWorking does something with a copy of each channel that has a resolver, which works, and within a time.
func (r *run) eachWorking(ctx context.Context, f *findings, which string, do func(ctx context.Context, c Channel, copied Copy, what string)) {
	r.eachCopy(f, resolving, func(c Channel) {
		f.need()
		what := "a copy of the channel " + c.Name + " " + which
		copied := r.working(ctx, c, what, f)
		if copied == nil {
			return
		}
		defer copied.Close()
		ctx, cancel := context.WithTimeout(ctx, windowLimit)
		defer cancel()
		do(ctx, c, copied, what)
	})
}

// working gives a copy that works; nil, after it has said why there is none.
func (r *run) working(ctx context.Context, c Channel, what string, f *findings) Copy {
	copied, err := r.o.Subject.Copy(ctx, c.Name)
	if err == nil {
		if err = copied.Ready(); err == nil {
			return copied
		}
		copied.Close()
	}
	f.doubt("see `watertight status`", "%s never worked: %s", what, fault.Of(err).Message)
	return nil
}

func outcomeOf(err error) string {
	if err != nil {
		return "refused with " + string(fault.Of(err).Code)
	}
	return "answered"
}

// vain is why a copy must refuse, and the cause of a leak where it does not.
type vain struct{ cause, though string }

// askInVain asks a copy for a fresh name, and to connect to one, each of which it must refuse.
func (r *run) askInVain(ctx context.Context, c Channel, copied Copy, what string, why vain, f *findings) {
	var asking sync.WaitGroup
	if !c.Exit {
		asking.Go(func() {
			defer guard(f)
			v, host := r.unreachable(what + ", asked for a name")
			v.cause = why.cause
			a, local, err := copied.Exchange(ctx, dnswire.Question{Name: host, Type: dnswire.A})
			if err == nil && !local {
				f.leak(why.cause, fixCut, "%s: it was answered %s, though %s", v.what, dnswire.RCodeText(a.RCode), why.though)
			}
			refusedBy(err, v.what, f)
			f.visit(v)
		})
	}
	asking.Go(func() {
		defer guard(f)
		v, host := r.unreachable(what + ", asked to connect")
		v.cause = why.cause
		conn, err := copied.Connect(ctx, host, 443)
		if err == nil {
			_ = conn.Close()
			f.leak(why.cause, fixCut, "%s: it connected, though %s", v.what, why.though)
		}
		refusedBy(err, v.what, f)
		f.visit(v)
	})
	asking.Wait()
}

// judgeTried says whether a copy wanted to connect to others than those that its configuration names.
func (r *run) judgeTried(c Channel, copied Copy, what, cause string, f *findings) {
	for _, a := range copied.Tried() {
		to := a.To.Addr().Unmap()
		own := len(c.Hops) > 0 && slices.Contains(c.Addresses, to)
		switch {
		case a.Named:
			f.note("%s wanted to connect to %s again, as configured", what, a.To)
		case r.ofEnvironment(a.To):
			f.leak("E2", fixProgram, "%s wanted to connect to %s, the proxy of this program's environment", what, a.To)
		case slices.Contains(clearPorts, a.To.Port()):
			f.leak("B5", fixCut, "%s wanted to ask for names in clear, at %s", what, a.To)
		case slices.ContainsFunc(c.Behind, func(at netip.AddrPort) bool { return at.Addr().Unmap() == to }):
			f.leak("D3", fixCut, "%s wanted to connect to %s, which its relay alone may speak to", what, a.To)
		case own && a.Packets:
			f.leak("D2", fixCut, "%s wanted to send datagrams to its resolver %s by itself, and not through its hops", what, a.To)
		case own:
			f.leak("D5", fixCut, "%s wanted to connect to its resolver %s by itself, and not through its hops", what, a.To)
		default:
			f.leak(cause, fixCut, "%s wanted to connect to %s, which is none of its resolvers and hops", what, a.To)
		}
	}
}

// clearPorts are the ports on which names are asked for in clear text.
var clearPorts = []uint16{53, 137, 5353, 5355}
