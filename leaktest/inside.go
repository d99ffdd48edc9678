package leaktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Container is a [Subject] that can run a program which has no way out but its channels.
type Container interface {
	// Inside has such a program try to have names looked up elsewhere, and gives what came of it: for what the policy lets pass,
	// nothing. host is asked for, and leads to a channel; empty: none is known that does. With an error nothing was tried: it wraps
	// [ErrUncontained] where this host contains no programs.
	Inside(ctx context.Context, host string) ([]Tried, error)
}

// ErrUncontained is why nothing was tried inside, where this host contains no programs: it is no fault of the program.
var ErrUncontained = errors.New("no program can be contained here")

// Tried is one way that was tried.
type Tried struct {
	Kind   string // the ID of a case
	What   string // a sentence without its end: what was tried, and with whom
	Result string // answered, refused, silent, absent, elsewhere, unclear: with what was said
	Held   bool   // it is as it must be
	Open   bool   // it led elsewhere, or could have
}

// insides are the cases of a contained program.
func insides() []definition {
	list := []definition{
		{Listed: Listed{ID: "EXEC-FILES", Title: "A contained program finds the proxy's resolvers alone in its files", Cause: "D8"}},
		{Listed: Listed{ID: "EXEC-NAME", Title: "A contained program's names are answered by what carries it", Cause: "G8"}},
		{Listed: Listed{ID: "EXEC-DNS", Title: "A contained program that asks another resolver is answered by what carries it", Cause: "G8"}},
		{Listed: Listed{ID: "EXEC-DOT", Title: "A contained program reaches no DNS over TLS or QUIC", Cause: "G11"}},
		{Listed: Listed{ID: "EXEC-DOH", Title: "A contained program reaches no known DNS over HTTPS", Cause: "G11"}},
		{Listed: Listed{ID: "EXEC-LITERAL", Title: "A contained program reaches no address that was given to nobody", Cause: "H1"}},
		{Listed: Listed{ID: "EXEC-MULTICAST", Title: "A contained program asks no neighbours (mDNS, LLMNR, NetBIOS)", Cause: "G11"}},
		{Listed: Listed{ID: "EXEC-SOCKET", Title: "A contained program finds no name service of the host", Cause: "G1"}},
		{Listed: Listed{ID: "EXEC-DEVICE", Title: "A contained program finds no interface of the host", Cause: "G5"}},
		{Listed: Listed{ID: "EXEC-PACKET", Title: "A contained program sends no packets past its network", Cause: "G5"}},
	}
	for i := range list {
		id := list[i].ID
		list[i].fix, list[i].NeededWhere = fixProgram, "programs can be contained"
		list[i].try = func(ctx context.Context, r *run, f *findings) { r.tryInside(ctx, id, f) }
	}
	return list
}

// within is what a contained program found, which is run once for all of the cases.
type within struct {
	once sync.Once
	all  []Tried
	err  error
}

// tryInside takes from what a contained program found that which is of one case.
func (r *run) tryInside(ctx context.Context, id string, f *findings) {
	c, ok := r.o.Subject.(Container)
	if !ok {
		f.skip("programs are contained on Linux only")
		return
	}
	r.within.once.Do(func() { r.within.all, r.within.err = c.Inside(ctx, r.hostInside()) })
	switch err := r.within.err; {
	case errors.Is(err, ErrUncontained):
		f.skip("%v", err)
		return
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f.need()
		f.doubt("run the test again", "the program inside did not end: %v", err)
		return
	case err != nil:
		f.need()
		f.doubt("see whether `watertight exec true` works", "programs can be contained here, and this one could not be: %v", err)
		return
	}
	mine := slices.DeleteFunc(slices.Clone(r.within.all), func(t Tried) bool { return t.Kind != id })
	for _, t := range mine {
		f.need()
		text := fmt.Sprintf("%s: %s", t.What, t.Result)
		switch {
		case t.Held:
			f.held("%s", text)
		case t.Open:
			f.leak("", "", "%s", text)
		default:
			f.doubt("run `watertight exec` with a program of your own that does it, and see its log", "%s", text)
		}
	}
	if len(mine) == 0 {
		f.skip("the configuration lets it pass: see `policy.foreign_resolvers` and `exec.client_resolved`")
	}
}

// hostInside is a name that nobody has asked for, and that is asked of nobody inside, as no connection is made to it. Empty: the routes
// lead nowhere with it.
func (r *run) hostInside() string {
	zone := "example.com"
	if r.o.Canary != nil {
		zone = r.o.Canary.Zone
	}
	host := r.label() + "." + zone
	if _, err := r.o.Subject.Leads(host); err != nil {
		return ""
	}
	return host
}
