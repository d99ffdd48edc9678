package hop

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/proxytest"
	"watertight/name"
	"watertight/trust"
)

var h3Authority = dnstest.NewCA()

// h3Root is the authority's certificate in DER.
func h3Root() []byte {
	block, _ := pem.Decode(h3Authority.PEM())
	return block.Bytes
}

// newSeas is a net on which datagrams take their time.
func newSeas() *seas { return &seas{Net: dnstest.Net{Delay: time.Millisecond}} }

// h3Proxy lets an HTTP/3 proxy speak at an address until the test ends.
func (s *seas) h3Proxy(t *testing.T, at string, change ...func(*proxytest.H3Options)) *proxytest.H3Proxy {
	t.Helper()
	where := netip.MustParseAddrPort(at)
	o := proxytest.H3Options{Packets: s.reach, Connect: func(t name.Target) (net.Conn, error) {
		to, ok := t.AddrPort()
		if !ok {
			to = netip.AddrPortFrom(resolved, t.Port())
		}
		return s.DialAddr(context.Background(), to)
	}}
	for _, c := range change {
		c(&o)
	}
	p := proxytest.ServeH3(s.ListenPacket(where), h3Authority.Issue([]string{"gw.example"}, []netip.Addr{where.Addr()}), o)
	t.Cleanup(func() { p.Close() })
	return p
}

// echoes is an origin at an address, until the test ends.
func (s *seas) echoes(t *testing.T, at string) {
	l := s.Listen(netip.MustParseAddrPort(at))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				echo(conn)
			}()
		}
	}()
}

// h3Chain is a chain in which proxies over TLS have to prove themselves to the tests' authority.
func (s *seas) h3Chain(t *testing.T, urls ...string) *Chained {
	t.Helper()
	chain, err := s.tryH3Chain(t, urls...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chain.Close() })
	return chain
}

func (s *seas) tryH3Chain(t *testing.T, urls ...string) (*Chained, error) {
	proxies := mustProxies(t, urls...)
	for i := range proxies {
		if proxies[i].Encrypted() {
			proxies[i].Server.CA = [][]byte{h3Root()}
		}
	}
	on := under(Direct(s), noLookup)
	on.Packets = Direct(s).(PacketDialer)
	return Chain(on, proxies)
}

// bubbled plays a test in a bubble, and closes what it opened before the bubble ends.
func bubbled(t *testing.T, f func(*testing.T)) { synctest.Test(t, f) }

func TestThroughHTTP3TunnelsAndFlowsShareAConnection(t *testing.T) {
	for _, urls := range [][]string{
		{"h3://192.0.2.1"},
		{"h3://u:p@192.0.2.1"},
		{"socks5://192.0.2.3", "h3://192.0.2.1"},
		{"h3://192.0.2.1", "socks5://192.0.2.3"},
		{"h3://192.0.2.1", "h3://192.0.2.2"},
		{"h3://192.0.2.1", "h3://192.0.2.2", "socks5://192.0.2.3"},
	} {
		bubbled(t, func(t *testing.T) {
			s := newSeas()
			first := s.h3Proxy(t, "192.0.2.1:443", func(o *proxytest.H3Options) {
				o.PacketSize = 1400 // so that the packets of QUIC behind it have room
				if strings.Contains(urls[0], "@") {
					o.User, o.Password = "u", "p"
				}
			})
			s.h3Proxy(t, "192.0.2.2:443")
			s.proxy(t, "192.0.2.3:1080", "")
			s.echoes(t, "192.0.2.53:443")
			s.echo(t, "192.0.2.53:853")
			chain := s.h3Chain(t, urls...)
			for range 3 {
				conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
				if err != nil {
					t.Fatalf("%v: %v", urls, err)
				}
				defer conn.Close()
				hears(t, conn, "through the tunnel")
				flow, err := chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
				if err != nil {
					t.Fatalf("%v: %v", urls, err)
				}
				defer flow.Close()
				heard(t, flow, "one")
				heard(t, flow, strings.Repeat("x", MinRoom)) // as QUIC inside of it needs
			}
			if n := first.Conns(); n != 1 {
				t.Errorf("%v: %d connections to the proxy", urls, n)
			}
		})
	}
}

func TestTheLastHTTP3ProxyGetsTheTargetAsItIs(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h3Proxy(t, "192.0.2.1:443")
		s.echoes(t, "192.0.2.53:443")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		for _, target := range []string{"api.example.com:443", "192.0.2.53:443"} {
			conn, err := chain.Dial(t.Context(), name.Must(target))
			if err != nil {
				t.Fatal(err)
			}
			hears(t, conn, "hello")
			conn.Close()
		}
		for _, target := range []string{"dns.example.com:853", "192.0.2.53:853", "[2001:db8::53]:853"} {
			flow, err := chain.Packets().DialPacket(t.Context(), name.Must(target))
			if err != nil {
				t.Fatal(err)
			}
			flow.Close()
		}
		want := []string{"api.example.com:443", "192.0.2.53:443", "udp dns.example.com:853", "udp 192.0.2.53:853", "udp [2001:db8::53]:853"}
		if got := p.Asked(); !slices.Equal(got, want) {
			t.Errorf("it was asked for %q, want %q", got, want)
		}
	})
}

func TestDatagramsInCapsulesAreHeardToo(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		s.h3Proxy(t, "192.0.2.1:443", func(o *proxytest.H3Options) { o.Capsules = true })
		s.echo(t, "192.0.2.53:853")
		flow, err := s.h3Chain(t, "h3://192.0.2.1").Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		defer flow.Close()
		heard(t, flow, "in a capsule")
	})
}

func TestAnHTTP3ProxyThatIsNotWhoItShouldBeIsToldNothing(t *testing.T) {
	other := dnstest.NewCA()
	for title, tt := range map[string]struct {
		at     string
		change func(*tls.Config)
		server func(*trust.Server)
		want   string
	}{
		"another authority": {"192.0.2.1:443", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{other.Issue(nil, []netip.Addr{netip.MustParseAddr("192.0.2.1")})}
		}, nil, "unknown authority"},
		"another name":             {"192.0.2.1:443", nil, func(s *trust.Server) { s.Name = "other.example" }, "does not cover other.example"},
		"another key":              {"192.0.2.1:443", nil, func(s *trust.Server) { s.Pins = [][32]byte{{1}} }, "none of its keys is pinned"},
		"another protocol":         {"192.0.2.1:443", func(c *tls.Config) { c.NextProtos = []string{"doq"} }, nil, "does not speak HTTP/3"},
		"a certificate is missing": {"192.0.2.1:443", func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, nil, "asks for a certificate"},
		"nobody is there":          {"192.0.2.9:443", nil, nil, "refused the connection"},
	} {
		t.Run(title, func(t *testing.T) {
			bubbled(t, func(t *testing.T) {
				s := newSeas()
				p := s.h3Proxy(t, tt.at, func(o *proxytest.H3Options) { o.TLS = tt.change })
				if title == "nobody is there" {
					p.Close()
				}
				proxy := mustProxies(t, "h3://"+tt.at)[0]
				proxy.Server.CA = [][]byte{h3Root()}
				if tt.server != nil {
					tt.server(&proxy.Server)
				}
				on := under(Direct(s), noLookup)
				on.Packets = Direct(s).(PacketDialer)
				chain, err := Chain(on, []Proxy{proxy})
				if err != nil {
					t.Fatal(err)
				}
				defer chain.Close()
				_, err = chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
				if f := fault.Of(err); f.Code != fault.HopRefused && f.Code != fault.HopAuth || !strings.Contains(f.Message, tt.want) || !strings.Contains(f.Message, "the proxy "+tt.at) {
					t.Errorf("got %v", err)
				}
				if asked := p.Asked(); len(asked) > 0 {
					t.Errorf("it was asked for %v", asked)
				}
			})
		})
	}
}

func TestWhatAnHTTP3ProxyRefusesIsAFaultWithItsCode(t *testing.T) {
	for _, tt := range []struct {
		change func(*proxytest.H3Options)
		packet bool
		want   fault.Code
		says   string
	}{
		{func(o *proxytest.H3Options) { o.User = "u" }, false, fault.HopAuth, "asks for a user"},
		{func(o *proxytest.H3Options) { o.User = "u" }, true, fault.HopAuth, "asks for a user"},
		{func(o *proxytest.H3Options) { o.Refuse = 403 }, false, fault.HopRefused, "403"},
		{func(o *proxytest.H3Options) { o.Refuse = 403 }, true, fault.HopRefused, "403"},
		{func(o *proxytest.H3Options) { o.Refuse = 504 }, true, fault.ConnectTimeout, "504"},
		{func(o *proxytest.H3Options) { o.NoUDP = true }, true, fault.HopRefused, "refused to carry datagrams: it does not speak connect-udp"},
		{func(*proxytest.H3Options) {}, false, fault.ConnectRefused, "was refused by the destination"}, // nobody listens there
	} {
		bubbled(t, func(t *testing.T) {
			s := newSeas()
			s.h3Proxy(t, "192.0.2.1:443", tt.change)
			chain := s.h3Chain(t, "h3://192.0.2.1")
			var err error
			if tt.packet {
				_, err = chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
			} else {
				_, err = chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
			}
			if f := fault.Of(err); f.Code != tt.want || !strings.Contains(f.Message, tt.says) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestASilentHTTP3ProxyIsGivenUpInTime(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		s.Blackhole(netip.MustParseAddrPort("192.0.2.1:443"), true)
		start := time.Now()
		_, err := s.h3Chain(t, "h3://192.0.2.1").Dial(t.Context(), name.Must("192.0.2.53:443"))
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "did not answer in time") || time.Since(start) > HandshakeLimit {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestAnHTTP3ProxyThatDiesIsReplacedByItselfAndByNobody(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		first := s.h3Proxy(t, "192.0.2.1:443")
		s.echoes(t, "192.0.2.53:443")
		s.echo(t, "192.0.2.53:853")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
		if err != nil {
			t.Fatal(err)
		}
		flow, err := chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		first.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("the tunnel ended with %v", err)
		}
		if _, err := flow.Read(make([]byte, 1)); fault.Of(err).Code != fault.HopRefused {
			t.Errorf("the flow ended with %v", err)
		}
		conn.Close()
		flow.Close()
		if _, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443")); fault.Of(err).Code != fault.HopRefused {
			t.Errorf("with the proxy gone: %v", err)
		}
		second := s.h3Proxy(t, "192.0.2.1:443")
		if conn, err = chain.Dial(t.Context(), name.Must("192.0.2.53:443")); err != nil || second.Conns() != 1 {
			t.Fatalf("after it came back: %v", err)
		}
		conn.Close()
	})
}

func TestASilentConnectionIsReplacedForWhatIsAskedNextAndKeptForWhatItCarries(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		at := netip.MustParseAddrPort("192.0.2.1:443")
		p := s.h3Proxy(t, at.String())
		s.echoes(t, "192.0.2.53:443")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		old, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		time.Sleep(time.Second) // nothing is under way
		s.Blackhole(at, true)
		time.AfterFunc(h3Patience+time.Second, func() { s.Blackhole(at, false) })
		conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
		if err != nil || p.Conns() != 2 {
			t.Fatalf("with %d connections: %v", p.Conns(), err)
		}
		defer conn.Close()
		hears(t, conn, "on the new one")
		hears(t, old, "and on the old one")
	})
}

func TestAProxyThatTakesFewStreamsGetsMoreConnections(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h3Proxy(t, "192.0.2.1:443", func(o *proxytest.H3Options) { o.Streams = 2 })
		s.echoes(t, "192.0.2.53:443")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		for range 5 {
			conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			hears(t, conn, "hello")
		}
		if n := p.Conns(); n != 3 {
			t.Errorf("%d connections for 5 tunnels", n)
		}
	})
}

func TestAProxyThatTurnsEverythingAwayIsNotAskedOverAndOver(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h3Proxy(t, "192.0.2.1:443", func(o *proxytest.H3Options) { o.Takes = 1 })
		s.echoes(t, "192.0.2.53:443")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = chain.Dial(ctx, name.Must("192.0.2.53:443"))
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "takes no more tunnels") {
			t.Errorf("got %v", err)
		}
		if n := p.Requests(); n != 3 {
			t.Errorf("%d requests, and one on each of two connections would do", n-1)
		}
	})
}

func TestAConnectionWithoutATunnelIsClosedAfterAWhileAndOneThatIsForgottenAtOnce(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h3Proxy(t, "192.0.2.1:443")
		s.echoes(t, "192.0.2.53:443")
		chain := s.h3Chain(t, "h3://192.0.2.1")
		dial := func() net.Conn {
			conn, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443"))
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		long := dial()
		time.Sleep(2 * bookIdle)
		hears(t, long, "still there") // however long it is silent
		long.Close()
		dial().Close()
		if n := p.Conns(); n != 1 {
			t.Errorf("%d connections", n)
		}
		time.Sleep(2 * bookIdle)
		dial().Close()
		if n := p.Conns(); n != 2 {
			t.Errorf("after a while without a tunnel: %d connections", n)
		}
		old := dial()
		chain.Forget()
		dial().Close()
		hears(t, old, "not cut off")
		old.Close()
		if n := p.Conns(); n != 3 {
			t.Errorf("after it was forgotten: %d connections", n)
		}
		chain.Close()
		if _, err := chain.Dial(t.Context(), name.Must("192.0.2.53:443")); err == nil {
			t.Error("a way out that is closed dials")
		}
	})
}

func TestEachDirectionOfATunnelOverHTTP3EndsByItself(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		s.h3Proxy(t, "192.0.2.1:443")
		s.echoes(t, "192.0.2.53:443")
		conn, err := s.h3Chain(t, "h3://192.0.2.1").Dial(t.Context(), name.Must("192.0.2.53:443"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "the last word"); err != nil {
			t.Fatal(err)
		}
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "the last word" {
			t.Errorf("heard %q, %v", got, err)
		}
		conn.Close()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) && err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestAnHTTP3ProxyBehindAHopWithoutDatagramsIsAnErrorThatNamesBoth(t *testing.T) {
	s := newSeas()
	for _, urls := range [][]string{
		{"http://192.0.2.3:3128", "h3://192.0.2.1"},
		{"socks5://192.0.2.4", "socks4a://192.0.2.3", "h3://192.0.2.1"},
	} {
		_, err := s.tryH3Chain(t, urls...)
		if err == nil || !strings.Contains(err.Error(), "h3://192.0.2.1") || !strings.Contains(err.Error(), "192.0.2.3") {
			t.Errorf("%v: %v", urls, err)
		}
	}
	deep := []string{"h3://192.0.2.1", "h3://192.0.2.2", "h3://192.0.2.3", "h3://192.0.2.4", "h3://192.0.2.5"}
	if _, err := s.tryH3Chain(t, deep...); err == nil || !strings.Contains(err.Error(), "room for") {
		t.Errorf("five inside of each other: %v", err)
	}
	if _, err := Chain(under(Direct(s), noLookup), mustProxies(t, "h3://192.0.2.1")); err == nil || !strings.Contains(err.Error(), "stands on") {
		t.Errorf("over what carries no datagrams: %v", err)
	}
}
