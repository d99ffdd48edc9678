package resolve_test

import (
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
)

func TestWhatIsKnownIsToldAtOnceAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		q := dnswire.Question{Name: "Four.shop.example", Type: dnswire.A}
		if a, ok := r.ExchangeCached(q); ok {
			t.Errorf("before it was asked for: %+v", a)
		}
		if len(s.Log()) != 0 {
			t.Error("a look into the cache asked somebody")
		}
		if _, err := r.Exchange(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if a, ok := r.ExchangeCached(q); !ok || len(a.Addrs()) != 1 || a.TTL != 290*time.Second {
			t.Errorf("%+v, %v", a, ok)
		}
		if a, ok := r.ExchangeCached(dnswire.Question{Name: "printer.local", Type: dnswire.A}); !ok || a.RCode != dnswire.NXDomain {
			t.Errorf("a special-use name: %+v, %v", a, ok)
		}
		s.Handle(dnstest.RCode(dnswire.ServFail))
		bad := dnswire.Question{Name: "two.shop.example", Type: dnswire.A}
		if _, err := r.Exchange(t.Context(), bad); err == nil {
			t.Fatal("a failure is no error")
		}
		if a, ok := r.ExchangeCached(bad); ok {
			t.Errorf("a failure that is remembered: %+v", a)
		}
		time.Sleep(290 * time.Second)
		if a, ok := r.ExchangeCached(q); ok {
			t.Errorf("what has expired: %+v", a)
		}
	})
}
