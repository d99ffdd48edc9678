package channel

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/socks"
)

// socks4 is a SOCKS4a proxy in memory that dials addresses.
func (w *world) socks4(t *testing.T, at string) {
	l := w.net.Listen(netip.MustParseAddrPort(at))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				req, _, err := socks.ReadRequest(conn, nil, new(socks.Buffer), socks.Everyone{})
				if err != nil {
					return
				}
				addr, ok := req.Host.Addr()
				if !ok {
					t.Errorf("the proxy was asked for %v", req.Host)
					return
				}
				far, err := w.net.DialAddr(context.Background(), netip.AddrPortFrom(addr, req.Port))
				if err != nil {
					_, _ = conn.Write(req.AppendReply(nil, socks.GeneralFailure, netip.AddrPort{}))
					return
				}
				defer far.Close()
				_, _ = conn.Write(req.AppendReply(nil, socks.Succeeded, netip.AddrPort{}))
				go func() { _, _ = io.Copy(far, conn); far.Close() }()
				_, _ = io.Copy(conn, far)
			}()
		}
	}()
}

func TestThroughAWayWithoutIPv6OnlyIPv4AddressesAreAskedForAndTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{
			"both.example.com. 60 A 203.0.113.7", "both.example.com. 60 AAAA 2001:db8::7", "six.example.com. 60 AAAA 2001:db8::7",
		})
		w.greet(t, "203.0.113.7:443", "four")
		w.greet(t, "[2001:db8::7]:443", "six")
		w.socks4(t, "198.51.100.9:1080")
		resolver := w.resolver(t, "tls://9.9.9.9")
		resolver.Upstreams[0].Addrs = append([]netip.AddrPort{netip.MustParseAddrPort("[2620:fe::fe]:853")}, resolver.Upstreams[0].Addrs...)
		four := w.open(t, Spec{Name: "four", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "socks4a://198.51.100.9")}, Resolver: resolver}, w.direct(t))
		over := w.open(t, Spec{Name: "over", Over: "four", Resolver: resolver}, four) // it goes out as that one does
		for _, c := range []*Channel{four, over} {
			conn, err := c.DialChecked(t.Context(), name.Must("both.example.com:443"), anyAddress)
			mustGreet(t, conn, err, "four")
			_, err = c.DialChecked(t.Context(), name.Must("six.example.com:443"), anyAddress)
			if f := fault.Of(err); f.Code != fault.DNSNoData || !strings.Contains(f.Message, "no IPv4 address, and the way out carries no IPv6") {
				t.Errorf("%s: %v", c.Name(), err)
			}
			_, err = c.DialChecked(t.Context(), name.Must("[2001:db8::7]:443"), anyAddress)
			if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "198.51.100.9:1080") {
				t.Errorf("%s: %v", c.Name(), err)
			}
		}
		for _, host := range []string{"both.example.com", "six.example.com"} {
			if n := w.dns.Count(host, dnswire.AAAA); n != 0 {
				t.Errorf("%d questions for an IPv6 address of %s", n, host)
			}
		}
		for _, to := range w.net.Dials() {
			if !to.Addr().Is4() {
				t.Errorf("%v was dialled", to)
			}
		}
		if got := four.Spec().Resolver.Upstreams[0].Addrs; len(got) != 2 {
			t.Errorf("the channel's specification was changed, and a reload would not know it again: %v", got)
		}
	})
}

func TestAResolverThatTheWayOutCannotBeAskedForIsAnError(t *testing.T) {
	w := newWorld(t, nil)
	resolver := w.resolver(t, "tls://[2620:fe::fe]")
	_, err := Open(Spec{Name: "x", Proxies: []hop.Proxy{mustProxy(t, "socks4a://198.51.100.9")}, Resolver: resolver}, w.direct(t))
	if err == nil || !strings.Contains(err.Error(), "IPv6 addresses only") {
		t.Errorf("got %v", err)
	}
}
