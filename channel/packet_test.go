package channel

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
)

// echoes answers each datagram at an address with itself.
func (w *world) echoes(t *testing.T, at string) {
	socket := w.net.ListenPacket(netip.MustParseAddrPort(at))
	t.Cleanup(func() { socket.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = socket.WriteTo(b[:n], from)
		}
	}()
}

func TestANameOfADatagramIsResolvedInsideTheChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"voip.example.com. 60 A 203.0.113.7", "voip.example.com. 60 AAAA 2001:db8::7"})
		w.echoes(t, "203.0.113.7:5060")
		c := w.direct(t)
		flow, err := c.DialPacketChecked(t.Context(), name.Must("voip.example.com:5060"), anyAddress)
		if err != nil {
			t.Fatal(err)
		}
		defer flow.Close()
		b := make([]byte, 16)
		if _, err := flow.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if n, err := flow.Read(b); string(b[:n]) != "hello" {
			t.Errorf("the echo was %q, %v", b[:n], err)
		}
		for _, to := range w.net.Dials() {
			if to != resolverAt && to.String() != "203.0.113.7:5060" {
				t.Errorf("something else was dialled: %v", to)
			}
		}
	})
}

func TestNoDatagramGoesToAnAddressThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"both.example.com. 60 A 10.0.0.1", "both.example.com. 60 A 203.0.113.7", "bad.example.com. 60 A 10.0.0.1"})
		c := w.direct(t)
		check := func(a netip.Addr) error {
			if a.IsPrivate() {
				return fault.New(fault.PolicyPrivateTarget, "private", nil)
			}
			return nil
		}
		flow, err := c.DialPacketChecked(t.Context(), name.Must("both.example.com:443"), check)
		if err != nil {
			t.Fatal(err)
		}
		flow.Close()
		for _, target := range []string{"bad.example.com:443", "10.0.0.1:443"} {
			if _, err := c.DialPacketChecked(t.Context(), name.Must(target), check); codeOf(err) != fault.PolicyPrivateTarget {
				t.Errorf("%s: %v", target, err)
			}
		}
		for target, want := range map[string]fault.Code{"none.example.com:443": fault.DNSNXDomain, "printer.local:443": fault.DNSNXDomain} {
			if _, err := c.DialPacketChecked(t.Context(), name.Must(target), check); codeOf(err) != want {
				t.Errorf("%s: %v, want %s", target, err, want)
			}
		}
		if slices.Contains(w.net.Dials(), netip.MustParseAddrPort("10.0.0.1:443")) {
			t.Error("the refused address was dialled")
		}
	})
}

func TestAChannelWithoutDatagramsSaysWhichHopLacksThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		p, err := hop.ParseProxy("http://jo:secret@192.0.2.7:3128")
		if err != nil {
			t.Fatal(err)
		}
		c := w.open(t, Spec{Name: "office", Proxies: []hop.Proxy{p}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
		synctest.Wait() // until the channels have connected to their resolvers
		before := len(w.net.Dials())
		for _, target := range []string{"api.example.com:443", "203.0.113.7:443"} {
			_, err := c.DialPacketChecked(t.Context(), name.Must(target), anyAddress)
			if f := fault.Of(err); f.Code != fault.HopRefused || f.Channel != "office" || !strings.Contains(f.Message, "http://192.0.2.7:3128") || strings.Contains(f.Error(), "jo") {
				t.Errorf("%s: %v", target, err)
			}
		}
		if since := w.net.Dials()[before:]; slices.ContainsFunc(since, func(to netip.AddrPort) bool { return to.Addr() != netip.MustParseAddr("192.0.2.7") }) {
			t.Errorf("something was sent another way: %v", since)
		}
	})
}
