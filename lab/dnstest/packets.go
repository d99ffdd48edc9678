package dnstest

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// queued is how many datagrams wait for their reader; those over it are lost, as with a socket of the kernel.
const queued = 256

// ListenPacket gives a socket for datagrams at an address. It panics if there is one.
func (n *Net) ListenPacket(at netip.AddrPort) net.PacketConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.packets[at] != nil {
		panic("dnstest: " + at.String() + " is bound already")
	}
	return n.bind(at)
}

// DialPacketAddr opens a flow of datagrams to an address. Nobody has to be there.
func (n *Net) DialPacketAddr(_ context.Context, to netip.AddrPort) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, to)
	n.lastPort++
	s := n.bind(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.254"), n.lastPort))
	s.connected = true
	return &packetFlow{s, to}, nil
}

// bind makes a socket. The caller holds n.mu.
func (n *Net) bind(at netip.AddrPort) *packetSocket {
	s := &packetSocket{n: n, at: at, in: make(chan datagram, queued), closed: make(chan struct{})}
	if n.packets == nil {
		n.packets = map[netip.AddrPort]*packetSocket{}
	}
	n.packets[at] = s
	return s
}

// send carries a datagram. Where nobody listens the sender is told, as ICMP would, if it speaks with that address alone:
// no kernel tells a socket that speaks with many.
func (n *Net) send(from *packetSocket, to netip.AddrPort, b []byte) {
	n.mu.Lock()
	s, black := n.packets[to], n.black[to]
	n.mu.Unlock()
	d := datagram{octets: append([]byte(nil), b...), from: from.at}
	switch {
	case black:
		return
	case s == nil && !from.connected:
		return
	case s == nil:
		s, d = from, datagram{from: to, err: syscall.ECONNREFUSED}
	}
	arrive := func() {
		select {
		case s.in <- d:
		default:
		}
	}
	if n.Delay > 0 {
		time.AfterFunc(n.Delay, arrive)
		return
	}
	arrive()
}

type datagram struct {
	octets []byte
	from   netip.AddrPort
	err    error
}

// packetSocket is a socket for datagrams.
type packetSocket struct {
	n         *Net
	at        netip.AddrPort
	connected bool // it speaks with one address
	in        chan datagram
	closed    chan struct{}
	once      sync.Once

	mu    sync.Mutex
	until time.Time // the deadline for reading
	moved chan struct{}
}

// ReadFrom waits for a datagram.
func (s *packetSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		s.mu.Lock()
		if s.moved == nil {
			s.moved = make(chan struct{})
		}
		until, moved := s.until, s.moved
		s.mu.Unlock()
		var late <-chan time.Time
		if !until.IsZero() {
			timer := time.NewTimer(time.Until(until))
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-s.closed:
			return 0, nil, s.failed("read", net.ErrClosed)
		case <-late:
			return 0, nil, s.failed("read", os.ErrDeadlineExceeded)
		case <-moved:
		case d := <-s.in:
			if d.err != nil {
				return 0, nil, s.failed("read", d.err)
			}
			return copy(b, d.octets), net.UDPAddrFromAddrPort(d.from), nil
		}
	}
}

// WriteTo sends a datagram.
func (s *packetSocket) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, s.failed("write", net.ErrClosed)
	default:
	}
	s.n.send(s, to.(*net.UDPAddr).AddrPort(), b)
	return len(b), nil
}

func (s *packetSocket) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Addr: s.LocalAddr(), Err: err}
}

// Close gives the address free.
func (s *packetSocket) Close() error {
	s.once.Do(func() {
		close(s.closed)
		s.n.mu.Lock()
		defer s.n.mu.Unlock()
		delete(s.n.packets, s.at)
	})
	return nil
}

// LocalAddr is where the socket is bound.
func (s *packetSocket) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.at) }

// SetReadDeadline bounds the waiting for a datagram.
func (s *packetSocket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = t
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
	return nil
}

// SetWriteDeadline does nothing: nothing waits to be sent.
func (s *packetSocket) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (s *packetSocket) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadBuffer and SetWriteBuffer are what QUIC asks of a socket.
func (s *packetSocket) SetReadBuffer(int) error { return nil }

// SetWriteBuffer does nothing either.
func (s *packetSocket) SetWriteBuffer(int) error { return nil }

// packetFlow is a socket that speaks with one address.
type packetFlow struct {
	*packetSocket
	to netip.AddrPort
}

func (f *packetFlow) Read(b []byte) (int, error) {
	for {
		n, from, err := f.ReadFrom(b)
		if err != nil || from.(*net.UDPAddr).AddrPort() == f.to {
			return n, err
		}
	}
}

func (f *packetFlow) Write(b []byte) (int, error) { return f.WriteTo(b, f.RemoteAddr()) }

func (f *packetFlow) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(f.to) }
