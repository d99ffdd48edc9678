package watch_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"watertight/lab"
	"watertight/wire"
)

// hello gives the first message of a client of TLS.
func hello(t *testing.T, host string) []byte {
	t.Helper()
	here, there := net.Pipe()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: host, InsecureSkipVerify: true}).Handshake()
		here.Close()
	}()
	b := make([]byte, 16<<10)
	n := lab.Must(there.Read(b))(t)
	there.Close()
	return b[:n]
}

// nowhere keeps what is sent, and never brings anything.
type nowhere struct {
	net.PacketConn
	mu   sync.Mutex
	sent [][]byte
	once sync.Once
	got  chan struct{}
}

func (n *nowhere) WriteTo(b []byte, _ net.Addr) (int, error) {
	n.mu.Lock()
	n.sent = append(n.sent, append([]byte(nil), b...))
	n.mu.Unlock()
	n.once.Do(func() { close(n.got) })
	return len(b), nil
}

// quicHello gives the first datagram of a client of QUIC.
func quicHello(t *testing.T, host string) []byte {
	t.Helper()
	socket := lab.Must(wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0")))(t)
	n := &nowhere{PacketConn: socket, got: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tr := &quic.Transport{Conn: n}
	go func() {
		<-n.got
		cancel()
	}()
	config := &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"h3"}, CurvePreferences: []tls.CurveID{tls.X25519}}
	_, _ = tr.Dial(ctx, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:9")), config, &quic.Config{})
	_ = tr.Close()
	_ = socket.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sent[0]
}

func dialled(to string) (net.Conn, error) {
	return wire.DialContained("udp", netip.MustParseAddrPort(to))
}

// speakFrom53 has a server on port 53 answer somebody, as a resolver on this host would to its clients.
func speakFrom53(t *testing.T) {
	t.Helper()
	s := lab.Must(wire.ListenUDP(netip.MustParseAddrPort("127.0.0.40:53")))(t)
	defer s.Close()
	lab.Must(s.WriteToUDPAddrPort([]byte("an answer"), netip.MustParseAddrPort("198.51.100.99:40000")))
}

// relayed is a client of this program's own relay of datagrams, of which no door was told.
func relayed(t *testing.T, label string) {
	t.Helper()
	relay := lab.Must(wire.ListenUDP(netip.MustParseAddrPort("127.0.0.1:0")))(t)
	t.Cleanup(func() { relay.Close() })
	client := lab.Must(dialled(relay.LocalAddr().String()))(t)
	defer client.Close()
	lab.Must(client.Write([]byte("to " + label)))(t)
	b := make([]byte, 100)
	n, from, err := relay.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	lab.Must(relay.WriteToUDPAddrPort(b[:n], from))(t)
}
