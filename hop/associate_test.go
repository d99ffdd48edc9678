package hop

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/proxytest"
	"watertight/name"
	"watertight/socks"
)

// seas is a net in memory with datagrams, on which SOCKS5 proxies are that carry them.
type seas struct {
	dnstest.Net
	mu    sync.Mutex
	named []string // what proxies were asked for by name, in datagrams
}

// proxy lets a SOCKS5 proxy listen at an address. Its relay is at the same address, and bound is what it says about that: the
// reply from the type of address on, without the port; empty for 0.0.0.0.
func (s *seas) proxy(t *testing.T, at, bound string) {
	t.Helper()
	where := netip.MustParseAddrPort(at)
	l := s.Listen(where)
	t.Cleanup(func() { l.Close() })
	port := where.Port()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			port++
			go s.serve(conn, netip.AddrPortFrom(where.Addr(), port), bound)
		}
	}()
}

func (s *seas) serve(conn net.Conn, relayAt netip.AddrPort, bound string) {
	defer conn.Close()
	buf := make([]byte, 512)
	if _, err := io.ReadFull(conn, buf[:3]); err != nil { // one method, which is chosen
		return
	}
	_, _ = conn.Write([]byte{5, buf[2]})
	if _, err := io.ReadFull(conn, buf[:10]); err != nil { // an IPv4 address
		return
	}
	if socks.Command(buf[1]) != socks.Associate {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte(buf[4:8])), uint16(buf[8])<<8|uint16(buf[9]))
		far, err := s.DialAddr(context.Background(), to)
		if err != nil {
			_, _ = conn.Write([]byte{5, byte(socks.ConnectionRefused), 0, 1, 0, 0, 0, 0, 0, 0})
			return
		}
		_, _ = conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		join(conn, far, strings.NewReader(""))
		return
	}
	if bound == "" {
		bound = "\x01\x00\x00\x00\x00"
	}
	relay := proxytest.ServeSOCKSRelay(s.ListenPacket(relayAt), s.reach)
	defer relay.Close()
	_, _ = conn.Write([]byte("\x05\x00\x00" + bound + string([]byte{byte(relayAt.Port() >> 8), byte(relayAt.Port())})))
	_, _ = io.Copy(io.Discard, conn)
}

// resolved is where every name is that a proxy gets.
var resolved = netip.MustParseAddr("192.0.2.53")

func (s *seas) reach(t name.Target) (net.Conn, error) {
	to, ok := t.AddrPort()
	if !ok {
		s.mu.Lock()
		s.named = append(s.named, t.String())
		s.mu.Unlock()
		to = netip.AddrPortFrom(resolved, t.Port())
	}
	return s.DialPacketAddr(context.Background(), to)
}

// echo sends every datagram back.
func (s *seas) echo(t *testing.T, at string) {
	socket := s.ListenPacket(netip.MustParseAddrPort(at))
	t.Cleanup(func() { socket.Close() })
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := socket.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = socket.WriteTo(b[:n], from)
		}
	}()
}

func (s *seas) chain(t *testing.T, urls ...string) PacketDialer {
	t.Helper()
	return packetChainOver(t, Direct(s), noLookup, urls...)
}

func packetChainOver(t *testing.T, first Dialer, lookup func(context.Context, string) ([]netip.Addr, error), urls ...string) PacketDialer {
	t.Helper()
	on := under(first, lookup)
	on.Packets, _ = first.(PacketDialer)
	c, err := Chain(on, mustProxies(t, urls...))
	if err != nil {
		t.Fatal(err)
	}
	return c.Packets()
}

func heard(t *testing.T, flow net.Conn, text string) {
	t.Helper()
	if _, err := flow.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2000)
	_ = flow.SetReadDeadline(time.Now().Add(10 * time.Second))
	if n, err := flow.Read(b); err != nil || string(b[:n]) != text {
		t.Errorf("heard %q, %v; want %q", b[:n], err, text)
	}
}

func TestDatagramsTravelThroughEveryProxyOfAChain(t *testing.T) {
	hops := []string{"192.0.2.1:1080", "192.0.2.2:1080", "192.0.2.3:1080"}
	for n := 1; n <= len(hops); n++ {
		synctest.Test(t, func(t *testing.T) {
			s := &seas{}
			var urls []string
			for _, at := range hops[:n] {
				s.proxy(t, at, "")
				urls = append(urls, "socks5://"+at)
			}
			s.echo(t, "192.0.2.53:853")
			flow, err := s.chain(t, urls...).DialPacket(t.Context(), name.Must("192.0.2.53:853"))
			if err != nil {
				t.Fatal(err)
			}
			heard(t, flow, "one")
			heard(t, flow, strings.Repeat("x", 1200))
			flow.Close()
			dials := s.Dials()
			if last := dials[len(dials)-1]; last.String() != "192.0.2.53:853" {
				t.Errorf("the last proxy sent to %v", last)
			}
			if before := dials[len(dials)-2]; before.Addr().String() != netip.MustParseAddrPort(hops[n-1]).Addr().String() {
				t.Errorf("what led to the last relay went to %v", before)
			}
			if _, err := flow.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

func TestAChainCarriesDatagramsOnlyWhereAllOfItDoes(t *testing.T) {
	s := &seas{}
	for _, tt := range []struct {
		first Dialer
		urls  []string
		want  bool
	}{
		{Direct(s), []string{"socks5://192.0.2.1"}, true},
		{Direct(s), []string{"socks5://192.0.2.1", "socks5://192.0.2.2"}, true},
		{Direct(s), []string{"http://192.0.2.1:3128"}, false},
		{Direct(s), []string{"socks5+tls://192.0.2.1"}, false}, // the datagrams would not be inside TLS
		{Direct(s), []string{"socks5://192.0.2.1", "http://192.0.2.2:3128"}, false},
		{Direct(s), []string{"http://192.0.2.1:3128", "socks5://192.0.2.2"}, false},
		{Direct(streams{}), []string{"socks5://192.0.2.1"}, false},
	} {
		if p := packetChainOver(t, tt.first, noLookup, tt.urls...); (p != nil) != tt.want {
			t.Errorf("%v over %T: %v", tt.urls, tt.first, p)
		}
	}
}

// relayed opens a flow through a proxy whose relay the test plays: what it gives is the relay's socket, and the address that the
// flow's first datagram came from.
func relayed(t *testing.T, s *seas, target string) (flow net.Conn, relay net.PacketConn, from net.Addr) {
	t.Helper()
	l := s.Listen(netip.MustParseAddrPort("192.0.2.1:1080"))
	t.Cleanup(func() { l.Close() })
	relay = s.ListenPacket(netip.MustParseAddrPort("192.0.2.1:4000"))
	t.Cleanup(func() { relay.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		script(t, "\x05\x01\x00", "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x0f\xa0")(conn)
		silent(conn)
	}()
	flow, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must(target))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flow.Close() })
	if _, err := flow.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	_, from, err = relay.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatal(err)
	}
	return flow, relay, from
}

func TestAnAssociationDiesWithItsConnectionAndSaysWhoEndedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seas{}
		l := s.Listen(netip.MustParseAddrPort("192.0.2.1:1080"))
		defer l.Close()
		end := make(chan struct{})
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script(t, "\x05\x01\x00", "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x0f\xa0")(conn)
			<-end
			conn.Close()
		}()
		flow, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		close(end)
		_, err = flow.Read(make([]byte, 100))
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the proxy 192.0.2.1:1080 ended the association") {
			t.Errorf("got %v", err)
		}
		if _, err := flow.Write([]byte("?")); fault.Of(err).Code != fault.HopRefused {
			t.Errorf("a datagram was sent all the same: %v", err)
		}
	})
}

func TestWhoeverClosesTheFlowClosesTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seas{}
		l := s.Listen(netip.MustParseAddrPort("192.0.2.1:1080"))
		defer l.Close()
		ended := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script(t, "\x05\x01\x00", "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00\x00\x01\x00\x00\x00\x00\x0f\xa0")(conn)
			_, err = conn.Read(make([]byte, 1))
			ended <- err
		}()
		flow, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		flow.Close()
		if err := <-ended; err != io.EOF {
			t.Errorf("the proxy saw %v", err)
		}
	})
}

func TestAProxyThatCarriesNoDatagramsIsAFaultThatNamesIt(t *testing.T) {
	for answer, want := range map[string]string{
		"\x05\x07\x00\x01\x00\x00\x00\x00\x00\x00": "refused to carry datagrams: command not supported",
		"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00": "refused to carry datagrams: not allowed by the rules",
		"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00": "refused to carry datagrams: connection refused",
		"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x00": "does not answer as a SOCKS5 proxy should", // port 0
		"": "closed the connection instead of answering",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &seas{}
			l := s.Listen(netip.MustParseAddrPort("192.0.2.1:1080"))
			defer l.Close()
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				script(t, "\x05\x01\x00", "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", answer)(conn)
				conn.Close()
			}()
			_, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
			if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the proxy 192.0.2.1:1080 "+want) {
				t.Errorf("%q: %v", answer, err)
			}
			if dials := s.Dials(); len(dials) != 1 {
				t.Errorf("%q: dialled %v", answer, dials)
			}
		})
	}
}

func TestASilentProxyIsNotWaitedForLongerThanAHandshakeMayTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seas{}
		l := s.Listen(netip.MustParseAddrPort("192.0.2.1:1080"))
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			script(t, "\x05\x01\x00", "\x05\x00")(conn)
			silent(conn)
		}()
		start := time.Now()
		_, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if f := fault.Of(err); f.Code != fault.HopRefused || time.Since(start) != HandshakeLimit {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestANameTravelsInTheDatagramAndIsResolvedByTheLastProxyAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seas{}
		s.proxy(t, "192.0.2.1:1080", "")
		s.proxy(t, "192.0.2.2:1080", "")
		s.echo(t, "192.0.2.53:853")
		flow, err := s.chain(t, "socks5://192.0.2.1", "socks5://192.0.2.2").DialPacket(t.Context(), name.Must("dns.example.net:853"))
		if err != nil {
			t.Fatal(err)
		}
		defer flow.Close()
		heard(t, flow, "by name")
		if !slices.Equal(s.named, []string{"dns.example.net:853"}) {
			t.Errorf("proxies were asked for %v", s.named)
		}
	})
}

// named is a way out underneath that resolves names itself, or leaves that to its exit.
type named struct {
	*seas
	asked *[]string
}

func (n named) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	*n.asked = append(*n.asked, t.String())
	if _, isName := t.Host().Name(); isName {
		return n.DialAddr(ctx, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), t.Port()))
	}
	return Direct(n.seas).Dial(ctx, t)
}

func (n named) DialPacket(ctx context.Context, t name.Target) (net.Conn, error) {
	*n.asked = append(*n.asked, "datagrams to "+t.String())
	if _, isName := t.Host().Name(); isName {
		return n.DialPacketAddr(ctx, netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), t.Port()))
	}
	to, _ := t.AddrPort()
	return n.DialPacketAddr(ctx, to)
}

func TestADatagramThatNoNetworkCarriesIsRefusedAndNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seas{}
		s.proxy(t, "192.0.2.1:1080", "")
		flow, err := s.chain(t, "socks5://192.0.2.1").DialPacket(t.Context(), name.Must("192.0.2.53:853"))
		if err != nil {
			t.Fatal(err)
		}
		defer flow.Close()
		if _, err := flow.Write(make([]byte, 65500)); err == nil {
			t.Error("it was sent")
		}
	})
}
