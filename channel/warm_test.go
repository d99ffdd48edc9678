package channel

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"watertight/lab/dnstest"
	"watertight/resolve"
)

func TestAChannelThatIsReadyConnectsToTheOthersThatWillBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		second := netip.MustParseAddrPort("9.9.9.10:853")
		s := dnstest.ServeDoT(w.net.Listen(second), w.ca.Issue(nil, []netip.Addr{second.Addr()}), dnstest.Zone{}.Handler())
		defer s.Close()
		o := w.resolver(t, "tls://9.9.9.9")
		o.Upstreams = append(o.Upstreams, w.resolver(t, "tls://9.9.9.10").Upstreams...)
		o.Strategy = resolve.Strategy{Race: 2}
		c := w.open(t, Spec{Name: "direct", Resolver: o}, OnGround(&w.net))
		<-c.Await()
		synctest.Wait()
		if w.dns.Live() != 1 || s.Live() != 1 || len(s.Log()) != 0 {
			t.Errorf("%d and %d connections, and the second was asked %v", w.dns.Live(), s.Live(), s.Names())
		}
	})
}
