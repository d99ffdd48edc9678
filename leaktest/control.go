package leaktest

import (
	"context"
	"net/netip"

	"watertight/visit"
)

// controlled is the positive control: a name that this host's own resolver was asked for, as by a client that resolves by itself.
type controlled struct {
	label string
	err   error // what the resolver said
	// guarded says that it found nothing, while the guard that holds refused questions in clear and counted them.
	guarded bool
	by      string
	why     string // it shows nothing
}

// outcome is what came of it, in a sentence.
func (c controlled) outcome() string {
	switch {
	case c.by != "":
		return "seen: " + c.by
	case c.label == "":
		return "not tried"
	}
	return "not seen: " + c.why
}

// tryControl asks the host's resolver, past every channel, for a name of the canary that means nothing.
func tryControl(ctx context.Context, r *run, f *findings) {
	if r.o.Control == nil {
		f.skip("the host's own resolver was not to be asked")
		return
	}
	label, host := r.name(visit.Plain)
	r.guarded.counting.Lock()
	defer r.guarded.counting.Unlock()
	before, known := r.guardNow(ctx)
	err := r.o.Control(ctx, host)
	guarded := false
	if after, ok := r.guardNow(ctx); ok && known && err != nil {
		guarded = after.Held && after.Refused.since(before.Refused).DNS > 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.control = controlled{label: label, err: err, guarded: guarded}
}

const fixControl = "give the host a resolver that answers while the test runs, or look at the packets: without a leak that was seen on purpose, none that was not seen means anything"

// thenControl looks whether the name was seen: by the canary, or on the wire.
func thenControl(ctx context.Context, r *run, f *findings) {
	c := &r.control
	if c.label == "" {
		return
	}
	s, err := r.api.seen(ctx, r.home, c.label)
	if err != nil {
		c.why = err.Error()
	} else {
		c.why = "the canary has seen nothing of a name that the host's own resolver was asked for"
	}
	if len(s.Queries) > 0 {
		c.by = "the canary was asked by the host's own resolver, " + party(s.Queries[0].From.Addr().Unmap(), s.Queries[0].Network)
		f.held("%s", c.by)
		return
	}
	for _, sight := range r.observed.Sightings {
		if sight.Label == c.label && !ofThisHost(sight) {
			c.by = "a packet with the name left this host by " + sight.Interface + " to " + sight.To.String()
			f.held("%s", c.by)
			return
		}
	}
	if c.guarded {
		c.by = "the guard refused what the host's own resolver asked, and counted it"
		f.held("%s: of a leak of another program that would be seen; this program's own, which the guard lets pass, are seen by the canary", c.by)
		return
	}
	if c.err != nil {
		c.why += " (it said: " + clean(c.err.Error()) + ")"
	}
	f.doubt(fixControl, "%s", c.why)
}

// ofThisHost says that a packet did not leave it: such as what the firewall tells a program that it refused (ICMP), with the packet in it.
func ofThisHost(s Sighting) bool {
	local := func(a netip.AddrPort) bool { return a.Addr().IsLoopback() }
	return local(s.From) && local(s.To) || s.Interface == "lo" || s.From.Addr() == s.To.Addr()
}
