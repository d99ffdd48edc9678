package transport_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnsrig"
	"watertight/transport"
	"watertight/upstream"
)

const (
	doh = upstream.DoH
	dot = upstream.DoT

	odoh = upstream.ODoH
)

// overHTTP are the kinds that are DNS over HTTPS, with nobody in between.
var overHTTP = []upstream.Kind{upstream.DoH, upstream.DoH3}

var first, second, third = dnsrig.First, dnsrig.Second, dnsrig.Third

// rig is an in-memory internet whose resolvers are asked by Clients.
type rig struct{ *dnsrig.Rig }

func newRig(t testing.TB) *rig {
	t.Helper()
	return &rig{dnsrig.New(t)}
}

// options are what a resolver would give.
func (g *rig) options() transport.Options {
	return transport.Options{Way: g.Way(), Now: time.Now, Timeout: 5 * time.Second, IdleTimeout: time.Minute}
}

// client makes a client with the rig's options, or with what change makes of them.
func (g *rig) client(t testing.TB, u upstream.Upstream, change ...func(*transport.Options)) *transport.Client {
	t.Helper()
	o := g.options()
	for _, f := range change {
		f(&o)
	}
	c, err := transport.New(u, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// exchange asks for a host's IPv4 addresses, with the time that a resolver gives a question.
func exchange(t *testing.T, c *transport.Client, host string) (*dnswire.Answer, *transport.Failure) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return c.Ask(ctx, dnswire.Question{Name: host, Type: dnswire.A})
}

// ask gives the fault that exchange ends in, or nil.
func ask(t *testing.T, c *transport.Client, host string) error {
	t.Helper()
	if _, fail := exchange(t, c, host); fail != nil {
		return fail.Fault
	}
	return nil
}

func wantAddr(t *testing.T, c *transport.Client, host, want string) {
	t.Helper()
	a, fail := exchange(t, c, host)
	if fail != nil {
		t.Errorf("%s: %v, want %s", host, fail, want)
		return
	}
	if got := a.Addrs(); len(got) != 1 || got[0] != netip.MustParseAddr(want) {
		t.Errorf("%s: %v, want %s", host, got, want)
	}
}
