package capture_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/capture"
)

// nobody is a socket to which nothing ever comes. It stops the client when the first packets were sent.
type nobody struct {
	net.PacketConn
	enough context.CancelFunc
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex
	sent [][]byte
}

func (n *nobody) WriteTo(b []byte, _ net.Addr) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, slices.Clone(b))
	if len(n.sent) == 2 { // a hello of today fills two
		n.enough()
	}
	return len(b), nil
}

func (n *nobody) ReadFrom([]byte) (int, net.Addr, error) {
	<-n.closed
	return 0, nil, net.ErrClosed
}

// SetReadDeadline is how QUIC stops reading.
func (n *nobody) SetReadDeadline(time.Time) error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

func (n *nobody) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(client) }

// quicHello gives the first datagrams of a client of QUIC.
func quicHello(t testing.TB, name string) [][]byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := &nobody{enough: cancel, closed: make(chan struct{})}
	transport := &quic.Transport{Conn: n}
	_, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(server), &tls.Config{ServerName: name, NextProtos: []string{"doq"}}, nil)
	transport.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil || len(n.sent) < 2 {
		t.Fatalf("%d datagrams, %v", len(n.sent), err)
	}
	return n.sent
}

func TestQUICHello_IsReadFromItsDatagramsInAnyOrder(t *testing.T) {
	sent := quicHello(t, name)
	for _, order := range [][][]byte{sent, {sent[1], sent[0]}, {sent[0], sent[0], sent[1]}} {
		var h capture.QUICHello
		for _, d := range order {
			h.Add(d)
		}
		if got, ok := h.ServerName(); !ok || got != name {
			t.Errorf("read %q, %v", got, ok)
		}
	}
	var h capture.QUICHello
	h.Add(sent[0][:100])
	if got, ok := h.ServerName(); ok {
		t.Errorf("read %q in a hundred octets", got)
	}
}

func TestNames_ReadsTheHellosOfQUIC(t *testing.T) {
	var packets []capture.Packet
	other := netip.AddrPortFrom(client.Addr(), 40001)
	for _, d := range quicHello(t, name) {
		packets = append(packets, udp(t, client, server, d))
	}
	for _, d := range quicHello(t, "second.example.net") {
		packets = append(packets, udp(t, other, server, d))
	}
	var got []string
	for _, r := range capture.Names(packets) {
		got = append(got, string(r.Means)+" "+r.Name)
	}
	if !slices.Equal(got, []string{"sni " + name, "sni second.example.net"}) {
		t.Error(got)
	}
}

func FuzzQUICHello(f *testing.F) {
	for _, d := range quicHello(f, name) {
		f.Add(d)
	}
	f.Add([]byte{0xc0, 0, 0, 0, 1, 0, 0, 0, 20})
	f.Fuzz(func(t *testing.T, b []byte) {
		var h capture.QUICHello
		h.Add(b)
		h.Add(b)
		h.ServerName()
		if len(h.Message()) > 64<<10 {
			t.Error("kept without a limit")
		}
	})
}
