package wireguard_test

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"watertight/fault"
	"watertight/lab/wgpeer"
	"watertight/name"
	"watertight/wireguard"
)

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
