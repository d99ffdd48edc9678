package leaktest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/visit"
)

// families are the branches of one family each, with the type of their addresses.
var families = []struct {
	branch visit.Branch
	kind   dnswire.Type
}{{visit.V4, dnswire.A}, {visit.V6, dnswire.AAAA}}

// causeOf is the cause of a second resolver for one family; empty: that of the case.
func causeOf(t dnswire.Type) string {
	if t == dnswire.AAAA {
		return ofIPv6
	}
	return ""
}

// tryNamesByChannel asks every channel for fresh names, and connects to them, in each family.
func tryNamesByChannel(ctx context.Context, r *run, f *findings) {
	var trying sync.WaitGroup
	for _, c := range r.channels {
		trying.Go(func() {
			defer guard(f)
			if !c.Exit {
				for _, t := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
					label, host := r.name(visit.Plain)
					r.ask(ctx, c, f, visited{label: label, channel: c.Name, what: fmt.Sprintf("channel %s, %s", c.Name, t), must: true, cause: causeOf(t)}, host, t)
				}
			}
			reached := false
			for _, family := range families {
				label, host := r.name(family.branch)
				v := visited{label: label, channel: c.Name, what: fmt.Sprintf("channel %s, connecting, %s only", c.Name, family.branch), cause: causeOf(family.kind)}
				if r.reach(ctx, c.Name, f, v, func(ctx context.Context) (net.Conn, error) { return c.Connect(ctx, host, r.api.port) }) {
					reached = true
				}
			}
			if !reached {
				f.doubt(fixConnect, "channel %s: no connection came to the canary", c.Name)
			}
		})
	}
	trying.Wait()
}

// ask asks a channel a question, and notes what came of it.
func (r *run) ask(ctx context.Context, c Channel, f *findings, v visited, host string, t dnswire.Type) {
	a, local, err := c.Exchange(ctx, dnswire.Question{Name: host, Type: t})
	switch {
	case local:
		f.doubt("the canary's zone is for special use: take an ordinary name", "%s: the name was answered here", v.what)
		return
	case err != nil && fault.Of(err).Code == fault.NotReady:
		f.doubt("see `watertight status`", "%s: %s", v.what, fault.Of(err).Message)
		return
	case err != nil:
		f.note("%s: refused with %s", v.what, fault.Of(err).Code)
	default:
		f.note("%s: answered %s with %d records", v.what, dnswire.RCodeText(a.RCode), len(a.Records))
	}
	f.visit(v)
}

// reach connects to a name of the canary, asks there from where the connection came, and notes it. It says false where it did not
// get there. Who did has had the name resolved: the canary must have seen that.
func (r *run) reach(ctx context.Context, channel string, f *findings, v visited, to dial) bool {
	who, err := r.api.whoever(ctx, to)
	v.must = err == nil
	f.visit(v)
	if err != nil {
		f.note("%s: %s", v.what, err)
		return false
	}
	r.judgeExit(v, r.known[channel], who.Address, who.Network, f)
	return true
}

const fixConnect = "see the evidence for why the canary was not reached; where it has an address that is not public, `policy.private_targets` has to allow that"

// tryNamesByDoor comes in by every door as clients do, in each family, and asks the canary from where the connection came.
func tryNamesByDoor(ctx context.Context, r *run, f *findings) {
	channel := r.leads(f)
	if channel == "" {
		return
	}
	var trying sync.WaitGroup
	for _, d := range r.doors {
		if d.Kind == DoorTransparent && d.Unfit != "" {
			f.skip("%s %s: %s", d.Kind, d.At, d.Unfit)
		}
	}
	for _, d := range r.doorsOf(DoorProxy, f) {
		for _, e := range entrancesOf(d, f) {
			trying.Go(func() {
				defer guard(f)
				reached := false
				for _, family := range families {
					label, host := r.name(family.branch)
					v := visited{label: label, channel: channel, what: fmt.Sprintf("%s by %s, %s only", d.At, e.name, family.branch), cause: causeOf(family.kind)}
					if r.reach(ctx, channel, f, v, func(ctx context.Context) (net.Conn, error) { return enterNamed(ctx, d, e, host, r.api.port) }) {
						reached = true
					}
				}
				if !reached {
					f.doubt(fixConnect, "%s by %s: no connection came to the canary", d.At, e.name)
				}
			})
		}
	}
	trying.Wait()
}

// leads gives the channel that names of the canary take by a door, or "" after it has said why there is none.
func (r *run) leads(f *findings) string {
	channel, err := r.o.Subject.Leads("a." + r.o.Canary.Zone)
	if err != nil {
		f.skip("the routes refuse names of the canary: write a route for *.%s", r.o.Canary.Zone)
		return ""
	}
	if r.known[channel] == nil {
		f.skip("the channel %s, which names of the canary take, is not known", channel)
		return ""
	}
	return channel
}

// doorsOf gives the doors of a kind that the test can come in by, and says of the others why not.
func (r *run) doorsOf(k DoorKind, f *findings) (fit []Door) {
	some := false
	for _, d := range r.doors {
		switch {
		case d.Kind != k:
			continue
		case d.Unfit != "":
			f.skip("%s %s: %s", d.Kind, d.At, d.Unfit)
		default:
			fit = append(fit, d)
		}
		some = true
	}
	if !some {
		f.skip("there is no listener of this kind (`listen.%s`)", k)
	}
	return fit
}

// tryDNSDoor asks every DNS door for fresh names.
func tryDNSDoor(ctx context.Context, r *run, f *findings) {
	channel := r.leads(f)
	if channel == "" {
		return
	}
	exit := r.known[channel].channel.Exit
	if slices.ContainsFunc(r.doors, func(d Door) bool { return d.Kind == DoorDNS }) {
		f.need()
	}
	for _, d := range r.doorsOf(DoorDNS, f) {
		for _, way := range d.askings() {
			for _, t := range []dnswire.Type{dnswire.A, dnswire.AAAA, dnswire.HTTPS} {
				label, host := r.name(visit.Plain)
				v := visited{label: label, channel: channel, what: fmt.Sprintf("dns %s over %s, %s", d.At, way.over, t), nobody: exit, must: !exit}
				a, err := question(ctx, d, way, dnswire.Question{Name: host, Type: t})
				if err != nil {
					f.doubt("see whether the listener answers: `dig @ADDRESS -p PORT`", "%s: %v", v.what, err)
					continue
				}
				f.note("%s: %s with %d records", v.what, dnswire.RCodeText(a.RCode), len(a.Records))
				f.visit(v)
			}
		}
	}
}
