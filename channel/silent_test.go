package channel

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
)

// mute accepts connections at an address, reads, and never says a word.
func (w *world) mute(t *testing.T, at string) {
	l := w.net.Listen(netip.MustParseAddrPort(at))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func(conn net.Conn) {
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
			}(conn)
		}
	}()
}

// silentHops are channels of which one proxy says nothing, and what the client is to read of it.
var silentHops = []struct {
	title   string
	proxies []string
	code    fault.Code
	says    string
}{
	{"a SOCKS5 proxy", []string{"socks5://198.51.100.8:1080"}, fault.HopRefused, "the proxy 198.51.100.8:1080 accepts connections but does not answer"},
	{
		"a SOCKS5 proxy with a name",
		[]string{"socks5://mute.example.com:1080"},
		fault.HopRefused,
		"the proxy mute.example.com:1080 accepts connections but does not answer",
	},
	{
		"an HTTP proxy, whose silence may be that of the resolver",
		[]string{"http://198.51.100.8:1080"},
		fault.DNSTimeout,
		"the proxy 198.51.100.8:1080 did not connect to the resolver",
	},
	{
		"the second of two",
		[]string{"http://198.51.100.9:3128", "socks5://198.51.100.8:1080"},
		fault.HopRefused,
		"the proxy 198.51.100.8:1080 accepts connections but does not answer",
	},
	{
		"the second of two, not to be reached",
		[]string{"http://198.51.100.8:1080", "socks5://203.0.113.99:1080"},
		fault.HopRefused,
		"the proxy 203.0.113.99:1080 did not answer in time, through the proxy 198.51.100.8:1080",
	},
	{"a blackhole", []string{"socks5://203.0.113.66:1080"}, fault.HopRefused, "the proxy 203.0.113.66:1080 did not answer in time"},
}

func TestASilentHopIsNamedAndNotTheResolverBehindIt(t *testing.T) {
	for _, tt := range silentHops {
		for _, upstreams := range [][]string{{"tls://9.9.9.9"}, {"tls://9.9.9.9", "tls://9.9.9.11"}} {
			t.Run(tt.title, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, dnstest.Zone{"mute.example.com. 60 A 198.51.100.8"})
					w.mute(t, "198.51.100.8:1080")
					w.proxy(t, "198.51.100.9:3128", nil)
					w.net.Blackhole(netip.MustParseAddrPort("203.0.113.66:1080"), true)
					s := Spec{Name: "exit", Over: "direct"}
					for _, p := range tt.proxies {
						s.Proxies = append(s.Proxies, mustProxy(t, p))
					}
					s.Resolver = w.resolver(t, upstreams[0])
					for _, u := range upstreams[1:] {
						s.Resolver.Upstreams = append(s.Resolver.Upstreams, w.resolver(t, u).Upstreams...)
					}
					below := w.direct(t)
					<-below.Await()
					c, err := Open(s, below)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					c.markReady() // it was, and then the hop fell silent
					_, err = c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
					if f := fault.Of(err); f.Code != tt.code || !strings.Contains(f.Message, tt.says) {
						t.Errorf("got %v, want %s %q", err, tt.code, tt.says)
					}
				})
			})
		}
	}
}

func TestAChannelThatASilentHopKeepsFromGettingReadySaysWhichHop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mute(t, "198.51.100.8:1080")
		c := w.open(t, Spec{
			Name: "exit", Over: "direct", Resolver: w.resolver(t, "tls://9.9.9.9"),
			Proxies: []hop.Proxy{mustProxy(t, "socks5://198.51.100.8:1080")},
		}, w.direct(t))
		time.Sleep(time.Second) // the request comes while the first probe is under way
		_, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		if f := fault.Of(err); f.Code != fault.NotReady || !strings.Contains(f.Message, "the proxy 198.51.100.8:1080 accepts connections but does not answer") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAHopWhoseNameTheChannelBelowCannotResolveYetIsNamedWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.dns.Handle(dnstest.Silent)
		s := Spec{
			Name: "exit", Over: "direct", Resolver: w.resolver(t, "tls://9.9.9.9"),
			Proxies: []hop.Proxy{mustProxy(t, "socks5://gw.example.com:1080")},
		}
		below := w.direct(t)
		below.markReady()
		c, err := Open(s, below)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.markReady()
		_, err = c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the proxy gw.example.com:1080 could not be resolved") {
			t.Errorf("got %v", err)
		}
	})
}

func TestASilentResolverBehindAGoodHopIsNamedItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.mute(t, "9.9.9.12:853")
		w.proxy(t, "198.51.100.9:3128", nil)
		c, err := Open(Spec{
			Name: "exit", Over: "direct", Resolver: w.resolver(t, "tls://9.9.9.12"),
			Proxies: []hop.Proxy{mustProxy(t, "http://198.51.100.9:3128")},
		}, w.direct(t))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.markReady()
		_, err = c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		if f := fault.Of(err); f.Code != fault.DNSTimeout || strings.Contains(f.Message, "proxy") || !strings.Contains(f.Message, "9.9.9.12") {
			t.Errorf("got %v", err)
		}
	})
}

func TestSettleGivesTheFirstProbesFaultAsItIsAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"api.example.com. 60 A 203.0.113.7"})
		good := w.direct(t)
		if err := good.Settle(t.Context()); err != nil {
			t.Errorf("a resolver that answers gave %v", err)
		}
		other := dnstest.NewCA()
		impostor := netip.MustParseAddrPort("9.9.9.10:853")
		s := dnstest.ServeDoT(w.net.Listen(impostor), other.Issue(nil, []netip.Addr{impostor.Addr()}), dnstest.Zone{}.Handler())
		defer s.Close()
		for url, want := range map[string]fault.Code{"tls://9.9.9.10": fault.ResolverUntrusted, "tls://9.9.9.13": fault.ResolverUnreachable} {
			c := w.open(t, Spec{Name: "direct", Resolver: w.resolver(t, url)}, OnGround(&w.net))
			started := time.Now()
			if err := c.Settle(t.Context()); codeOf(err) != want || time.Since(started) > 0 {
				t.Errorf("%s: %v after %v, want %s at once", url, err, time.Since(started), want)
			}
			if c.IsLocal(dnswire.Question{Name: "api.example.com", Type: dnswire.A}) || !c.IsLocal(dnswire.Question{Name: "printer.local", Type: dnswire.A}) {
				t.Error("which names are answered locally?")
			}
		}
	})
}
