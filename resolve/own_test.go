package resolve_test

import (
	"testing"
	"testing/synctest"

	"watertight/dnswire"
	"watertight/lab/dnsrig"
	"watertight/resolve"
)

func TestTheRecordOfAnUpstreamsOwnNameIsAskedOfThatUpstreamAndKeptFromTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		asked, spare := g.Serve(dot, first, dnsrig.Zone.Handler()), g.Serve(dot, second, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first), g.Upstream(dot, second))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		const own = "_dns." + dnsrig.ServerName
		if n := asked.Count(own, dnswire.SVCB); n != 1 {
			t.Errorf("asked %d times: %v", n, asked.Names())
		}
		if len(spare.Log()) > 0 {
			t.Errorf("another upstream was asked %v", spare.Names())
		}
		if _, _, known := r.Cached(own, dnswire.SVCB); known {
			t.Error("it is in the cache of what clients ask for")
		}
		if st := r.Stats().Upstreams[0]; st.Protocol != "DoT" || st.ECH {
			t.Errorf("stats %+v", st)
		}
	})
}
