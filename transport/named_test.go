package transport_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/name"
	"watertight/transport"
	"watertight/upstream"
)

func TestAnUpstreamByNameIsLookedUpForEachConnectionByTheWayOrThereIsNone(t *testing.T) {
	g := newRig(t)
	s := g.Serve(dot, first, dnsrig.Zone.Handler())
	u := g.Upstream(dot, first)
	port := u.Addrs[0].Port()
	u.Addrs, u.Named = nil, name.Must("dns.example.net:853")
	if port != u.Named.Port() {
		t.Fatalf("the rig's resolver is on port %d", port)
	}
	if _, err := transport.New(u, g.options()); err == nil {
		t.Error("nothing looks the name up, and there is a client")
	}
	var asked []string
	found, failure := []netip.Addr{first}, error(nil)
	c := g.client(t, u, func(o *transport.Options) {
		o.Way.Lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
			asked = append(asked, host)
			return found, failure
		}
	})
	wantAddr(t, c, "four.shop.example", "192.0.2.4")
	wantAddr(t, c, "one.shop.example", "192.0.2.11")
	if len(asked) != 1 || asked[0] != "dns.example.net" {
		t.Errorf("looked up: %q", asked)
	}
	c.Flush()
	s.Close()
	found = []netip.Addr{second}
	g.Serve(dot, second, dnsrig.Zone.Handler())
	wantAddr(t, c, "four.shop.example", "192.0.2.4")
	if len(asked) != 2 {
		t.Errorf("another connection was made without looking: %q", asked)
	}
	c.Flush()
	for _, failure = range []error{fault.New(fault.DNSNXDomain, "dns.example.net does not exist", nil), errors.New("something"), nil} {
		found = nil
		dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.ResolverUnreachable, "is not found by the channel underneath")
	}
	if _, err := transport.New(upstream.Upstream{Kind: dot, Host: "x", Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:853")}, Named: u.Named}, g.options()); err == nil {
		t.Error("an upstream with addresses and with a name to look up")
	}
}
