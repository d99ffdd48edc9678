package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

type roamingKey struct{}

// WithRoaming wishes that a flow of datagrams which is opened under ctx be a [*Roaming].
func WithRoaming(ctx context.Context) context.Context {
	return context.WithValue(ctx, roamingKey{}, true)
}

func roams(ctx context.Context) bool {
	wish, _ := ctx.Value(roamingKey{}).(bool)
	return wish
}

// Roaming is a datagram socket that sends to one address at a time, and hears everybody who asks for it by
// [Roaming.ReadWhom]. Its other methods are those of a flow to the one address, which hears nobody else. It is for
// protocols that prove in each datagram who sent it.
type Roaming struct {
	conn *net.UDPConn

	mu sync.Mutex
	to netip.AddrPort
}

// dialRoaming opens the socket, for both families where the host has both.
func dialRoaming(ctx context.Context, to netip.AddrPort, mark uint32) (*Roaming, error) {
	if err := mayDial(to); err != nil {
		return nil, err
	}
	l := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		if mark != 0 {
			if err := setMark(raw, mark); err != nil {
				return err
			}
		}
		return hearRefusals(raw)
	}}
	conn, err := l.ListenPacket(ctx, "udp", ":0") // no name, and every address
	if err != nil {
		return nil, err
	}
	return &Roaming{conn: conn.(*net.UDPConn), to: plain(to)}, nil
}

// plain is an address without the form of IPv6 for one of IPv4.
func plain(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Turn has what is sent from now on go to another address. It refuses what cannot be dialled.
func (r *Roaming) Turn(to netip.AddrPort) error {
	if err := mayDial(to); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = plain(to)
	return nil
}

func (r *Roaming) where() netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.to
}

// ReadWhom gives a datagram of anyone. That nobody listens at the address is an error of syscall.ECONNREFUSED, where
// the system tells.
func (r *Roaming) ReadWhom(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(b)
		if err != nil && forget(r.conn) && passing(err) {
			continue
		}
		return n, plain(from), err
	}
}

// Read gives a datagram of the one address.
func (r *Roaming) Read(b []byte) (int, error) {
	for {
		n, from, err := r.ReadWhom(b)
		if err != nil || from == r.where() {
			return n, err
		}
	}
}

// Write sends a datagram.
func (r *Roaming) Write(b []byte) (int, error) {
	n, err := r.conn.WriteToUDPAddrPort(b, r.where())
	if err != nil && forget(r.conn) && passing(err) { // it was about an earlier one: this one was not sent
		n, err = r.conn.WriteToUDPAddrPort(b, r.where())
	}
	return n, err
}

// passing says whether an error is what a router said of some datagram, which a socket with one address is not told.
func passing(err error) bool {
	for _, e := range []syscall.Errno{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EMSGSIZE, syscall.ENOPROTOOPT, syscall.EACCES} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close ends the flow.
func (r *Roaming) Close() error { return r.conn.Close() }

// LocalAddr is where the socket is.
func (r *Roaming) LocalAddr() net.Addr { return r.conn.LocalAddr() }

// RemoteAddr is where it sends to now.
func (r *Roaming) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(r.where()) }

// SetDeadline bounds reading and writing.
func (r *Roaming) SetDeadline(t time.Time) error { return r.conn.SetDeadline(t) }

// SetReadDeadline bounds reading.
func (r *Roaming) SetReadDeadline(t time.Time) error { return r.conn.SetReadDeadline(t) }

// SetWriteDeadline bounds writing.
func (r *Roaming) SetWriteDeadline(t time.Time) error { return r.conn.SetWriteDeadline(t) }

var _ net.Conn = (*Roaming)(nil)
