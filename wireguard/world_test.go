package wireguard_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
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
