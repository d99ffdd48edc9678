package daemon

import (
	"fmt"
	"net/netip"
	"testing"

	"watertight/lab/dnstest"
)

func TestStatus_ShowsWhatIsSpokenWithAResolver_AndWhetherItsHelloWasEncrypted(t *testing.T) {
	for _, ech := range []bool{false, true} {
		l := newLive(t, "")
		keys := dnstest.NewECH("public.provider.example", 1)
		zone := dnstest.Zone{hostName + ". 60 A 127.0.0.1"}
		server := dnstest.ServeDoT(l.open("127.0.0.1:0"), authority.CA.Issue(nil, []netip.Addr{loopback}), zone.Handler(), dnstest.Takes(keys))
		t.Cleanup(func() { server.Close() })
		one := fmt.Sprintf("{url: %q, ca: %q", "tls://"+server.Addr().String(), caFile)
		if ech {
			one += fmt.Sprintf(", ech: %q", keys.Text())
		}
		l.text = l.config("channels: {direct: {resolver: {upstreams: [" + one + "}]}}}\n")
		l.d.o.Config = l.load()
		l.start().awaitReady()
		l.tunnel(l.at.Proxy[0])
		if u := l.d.Status().Channels[0].Resolver.Upstreams[0]; u.Protocol != "DoT" || u.ECH != ech {
			t.Errorf("with keys %v: %+v", ech, u)
		}
	}
}
