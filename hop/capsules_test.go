package hop

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/proxytest"
	"watertight/masque"
	"watertight/name"
)

// h2Proxy lets an HTTP/2 proxy that speaks connect-udp listen at an address until the test ends.
func (s *seas) h2Proxy(t *testing.T, at string, change ...func(*proxytest.H2Options)) *proxytest.H2Proxy {
	t.Helper()
	where := netip.MustParseAddrPort(at)
	o := proxytest.H2Options{Packets: s.reach, Connect: func(t name.Target) (net.Conn, error) {
		to, ok := t.AddrPort()
		if !ok {
			to = netip.AddrPortFrom(resolved, t.Port())
		}
		return s.DialAddr(context.Background(), to)
	}}
	for _, c := range change {
		c(&o)
	}
	l := s.Listen(where)
	p := proxytest.NewH2(o)
	p.Serve(l, h3Authority.Issue([]string{"gw.example"}, []netip.Addr{where.Addr()}))
	t.Cleanup(func() {
		l.Close()
		p.Close()
	})
	return p
}

func TestThroughHTTP2TunnelsAndFlowsShareAConnection(t *testing.T) {
	for _, urls := range [][]string{
		{"h2://192.0.2.1"},
		{"h2://192.0.2.1", "socks5://192.0.2.3"},
		{"h2://192.0.2.1", "h2://192.0.2.2"},
		{"h2://192.0.2.1", "h3://192.0.2.4"},
		{"socks5://192.0.2.3", "h2://192.0.2.1"},
		{"h3://192.0.2.4", "h2://192.0.2.1"},
	} {
		bubbled(t, func(t *testing.T) {
			s := newSeas()
			first := s.h2Proxy(t, "192.0.2.1:443")
			s.h2Proxy(t, "192.0.2.2:443")
			s.h3Proxy(t, "192.0.2.4:443")
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

func TestDatagramsInAConnectionNeedNoneBeforeIt(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h2Proxy(t, "192.0.2.1:443")
		s.echo(t, "192.0.2.53:853")
		proxies := mustProxies(t, "h2://192.0.2.1")
		proxies[0].Server.CA = [][]byte{h3Root()}
		chain, err := Chain(under(Direct(s), noLookup), proxies) // which has no way for datagrams
		if err != nil {
			t.Fatal(err)
		}
		defer chain.Close()
		flow, err := chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		heard(t, flow, "one")
		flow.Close()
		if _, err := flow.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if asked := p.Asked(); len(asked) != 1 || asked[0] != "udp 192.0.2.53:853" {
			t.Errorf("asked for %q", asked)
		}
	})
	for _, tt := range []struct {
		urls []string
		want bool
	}{
		{[]string{"http://192.0.2.3:3128", "h2://192.0.2.1"}, true},
		{[]string{"http://192.0.2.3:3128", "h2://192.0.2.1", "socks5://192.0.2.5"}, true},
		{[]string{"h2://192.0.2.1", "http://192.0.2.3:3128"}, false},
		{[]string{"h2://192.0.2.1", "socks4a://192.0.2.3", "socks5://192.0.2.5"}, false},
	} {
		chain, err := Chain(under(Direct(newSeas()), noLookup), mustProxies(t, tt.urls...))
		if err != nil {
			t.Fatal(err)
		}
		if got := chain.Packets() != nil; got != tt.want {
			t.Errorf("%v: datagrams %v", tt.urls, got)
		}
		chain.Close()
	}
}

func TestAnHTTP2ProxyWithoutConnectUDPIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t) // the library's server, which does not say that it takes extended CONNECT
		c := h.chain(t)
		_, err := c.Packets().DialPacket(t.Context(), name.Must("192.0.2.7:443"))
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "gw.example:443") || !strings.Contains(f.Message, "connect-udp") {
			t.Errorf("got %v", err)
		}
		conn := dialed(t, c, "192.0.2.7:443") // the connection goes on
		hears(t, conn, "still here")
		conn.Close()
		if h.connections() != 1 {
			t.Errorf("%d connections", h.connections())
		}
		c.Close()
	})
}

func TestWhatAnHTTP2ProxyRefusesOfDatagramsIsSaid(t *testing.T) {
	for status, code := range map[int]fault.Code{403: fault.HopRefused, 407: fault.HopAuth, 502: fault.ConnectUnreachable} {
		bubbled(t, func(t *testing.T) {
			s := newSeas()
			s.h2Proxy(t, "192.0.2.1:443", func(o *proxytest.H2Options) { o.Refuse = status })
			_, err := s.h3Chain(t, "h2://192.0.2.1").Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
			if f := fault.Of(err); f.Code != code {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

func TestAProxyThatTakesNoDatagramsKeepsNobodyWaiting(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		s.echo(t, "192.0.2.53:853")
		s.h2Proxy(t, "192.0.2.1:443", func(o *proxytest.H2Options) { o.Deaf = true })
		flow, err := s.h3Chain(t, "h2://192.0.2.1").Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 1000 { // far more than the stream's window
			if _, err := flow.Write(make([]byte, 1200)); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
		if _, err := flow.Write(make([]byte, masque.MaxPayload+1)); err == nil {
			t.Error("a datagram that cannot be was taken")
		}
		flow.Close()
	})
}

func TestAFlowEndsWithItsConnection(t *testing.T) {
	bubbled(t, func(t *testing.T) {
		s := newSeas()
		p := s.h2Proxy(t, "192.0.2.1:443")
		s.echo(t, "192.0.2.53:853")
		chain := s.h3Chain(t, "h2://192.0.2.1")
		flow, err := chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		heard(t, flow, "one")
		p.Close()
		if _, err := flow.Read(make([]byte, 10)); fault.Of(err).Code != fault.HopRefused || !strings.Contains(err.Error(), "192.0.2.1") {
			t.Errorf("got %v", err)
		}
		again, err := chain.Packets().DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		heard(t, again, "another connection")
		again.Close()
	})
}
