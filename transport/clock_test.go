package transport_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"watertight/clock"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

// A certificate that has expired, or whose key was stolen since, would be good again.
func TestNoConnectionIsMadeByAClockThatIsBehindWhatHasPassed(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		var shift atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		floor := clock.NewFloor(now(), "set the clock, or remove the file")
		c := g.client(t, g.Upstream(k, first), func(o *transport.Options) { o.Now, o.Floor = now, floor })
		shift.Store(int64(-48 * time.Hour))
		f := dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUntrusted, "the clock says ")
		if f.Hint != "set the clock, or remove the file" {
			t.Errorf("%+v", f)
		}
		if err := c.Warm(t.Context()); err == nil || s.Conns() != 0 || len(g.Net.Dials()) != 0 {
			t.Errorf("%v, %d connections, dialled %v", err, s.Conns(), g.Net.Dials())
		}
		shift.Store(0) // it was set
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		shift.Store(int64(-48 * time.Hour))
		c.Flush()
		dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.ResolverUntrusted, "the clock says ")
	})
}

func TestACertificateThatIsGoodProvesThatItsDayHasPassed(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		day := time.Now().Add(-36 * time.Hour).Truncate(time.Second)
		u := g.Upstream(k, first)
		cert := g.CA.IssueLeaf(dnstest.Leaf{Names: []string{dnsrig.ServerName}, IPs: []netip.Addr{first}, NotBefore: day})
		g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(cert))
		floor := clock.NewFloor(day.Add(-time.Hour), "")
		c := g.client(t, u, func(o *transport.Options) { o.Floor = floor })
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if !floor.At().Equal(day) {
			t.Errorf("known to have passed: %v, want %v", floor.At(), day)
		}
	})
}

func TestACertificateThatIsRefusedProvesNothing(t *testing.T) {
	day := time.Now().Add(-36 * time.Hour)
	for what, leaf := range map[string]dnstest.Leaf{
		"of another name": {Names: []string{"other.example"}, NotBefore: day},
		"not yet valid":   {NotBefore: time.Now().Add(time.Hour)},
		"not pinned":      {NotBefore: day},
	} {
		t.Run(what, func(t *testing.T) {
			g := newRig(t)
			spec := g.Spec(dot, first)
			u := dnsrig.Build(t, spec)
			if leaf.Names == nil {
				leaf.Names, leaf.IPs = []string{dnsrig.ServerName}, []netip.Addr{first}
			}
			if what == "not pinned" {
				spec.Pins = []string{dnstest.Pin(dnstest.NewCA().Issue(nil, nil))}
				u = dnsrig.Build(t, spec)
			}
			g.Serve(dot, first, dnsrig.Zone.Handler(), dnsrig.With(g.CA.IssueLeaf(leaf)))
			from := day.Add(-time.Hour)
			floor := clock.NewFloor(from, "")
			c := g.client(t, u, func(o *transport.Options) { o.Floor = floor })
			dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUntrusted, "")
			if !floor.At().Equal(from) {
				t.Errorf("known to have passed: %v", floor.At())
			}
		})
	}
}
