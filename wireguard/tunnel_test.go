package wireguard_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/lab/wgpeer"
	"watertight/name"
	"watertight/wire"
	"watertight/wireguard"
)

func TestMain(m *testing.M) {
	wire.Seal()
	code := m.Run()
	if n := wire.Trapped(); n != 0 {
		fmt.Println("the host's resolver was asked", n, "times")
		code = 1
	}
	os.Exit(code)
}

// patience is for what ought to happen at once, on a machine that is busy.
const patience = time.Minute

var (
	peerAt   = netip.MustParseAddrPort("198.51.100.1:51820")
	movedAt  = netip.MustParseAddrPort("198.51.100.2:51820")
	originAt = netip.MustParseAddrPort("93.184.216.34:443")
	origin6  = netip.MustParseAddrPort("[2606:2800:220:1::34]:443")
	everyone = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	inside   = []netip.Addr{netip.MustParseAddr("10.2.0.2"), netip.MustParseAddr("fd00:2::2")}
)

// pair is a private key with its public one.
type pair struct {
	private wireguard.PrivateKey
	public  wireguard.PublicKey
}

func newPair(t testing.TB) pair {
	t.Helper()
	var p pair
	_, _ = rand.Read(p.private[:]) // it never fails
	var err error
	if p.public, err = p.private.Public(); err != nil {
		t.Fatal(err)
	}
	return p
}

// world is a network with a peer on it, and the network behind the peer.
type world struct {
	t               *testing.T
	outside, behind dnstest.Net
	client, far     pair

	mu      sync.Mutex
	dialled []netip.AddrPort // what the tunnel's datagrams were sent to
	lookups []string
	zone    map[string][]netip.Addr
}

func newWorld(t *testing.T) *world {
	return &world{t: t, client: newPair(t), far: newPair(t), zone: map[string][]netip.Addr{}}
}

func (w *world) start(at netip.AddrPort) *wgpeer.Peer {
	p := wgpeer.Start(&w.outside, &w.behind, wgpeer.Config{
		At: at, PrivateKey: w.far.private, Client: w.client.public,
		Inside: []netip.Prefix{netip.MustParsePrefix("10.2.0.2/32"), netip.MustParsePrefix("fd00:2::2/128")},
	})
	w.t.Cleanup(p.Close)
	return p
}

func (w *world) way() wireguard.Way {
	return wireguard.Way{
		DialPacket: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			w.mu.Lock()
			w.dialled = append(w.dialled, to)
			w.mu.Unlock()
			return w.outside.DialPacketAddr(ctx, to)
		},
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lookups = append(w.lookups, host)
			if found := w.zone[host]; len(found) > 0 {
				return found, nil
			}
			return nil, fault.New(fault.DNSNXDomain, host+" does not exist", nil)
		},
	}
}

func (w *world) point(host string, to ...netip.Addr) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zone[host] = to
}

func (w *world) sent() []netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dialled)
}

// config is a tunnel to one peer behind which everything is.
func (w *world) config(endpoint string) wireguard.Config {
	return wireguard.Config{
		PrivateKey: w.client.private, Addresses: inside, MTU: wireguard.DefaultMTU,
		Peers: []wireguard.Peer{{PublicKey: w.far.public, Endpoint: name.Must(endpoint), AllowedIPs: everyone}},
	}
}

func (w *world) open(c wireguard.Config) *wireguard.Tunnel {
	w.t.Helper()
	tunnel, err := wireguard.Open(c, w.way())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(tunnel.Cut)
	return tunnel
}

// origin echoes what it is sent.
func (w *world) origin(at netip.AddrPort) {
	l := w.behind.Listen(at)
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// wantFault says that an error is a fault of a code that tells all of the words.
func wantFault(t *testing.T, err error, code fault.Code, words ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("got %v, want a fault", err)
	}
	for _, word := range words {
		if !strings.Contains(f.Message, word) {
			t.Errorf("the message %q does not say %q", f.Message, word)
		}
	}
	if f.Code != code {
		t.Errorf("got %v, want the code %s", err, code)
	}
}

func TestConnectionsOfBothFamiliesGoThroughTheTunnelAndNothingElseLeaves(t *testing.T) {
	w := newWorld(t)
	peer := w.start(peerAt)
	w.origin(originAt)
	w.origin(origin6)
	tunnel := w.open(w.config(peerAt.String()))
	if got := w.sent(); len(got) != 0 {
		t.Fatalf("before the first dial %v was dialled", got)
	}
	for _, to := range []netip.AddrPort{originAt, origin6} {
		conn, err := tunnel.Dial(patient(t), name.Must(to.String()))
		if err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("sixteen octets! "), 64<<10) // a MiB
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		}()
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%v: %d octets came back of %d: %v", to, len(got), len(sent), err)
		}
		conn.Close()
	}
	if got := peer.Dials(); !slices.Equal(got, []netip.AddrPort{originAt, origin6}) {
		t.Errorf("out of the tunnel came %v", got)
	}
	for _, to := range w.sent() {
		if to != peerAt {
			t.Errorf("a datagram went to %v", to)
		}
	}
	if s := tunnel.Stats(); s[0].Endpoint != peerAt.String() || s[0].Handshake.IsZero() || s[0].Sent < 1<<20 || s[0].Received < 1<<20 {
		t.Errorf("the figures are %+v", s[0])
	}
}

func TestDatagramsGoThroughTheTunnel(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
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
	tunnel := w.open(w.config(peerAt.String()))
	flow, err := tunnel.DialPacket(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer flow.Close()
	for _, size := range []int{1, 1200, 1392} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := flow.Write(sent); err != nil {
			t.Fatal(err)
		}
		_ = flow.SetReadDeadline(time.Now().Add(patience))
		got := make([]byte, 2048)
		n, err := flow.Read(got)
		if err != nil || !bytes.Equal(got[:n], sent) {
			t.Errorf("of %d octets %d came back: %v", size, n, err)
		}
	}
}

func TestANameIsRefused(t *testing.T) {
	w := newWorld(t)
	tunnel := w.open(w.config(peerAt.String()))
	_, err := tunnel.Dial(t.Context(), name.Must("www.example.com:443"))
	wantFault(t, err, fault.Internal, "a name")
	_, err = tunnel.DialPacket(t.Context(), name.Must("www.example.com:443"))
	wantFault(t, err, fault.Internal, "a name")
	if got := w.sent(); len(got) != 0 {
		t.Errorf("%v was dialled", got)
	}
}

func TestAPortOnWhichNamesTravelInClearTextIsRefusedButToTheChannelsOwnResolver(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	at := netip.MustParseAddrPort("10.2.0.1:53")
	w.origin(at)
	c := w.config(peerAt.String())
	if _, ok := w.open(c).Plain(); ok {
		t.Error("a tunnel gives a way to plain DNS that nobody asked for")
	}
	c.DNSOverTunnel = true
	tunnel := w.open(c)
	for _, to := range []string{"10.2.0.1:53", "10.2.0.1:5353", "[fd00::1]:137"} {
		_, err := tunnel.Dial(t.Context(), name.Must(to))
		wantFault(t, err, fault.PolicyForeignResolver, "clear text")
		_, err = tunnel.DialPacket(t.Context(), name.Must(to))
		wantFault(t, err, fault.PolicyForeignResolver, "clear text")
	}
	plain, ok := tunnel.Plain()
	if !ok {
		t.Fatal("the tunnel gives no way to plain DNS, and it was asked for")
	}
	conn, err := plain.Dial(patient(t), at)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestAnAddressGoesToThePeerWithTheLongestPrefixAndOneOutsideAllIsRefused(t *testing.T) {
	w := newWorld(t)
	first := w.start(peerAt)
	second := newPair(t)
	other := wgpeer.Start(&w.outside, &w.behind, wgpeer.Config{
		At: movedAt, PrivateKey: second.private, Client: w.client.public, Preshared: [32]byte{7},
		Inside: []netip.Prefix{netip.MustParsePrefix("10.2.0.2/32")},
	})
	t.Cleanup(other.Close)
	narrow := netip.MustParseAddrPort("93.184.216.99:80")
	w.origin(originAt)
	w.origin(narrow)
	c := w.config(peerAt.String())
	c.Peers[0].AllowedIPs = []netip.Prefix{netip.MustParsePrefix("93.0.0.0/8")}
	c.Peers = append(c.Peers, wireguard.Peer{
		PublicKey: second.public, PresharedKey: wireguard.PresharedKey{7}, Endpoint: name.Must(movedAt.String()),
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix("93.184.216.99/32")},
	})
	tunnel := w.open(c)
	for _, to := range []netip.AddrPort{originAt, narrow} {
		conn, err := tunnel.Dial(patient(t), name.Must(to.String()))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	if got := first.Dials(); !slices.Equal(got, []netip.AddrPort{originAt}) {
		t.Errorf("to the first peer went %v", got)
	}
	if got := other.Dials(); !slices.Equal(got, []netip.AddrPort{narrow}) {
		t.Errorf("to the second peer went %v", got)
	}
	_, err := tunnel.Dial(t.Context(), name.Must("8.8.8.8:443"))
	wantFault(t, err, fault.ConnectUnreachable, "8.8.8.8", "allowed_ips")
	c.Addresses = inside[:1]
	_, err = w.open(c).Dial(t.Context(), name.Must(origin6.String()))
	wantFault(t, err, fault.ConnectUnreachable, origin6.Addr().String(), "no address of that family")
}

func TestARefusalBehindThePeerIsTheTargets(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	tunnel := w.open(w.config(peerAt.String()))
	_, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	wantFault(t, err, fault.ConnectRefused, originAt.String())
}

func TestAPeerThatIsDeadOrDoesNotKnowTheKeyIsNamedAndNothingElseIsDialled(t *testing.T) {
	wrong := func(w *world, c *wireguard.Config) {
		w.start(peerAt)
		c.PrivateKey = newPair(t).private
	}
	for what, arrange := range map[string]struct {
		do   func(*world, *wireguard.Config)
		says string
	}{
		"nobody listens":    {func(*world, *wireguard.Config) {}, "nothing listens there"},
		"it is silent":      {func(w *world, _ *wireguard.Config) { w.outside.Blackhole(peerAt, true) }, "did not answer the handshake"},
		"the wrong key":     {wrong, "did not answer the handshake"},
		"the wrong far key": {func(w *world, c *wireguard.Config) { w.start(peerAt); c.Peers[0].PublicKey = newPair(t).public }, "did not answer the handshake"},
		"a preshared key too many": {func(w *world, c *wireguard.Config) {
			w.start(peerAt)
			c.Peers[0].PresharedKey = wireguard.PresharedKey{1}
		}, "did not answer the handshake"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.config(peerAt.String())
			arrange.do(w, &c)
			tunnel := w.open(c)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
			wantFault(t, err, fault.HopRefused, "the WireGuard peer "+peerAt.String(), arrange.says)
			_, err = tunnel.DialPacket(ctx, name.Must(originAt.String()))
			wantFault(t, err, fault.HopRefused, "the WireGuard peer "+peerAt.String())
			for _, to := range w.sent() {
				if to != peerAt {
					t.Errorf("a datagram went to %v", to)
				}
			}
			if got := w.behind.Dials(); len(got) != 0 {
				t.Errorf("%v was dialled behind the peer", got)
			}
		})
	}
}

func TestTheNameOfAnEndpointIsLookedUpUnderneathAndAgainWhenThePeerHasMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.origin(originAt)
	w.point("vpn.example.com", peerAt.Addr())
	first := w.start(peerAt)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first.Close()
	w.outside.Blackhole(peerAt, true)
	w.point("vpn.example.com", movedAt.Addr())
	w.start(movedAt)
	// The device takes 15 seconds to doubt a peer, and 5 more to repeat a handshake. What was sent into the old peer is
	// lost, with the connection through it.
	_, _ = conn.Write([]byte("is anybody there?"))
	for deadline := time.Now().Add(2 * patience); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		again, err := tunnel.Dial(ctx, name.Must(originAt.String()))
		cancel()
		if err == nil {
			again.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.lookups) < 2 || w.lookups[0] != "vpn.example.com" {
		t.Errorf("%v was looked up", w.lookups)
	}
	if !slices.Contains(w.dialled, movedAt) {
		t.Errorf("datagrams went to %v", w.dialled)
	}
}

func TestAnEndpointThatDoesNotExistIsSaid(t *testing.T) {
	w := newWorld(t)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
	wantFault(t, err, fault.HopRefused, "the WireGuard peer vpn.example.com:51820", "does not exist")
	if got := w.sent(); len(got) != 0 {
		t.Errorf("%v was dialled", got)
	}
}

func TestAnotherAddressOfAnEndpointIsTriedWhereOneIsSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.origin(originAt)
	w.outside.Blackhole(peerAt, true)
	w.point("vpn.example.com", peerAt.Addr(), movedAt.Addr())
	w.start(movedAt)
	tunnel := w.open(w.config("vpn.example.com:51820"))
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestAKeepaliveReachesThePeerUnasked(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	c := w.config(peerAt.String())
	c.Peers[0].Keepalive = time.Second
	tunnel := w.open(c)
	if err := tunnel.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); tunnel.Stats()[0].Handshake.IsZero(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no handshake")
		}
	}
}

func TestATunnelThatNobodyHoldsGoesDownWithItsLastConnectionAndLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	w.origin(originAt)
	before := ours()
	tunnel, err := wireguard.Open(w.config(peerAt.String()), w.way())
	if err != nil {
		t.Fatal(err)
	}
	if !tunnel.Hold() {
		t.Fatal("a tunnel that is held cannot be held")
	}
	tunnel.Close()
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	tunnel.Close()
	if _, err := conn.Write([]byte("still there?")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil {
		t.Errorf("the connection ended with its holders: %v", err)
	}
	_, err = tunnel.Dial(patient(t), name.Must(originAt.String()))
	wantFault(t, err, fault.NotReady, "closed")
	if tunnel.Hold() {
		t.Error("a tunnel that nobody holds any more can be held again")
	}
	conn.Close()
	conn.Close()
	for deadline := time.Now().Add(patience); ours() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("goroutines were left over:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

// ours counts the goroutines.
func ours() int { return runtime.NumGoroutine() }

func TestACutEndsConnections(t *testing.T) {
	w := newWorld(t)
	w.start(peerAt)
	w.origin(originAt)
	tunnel := w.open(w.config(peerAt.String()))
	conn, err := tunnel.Dial(patient(t), name.Must(originAt.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tunnel.Cut()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading gave %v", err)
	}
}

func TestADialThatIsGivenUpSaysSo(t *testing.T) {
	w := newWorld(t)
	w.outside.Blackhole(peerAt, true)
	tunnel := w.open(w.config(peerAt.String()))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := tunnel.Dial(ctx, name.Must(originAt.String()))
	wantFault(t, err, fault.ConnectTimeout, "given up")
}
