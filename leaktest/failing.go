package leaktest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/visit"
)

// provoking are the branches whose failures make others fall back.
var provoking = []visit.Branch{visit.Servfail, visit.Refused, visit.Nxdomain, visit.Bogus, visit.Silent, visit.Slow, visit.TCP}

// tryFailing asks for names that fail, in every channel and by a door.
func tryFailing(ctx context.Context, r *run, f *findings) {
	var trying sync.WaitGroup
	for _, c := range r.channels {
		for _, b := range provoking {
			trying.Go(func() {
				defer guard(f)
				label, host := r.name(b)
				v := visited{label: label, channel: c.Name, what: fmt.Sprintf("channel %s, a name that is %s", c.Name, b), must: b == visit.Servfail && !c.Exit}
				if !c.Exit {
					r.ask(ctx, c, f, v, host, dnswire.A)
					return
				}
				conn, err := c.Connect(ctx, host, r.api.port)
				end(conn, err, v.what, f)
				f.visit(v)
			})
		}
	}
	r.failingByDoor(ctx, f, &trying)
	trying.Wait()
}

// failingByDoor asks for the same as a client does.
func (r *run) failingByDoor(ctx context.Context, f *findings, trying *sync.WaitGroup) {
	channel := r.leads(f)
	doors := r.doorsOf(DoorProxy, f)
	if channel == "" || len(doors) == 0 {
		return
	}
	for _, e := range entrancesOf(doors[0], f) {
		for _, b := range []visit.Branch{visit.Servfail, visit.Nxdomain, visit.Silent} {
			trying.Go(func() {
				defer guard(f)
				label, host := r.name(b)
				v := visited{label: label, channel: channel, what: fmt.Sprintf("%s by %s, a name that is %s", doors[0].At, e.name, b)}
				conn, err := enterNamed(ctx, doors[0], e, host, r.api.port)
				if err != nil && !refused(err) {
					f.doubt("see `watertight status`", "%s: %v", v.what, err)
				}
				if err == nil && !r.known[channel].channel.Exit {
					f.leak("", "", "%s: connected, though the name has no address", v.what)
				}
				end(conn, err, v.what, f)
				f.visit(v)
			})
		}
	}
}

// end closes a connection, and notes what came of it.
func end(conn net.Conn, err error, what string, f *findings) {
	if err != nil {
		f.note("%s: refused: %s", what, err)
		return
	}
	_ = conn.Close()
	f.note("%s: connected", what)
}

// tryExpired asks twice for a name that expires in between.
func tryExpired(ctx context.Context, r *run, f *findings) {
	var trying sync.WaitGroup
	for _, c := range r.channels {
		if c.Exit {
			f.skip("channel %s: its exit resolves", c.Name)
			continue
		}
		trying.Go(func() {
			defer guard(f)
			label, host := r.name(visit.Short)
			q := dnswire.Question{Name: host, Type: dnswire.A}
			for i := range 2 {
				if _, _, err := c.Exchange(ctx, q); err != nil {
					f.note("channel %s, question %d: refused with %s", c.Name, i+1, fault.Of(err).Code)
				}
				if i == 0 {
					pause(ctx, 2*time.Second)
				}
			}
			f.visit(visited{label: label, channel: c.Name, what: "channel " + c.Name + ", a name before and after it expired", must: true})
		})
	}
	trying.Wait()
}

// tryServices asks for the records that say how a service is reached.
func tryServices(ctx context.Context, r *run, f *findings) {
	for _, c := range r.channels {
		if c.Exit {
			f.skip("channel %s: its exit resolves", c.Name)
			continue
		}
		label, host := r.name(visit.Plain)
		r.ask(ctx, c, f, visited{label: label, channel: c.Name, what: "channel " + c.Name + ", HTTPS", must: true}, host, dnswire.HTTPS)
	}
}

// apart is a name that was asked for in two channels, one after the other.
type apart struct {
	label, first, second string
}

// tryApart asks for the same name in two channels.
func tryApart(ctx context.Context, r *run, f *findings) {
	var here []Channel
	for _, c := range r.channels {
		if !c.Exit && len(r.known[c.Name].asked) > 0 {
			here = append(here, c)
		}
	}
	tried := false
	for i, c := range here {
		for _, other := range here[i+1:] {
			if sharesResolver(r.known[c.Name], r.known[other.Name]) {
				continue
			}
			tried = true
			r.askBoth(ctx, f, c, other)
		}
	}
	if !tried {
		f.skip("no two channels have resolvers that can be told apart")
	}
}

func (r *run) askBoth(ctx context.Context, f *findings, c, other Channel) {
	label, host := r.name(visit.Plain)
	q := dnswire.Question{Name: host, Type: dnswire.A}
	for _, one := range []Channel{c, other} {
		if _, _, err := one.Exchange(ctx, q); err != nil {
			f.doubt("see `watertight status`", "channel %s: %s", one.Name, fault.Of(err).Message)
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apart = append(r.apart, apart{label, c.Name, other.Name})
}

// thenApart looks whether both resolvers were asked.
func thenApart(ctx context.Context, r *run, f *findings) {
	for _, a := range r.apart {
		s, err := r.api.seen(ctx, r.home, a.label)
		if err != nil {
			f.doubt("see whether the canary's API can be reached", "%s", err)
			continue
		}
		asked := func(channel string) bool {
			return slices.ContainsFunc(s.Queries, func(q visit.Query) bool { yes, _ := r.known[channel].has(q); return yes })
		}
		strange := slices.ContainsFunc(s.Queries, func(q visit.Query) bool {
			one, _ := r.known[a.first].has(q)
			two, _ := r.known[a.second].has(q)
			return !one && !two
		})
		what := fmt.Sprintf("the same name in the channels %s and %s", a.first, a.second)
		switch {
		case asked(a.first) && asked(a.second):
			f.held("%s: the resolvers of both were asked", what)
		case asked(a.first) && !strange:
			f.leak("F1", "", "%s: only the resolver of %s was asked: %s answered what another channel had learnt", what, a.first, a.second)
		default:
			f.doubt("", "%s: it is not known who asked", what)
		}
	}
}
