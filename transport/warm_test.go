package transport_test

import (
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/transport"
	"watertight/upstream"
)

func TestWarmConnectsOnceAndAsksNothing(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first), func(o *transport.Options) { o.IdleTimeout = 20 * time.Second })
		for range 2 {
			if fail := c.Warm(t.Context()); fail != nil {
				t.Fatal(fail)
			}
		}
		synctest.Wait()
		if s.Live() != 1 || len(s.Log()) != 0 {
			t.Errorf("%d connections, and it was asked %v", s.Live(), s.Names())
		}
		if err := ask(t, c, "four.shop.example"); err != nil || s.Live() != 1 {
			t.Errorf("%v over %d connections", err, s.Live())
		}
		c.Flush()
		if fail := c.Warm(t.Context()); fail != nil {
			t.Fatal(fail)
		}
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if s.Live() != 0 {
			t.Error("a connection that was only warmed stays open")
		}
		c.Close()
		dials := len(g.Net.Dials())
		if fail := c.Warm(t.Context()); fail == nil || fail.Fault.Code != fault.NotReady || len(g.Net.Dials()) != dials {
			t.Errorf("of a closed client: %v", fail)
		}
	})
}

func TestWarmGetsTheCertificateOfDNSCryptAndAsksNothing(t *testing.T) {
	dnsrig.EachOf(t, []upstream.Kind{upstream.DNSCrypt}, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first))
		for range 2 {
			if fail := c.Warm(t.Context()); fail != nil {
				t.Fatal(fail)
			}
		}
		if n := c.Stats(time.Now()).Conns; n != 1 || len(s.Log()) != 0 {
			t.Errorf("%d sessions, and it was asked %v", n, s.Names())
		}
		if err := ask(t, c, "four.shop.example"); err != nil || c.Stats(time.Now()).Conns != 1 {
			t.Errorf("%v in %d sessions", err, c.Stats(time.Now()).Conns)
		}
	})
}
