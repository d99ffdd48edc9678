package channel

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/client"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/lab/wgpeer"
	"watertight/name"
	"watertight/resolve"
	"watertight/transport"
	"watertight/upstream"
	"watertight/wireguard"
)

// The stack inside a tunnel knows no bubble, so these tests run in real time, with patience.
const patience = time.Minute

var (
	peerAt   = netip.MustParseAddrPort("198.51.100.1:51820")
	insideAt = netip.MustParseAddrPort("185.11.0.53:853")
	plainAt  = netip.MustParseAddrPort("10.2.0.1:53")
	originAt = netip.MustParseAddrPort("93.184.216.34:443")
)

// tunnelWorld is an internet with a WireGuard peer on it, and the network behind the peer: a resolver over TLS and QUIC,
// one in clear text, and an origin.
type tunnelWorld struct {
	*world
	behind      dnstest.Net
	dot, plain  *dnstest.Server
	client, far wireguard.PrivateKey
	peer        *wgpeer.Peer
}

func newTunnelWorld(t *testing.T) *tunnelWorld {
	w := &tunnelWorld{world: newWorld(t, dnstest.Zone{"vpn.provider.net. 60 A " + peerAt.Addr().String()})}
	_, _ = rand.Read(w.client[:]) // it never fails
	_, _ = rand.Read(w.far[:])
	zone := dnstest.Zone{"www.example.com. 60 A " + originAt.Addr().String()}
	cert := w.ca.Issue(nil, []netip.Addr{insideAt.Addr()})
	w.dot = dnstest.ServeDoT(w.behind.Listen(insideAt), cert, zone.Handler())
	doq := dnstest.ServeDoQ(w.behind.ListenPacket(insideAt), cert, zone.Handler())
	w.plain = dnstest.ServePlain(w.behind.ListenPacket(plainAt), w.behind.Listen(plainAt), zone.Handler())
	origin := w.behind.Listen(originAt)
	go func() {
		for {
			conn, err := origin.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.WriteString(conn, "origin"); conn.Close() }()
		}
	}()
	w.peer = wgpeer.Start(&w.net, &w.behind, wgpeer.Config{At: peerAt, PrivateKey: w.far, Client: public(t, w.client), Inside: []netip.Prefix{netip.MustParsePrefix("10.2.0.2/32")}})
	t.Cleanup(func() {
		w.peer.Close()
		origin.Close()
		for _, s := range []*dnstest.Server{w.dot, doq, w.plain} {
			s.Close()
		}
	})
	return w
}

func public(t *testing.T, k wireguard.PrivateKey) wireguard.PublicKey {
	t.Helper()
	p, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *tunnelWorld) tunnel(t *testing.T) *wireguard.Config {
	return &wireguard.Config{
		PrivateKey: w.client, Addresses: []netip.Addr{netip.MustParseAddr("10.2.0.2")}, MTU: wireguard.DefaultMTU,
		Peers: []wireguard.Peer{{PublicKey: public(t, w.far), Endpoint: name.Must("vpn.provider.net:51820"), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}},
	}
}

func (w *tunnelWorld) upstreams(t *testing.T, urls ...string) resolve.Options {
	t.Helper()
	o := resolve.Options{Channel: "vpn", CacheOctets: 1 << 20, Sink: event.Discard{}}
	file := filepath.Join(w.dir, "ca.pem")
	if err := os.WriteFile(file, w.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, url := range urls {
		spec := upstream.Spec{URL: url, CA: file}
		if strings.HasPrefix(url, "udp:") {
			spec = upstream.Spec{URL: url, Tunnel: true}
		}
		u, err := spec.Build()
		if err != nil {
			t.Fatal(err)
		}
		o.Upstreams = append(o.Upstreams, u)
	}
	return o
}

// left gives what left the program outside the tunnel, but for what `direct` asks.
func (w *tunnelWorld) left() []netip.AddrPort {
	return slices.DeleteFunc(w.net.Dials(), func(to netip.AddrPort) bool { return to == resolverAt || to == peerAt })
}

func readyIn(t *testing.T, c *Channel) {
	t.Helper()
	select {
	case <-c.Await():
	case <-time.After(patience):
		t.Fatalf("the channel is not ready: %v", c.WhyNotReady())
	}
}

func TestATunnelCarriesItsResolverAndItsTrafficAndItsEndpointIsLookedUpBelow(t *testing.T) {
	for _, url := range []string{"tls://185.11.0.53", "quic://185.11.0.53"} {
		t.Run(url, func(t *testing.T) {
			w := newTunnelWorld(t)
			vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, url)}, w.direct(t))
			readyIn(t, vpn)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := vpn.DialChecked(ctx, name.Must("www.example.com:443"), anyAddress)
			mustGreet(t, conn, err, "origin")
			if got := w.left(); len(got) != 0 {
				t.Errorf("past the tunnel %v was dialled", got)
			}
			if names := w.dns.Names(); slices.ContainsFunc(names, func(n string) bool { return n != "vpn.provider.net" && n != "" }) {
				t.Errorf("the resolver underneath was asked for %v", names)
			}
			if !slices.Contains(w.dns.Names(), "vpn.provider.net") {
				t.Errorf("the endpoint was not looked up underneath: %v", w.dns.Names())
			}
			if s, ok := vpn.TunnelStats(); !ok || s[0].Handshake.IsZero() || s[0].Sent == 0 || s[0].Received == 0 {
				t.Errorf("the figures are %+v", s)
			}
		})
	}
}

func TestPlainDNSIsAskedInsideTheTunnelByItsOwnChannelAndByNobodyElse(t *testing.T) {
	w := newTunnelWorld(t)
	direct := w.direct(t)
	asks := w.upstreams(t, "udp://10.2.0.1")
	for what, s := range map[string]Spec{
		"a tunnel that does not ask for it": {WireGuard: w.tunnel(t)},
		"no tunnel":                         {},
		"a proxy":                           {Proxies: []hop.Proxy{mustProxy(t, "http://192.0.2.7:3128")}},
	} {
		s.Name, s.Over, s.Resolver = "x", "direct", asks
		if c, err := Open(s, direct); err == nil || c != nil {
			t.Errorf("%s: plain DNS is taken", what)
		}
	}
	tunnel := w.tunnel(t)
	tunnel.DNSOverTunnel = true
	vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: tunnel, Resolver: asks}, direct)
	readyIn(t, vpn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := vpn.Exchange(ctx, dnswire.Question{Name: "www.example.com", Type: dnswire.A})
	if err != nil || !slices.Equal(a.Addrs(), []netip.Addr{originAt.Addr()}) {
		t.Fatalf("got %v, %v", a, err)
	}
	conn, err := vpn.DialChecked(ctx, name.Must("www.example.com:443"), anyAddress)
	mustGreet(t, conn, err, "origin")
	if len(w.plain.Log()) == 0 {
		t.Error("the server inside the tunnel was not asked")
	}
	if c, err := Open(Spec{Name: "above", Over: "vpn", Resolver: asks}, vpn); !errors.Is(err, transport.ErrPlain) || c != nil {
		t.Errorf("a channel over the tunnel asks in clear text: %v", err)
	}
	before := len(w.plain.Log())
	for what, dial := range map[string]func(context.Context, name.Target) (net.Conn, error){
		"a client": func(ctx context.Context, to name.Target) (net.Conn, error) {
			return vpn.DialChecked(ctx, to, anyAddress)
		},
		"a hop above":          vpn.Dial,
		"datagrams from above": vpn.Packets().DialPacket,
	} {
		_, err := dial(ctx, name.Must(plainAt.String()))
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.PolicyForeignResolver {
			t.Errorf("%s reaches the name service: %v", what, err)
		}
	}
	if got := w.left(); len(got) != 0 || len(w.plain.Log()) != before {
		t.Errorf("past the tunnel %v was dialled", got)
	}
	for _, to := range w.net.Dials() {
		if to.Port() == 53 {
			t.Errorf("%v was dialled outside", to)
		}
	}
}

func TestIdentitiesShareATunnelAndNoCache(t *testing.T) {
	w := newTunnelWorld(t)
	vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, "tls://185.11.0.53")}, w.direct(t))
	readyIn(t, vpn)
	for _, id := range []client.Identity{alice, bob} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, err := named(vpn, id).DialChecked(ctx, name.Must("www.example.com:443"), anyAddress)
		cancel()
		mustGreet(t, conn, err, "origin")
	}
	if n := w.dot.Count("www.example.com", dnswire.A); n != 2 {
		t.Errorf("the resolver was asked %d times, want once for each", n)
	}
	if got := w.left(); len(got) != 0 {
		t.Errorf("past the tunnel %v was dialled", got)
	}
}

func TestDatagramsOfClientsGoThroughTheTunnel(t *testing.T) {
	w := newTunnelWorld(t)
	vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, "tls://185.11.0.53")}, w.direct(t))
	readyIn(t, vpn)
	echo := w.behind.ListenPacket(originAt)
	defer echo.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	flow, err := vpn.DialPacketChecked(ctx, name.Must("www.example.com:443"), anyAddress)
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	echoes(t, flow, true)
	if got := w.left(); len(got) != 0 {
		t.Errorf("past the tunnel %v was dialled", got)
	}
}

func TestAFlushTakesANewFlowToThePeerAndLeavesConnections(t *testing.T) {
	w := newTunnelWorld(t)
	vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, "tls://185.11.0.53")}, w.direct(t))
	readyIn(t, vpn)
	flows := func() (n int) {
		for _, to := range w.net.Dials() {
			if to == peerAt {
				n++
			}
		}
		return n
	}
	before := flows()
	vpn.Flush() // as where the host's network changes
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := vpn.DialChecked(ctx, name.Must("www.example.com:443"), anyAddress)
	mustGreet(t, conn, err, "origin")
	if after := flows(); after <= before {
		t.Errorf("%d flows to the peer, and %d before", after, before)
	}
}

func TestADeadPeerIsWhyTheChannelIsNotReadyAndNothingGoesAnotherWay(t *testing.T) {
	w := newTunnelWorld(t)
	w.net.Blackhole(peerAt, true)
	o := w.upstreams(t, "tls://185.11.0.53")
	o.Timeout = time.Second
	vpn := w.open(t, Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: o}, w.direct(t))
	_, err := vpn.DialChecked(t.Context(), name.Must("www.example.com:443"), anyAddress)
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != fault.NotReady || !strings.Contains(f.Message, "the WireGuard peer vpn.provider.net:51820 did not answer") {
		t.Errorf("got %v", err)
	}
	if got := w.left(); len(got) != 0 {
		t.Errorf("past the tunnel %v was dialled", got)
	}
	if names := w.dns.Names(); slices.Contains(names, "www.example.com") {
		t.Errorf("the resolver underneath was asked for %v", names)
	}
	if len(w.dot.Log())+len(w.plain.Log()) > 0 {
		t.Error("a resolver behind the dead peer was reached")
	}
}

func TestATunnelNeedsDatagramsUnderneath(t *testing.T) {
	w := newTunnelWorld(t)
	below := w.open(t, Spec{Name: "below", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://192.0.2.7:3128")}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
	if _, err := Open(Spec{Name: "vpn", Over: "below", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, "tls://185.11.0.53")}, below); err == nil || !strings.Contains(err.Error(), "carries connections only") {
		t.Errorf("got %v", err)
	}
}

func TestAChannelThatComesAfterAnotherTakesTheSameTunnelOverAndCutsARival(t *testing.T) {
	w := newTunnelWorld(t)
	direct := w.direct(t)
	s := Spec{Name: "vpn", Over: "direct", WireGuard: w.tunnel(t), Resolver: w.upstreams(t, "tls://185.11.0.53")}
	first := w.open(t, s, direct)
	readyIn(t, first)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := w.behind.Listen(netip.MustParseAddrPort("93.184.216.35:443"))
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	open, err := first.Dial(ctx, name.Must("93.184.216.35:443"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()

	changed := s
	changed.WireGuard = w.tunnel(t) // equal, and not the same
	changed.Resolver = w.upstreams(t, "quic://185.11.0.53")
	second, err := OpenAfter(changed, direct, []*Channel{direct, first})
	if err != nil {
		t.Fatal(err)
	}
	if second.tunnel != first.tunnel {
		t.Fatal("the tunnel was not taken over")
	}
	first.Close()
	echoes(t, open, true)

	changed.WireGuard = w.tunnel(t)
	changed.WireGuard.MTU = 1300
	third, err := OpenAfter(changed, direct, []*Channel{direct, second})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	echoes(t, open, true) // it does not run yet
	runCtx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { _ = third.Run(runCtx); close(done) }()
	readyIn(t, third)
	echoes(t, open, false)
	second.Close()
	stop()
	<-done
}

// echoes says whether a connection still gives back what is sent.
func echoes(t *testing.T, conn net.Conn, want bool) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err := conn.Write([]byte("hello"))
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, 5))
	}
	if (err == nil) != want {
		t.Errorf("the connection gave %v", err)
	}
}

func TestALabelIsNotTakenForToldThroughATunnelThatAllShare(t *testing.T) {
	w := newTunnelWorld(t)
	below := w.open(t, Spec{Name: "below", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "socks5://acme[-cc-{country}]:hunter2@192.0.2.7")}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
	tunnel := w.tunnel(t)
	tunnel.MTU = 1280
	vpn := w.open(t, Spec{Name: "vpn", Over: "below", WireGuard: tunnel, Resolver: w.upstreams(t, "tls://185.11.0.53")}, below)
	_, err := named(vpn, client.Identity{User: "alice", Country: "de"}).DialChecked(t.Context(), name.Must("www.example.com:443"), anyAddress)
	if codeOf(err) != fault.BadRequest || !strings.Contains(err.Error(), "country") {
		t.Errorf("got %v", err)
	}
}

func TestATunnelOverAChannelThatNeedsANameIsRefused(t *testing.T) {
	w := newTunnelWorld(t)
	below := w.open(t, Spec{Name: "below", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "socks5://acme-{user}:hunter2@192.0.2.7")}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
	tunnel := w.tunnel(t)
	tunnel.MTU = 1280
	if _, err := Open(Spec{Name: "vpn", Over: "below", WireGuard: tunnel, Resolver: w.upstreams(t, "tls://185.11.0.53")}, below); err == nil || !strings.Contains(err.Error(), "it needs the client's user") {
		t.Errorf("got %v", err)
	}
}
