package dnstest

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
)

// QUICHello gives the first two datagrams of a client of QUIC, which are its hello (RFC 9001, section 4.3). Nothing is sent.
func QUICHello(t testing.TB, host string) [][]byte {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := &outbox{enough: cancel, closed: make(chan struct{})}
	transport := &quic.Transport{Conn: o}
	_, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:443")), &tls.Config{ServerName: host, NextProtos: []string{"h3"}}, nil)
	transport.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil || len(o.sent) < 2 {
		t.Fatalf("%d datagrams, %v", len(o.sent), err)
	}
	return o.sent[:2]
}

// outbox is a socket that keeps what is sent, to which nothing ever comes. It stops the client when it has the hello.
type outbox struct {
	net.PacketConn
	enough func()
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex
	sent [][]byte
}

func (o *outbox) WriteTo(b []byte, _ net.Addr) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sent = append(o.sent, slices.Clone(b)); len(o.sent) == 2 { // a hello of today fills two
		o.enough()
	}
	return len(b), nil
}

func (o *outbox) ReadFrom([]byte) (int, net.Addr, error) {
	<-o.closed
	return 0, nil, net.ErrClosed
}

// SetReadDeadline is how QUIC stops reading.
func (o *outbox) SetReadDeadline(time.Time) error {
	o.once.Do(func() { close(o.closed) })
	return nil
}

func (o *outbox) LocalAddr() net.Addr {
	return net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:50000"))
}
