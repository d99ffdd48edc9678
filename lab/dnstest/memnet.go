package dnstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// Net is a network of in-memory connections and datagrams: what is not listened on refuses. It is safe in a bubble of
// testing/synctest. The zero Net is ready for use.
type Net struct {
	// Delay is how long a datagram travels. A bubble in which QUIC sends much needs one: it has to wait for the next moment
	// in which it may send, and none comes where nothing takes time.
	Delay time.Duration

	mu        sync.Mutex
	listeners map[netip.AddrPort]*listener
	packets   map[netip.AddrPort]*packetSocket
	lastPort  uint16 // of a flow of datagrams
	black     map[netip.AddrPort]bool
	dials     []netip.AddrPort
}

// Listen gives a listener at an address. It panics if there is one.
func (n *Net) Listen(at netip.AddrPort) net.Listener {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[at] != nil {
		panic(fmt.Sprintf("dnstest: %v is listened on already", at))
	}
	if n.listeners == nil {
		n.listeners = map[netip.AddrPort]*listener{}
	}
	l := &listener{n: n, at: at, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[at] = l
	return l
}

// Blackhole makes an address swallow every dial, or no longer.
func (n *Net) Blackhole(at netip.AddrPort, on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.black == nil {
		n.black = map[netip.AddrPort]bool{}
	}
	n.black[at] = on
}

// Dials gives every address that was dialled so far, in order.
func (n *Net) Dials() []netip.AddrPort {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]netip.AddrPort(nil), n.dials...)
}

// DialAddr connects to a listener of the network.
func (n *Net) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, to)
	l, black := n.listeners[to], n.black[to]
	n.mu.Unlock()
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if black {
		<-ctx.Done()
		return fail(ctx.Err())
	}
	if l == nil {
		return fail(syscall.ECONNREFUSED)
	}
	near, far := Pipe(netip.MustParseAddrPort("192.0.2.254:49152"), to)
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

type listener struct {
	n      *Net
	at     netip.AddrPort
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept gives the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes the address refuse from now on.
func (l *listener) Close() error {
	err := errors.New("closed already")
	l.once.Do(func() {
		l.n.mu.Lock()
		delete(l.n.listeners, l.at)
		l.n.mu.Unlock()
		close(l.closed)
		err = nil
	})
	if err != nil {
		return net.ErrClosed
	}
	return nil
}

// Addr is the address listened on.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }
