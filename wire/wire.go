// Package wire opens every socket of the program, in and out, and nothing else in the program may.
//
// It takes addresses only: there is no way to hand it a name, so nothing that reaches the network can be looked up
// on the way. It refuses the ports on which names travel in clear text. And it disarms the host's own resolver in
// this process, so that a library that forgets itself gets an error instead of an answer ([Seal], [Trapped]).
package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrPlainDNS is returned for a destination port on which names travel in clear text.
var ErrPlainDNS = errors.New("that port carries names in clear text")

// ErrAddress is returned for an address that is not valid or has no port.
var ErrAddress = errors.New("not a valid socket address")

// plainDNS are the ports of DNS (RFC 1035), NetBIOS names (RFC 1002), multicast DNS (RFC 6762) and LLMNR (RFC 4795).
var plainDNS = map[uint16]bool{53: true, 137: true, 5353: true, 5355: true}

var refusedPlain atomic.Uint64

// RefusedPlain counts what was to be dialled where names travel in clear text, since the program started.
func RefusedPlain() uint64 { return refusedPlain.Load() }

// PlainDNS says whether names travel in clear text on a port.
func PlainDNS(port uint16) bool { return plainDNS[port] }

// keepAlive finds the dead far side of an idle tunnel within about two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}

// DialTCP connects to an address. The result is a bare kernel socket, so that a relay can splice it. A wish of
// [WithSegments] is said to the far side.
func DialTCP(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	return dialTCP(ctx, to, 0)
}

func dialTCP(ctx context.Context, to netip.AddrPort, mark uint32) (*net.TCPConn, error) {
	if err := mayDial(to); err != nil {
		return nil, err
	}
	// DialContext with the address as text: DialTCP binds before it connects (golang/go#81620), which costs a system
	// call and a local port. The address is literal, and the resolver would refuse anything else.
	d := net.Dialer{Resolver: refusing, KeepAliveConfig: keepAlive}
	if segments(ctx) != 0 || mark != 0 {
		d.ControlContext = func(ctx context.Context, network, address string, raw syscall.RawConn) error {
			if mark != 0 {
				if err := setMark(raw, mark); err != nil {
					return fmt.Errorf("wire: mark: %w", err)
				}
			}
			return limitSegments(ctx, network, address, raw)
		}
	}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// DialUDP gives a datagram socket that sends to one address and hears nobody else.
func DialUDP(to netip.AddrPort) (*net.UDPConn, error) { return dialUDP(to, 0) }

func dialUDP(to netip.AddrPort, mark uint32) (*net.UDPConn, error) {
	if err := mayDial(to); err != nil {
		return nil, err
	}
	if mark == 0 {
		return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	}
	d := net.Dialer{Resolver: refusing, Control: func(_, _ string, raw syscall.RawConn) error { return setMark(raw, mark) }}
	conn, err := d.Dial("udp", to.String()) // the address is literal
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// mayDial refuses what is no address of anyone, and where names travel in clear text.
func mayDial(to netip.AddrPort) error {
	if !to.IsValid() || to.Port() == 0 {
		return fmt.Errorf("wire: %w: %v", ErrAddress, to)
	}
	if plainDNS[to.Port()] {
		refusedPlain.Add(1)
		return fmt.Errorf("wire: port %d: %w", to.Port(), ErrPlainDNS)
	}
	return nil
}

// Dialer is DialTCP and DialUDP as a value: the ground on which the channel `direct` stands.
type Dialer struct {
	// Mark is put on every packet, for rules of the firewall, if it is not 0. It needs CAP_NET_ADMIN, and Linux.
	Mark uint32
}

// Marked is the dialer with a mark.
func (Dialer) Marked(mark uint32) Dialer { return Dialer{Mark: mark} }

// DialAddr connects to an address.
func (d Dialer) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := dialTCP(ctx, to, d.Mark)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// DialPacketAddr opens a flow of datagrams to an address. A wish of [WithRoaming] is fulfilled.
func (d Dialer) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if roams(ctx) {
		conn, err := dialRoaming(ctx, to, d.Mark)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	conn, err := dialUDP(to, d.Mark)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// ListenTCP opens a listening socket. Port 0 lets the kernel choose. 0.0.0.0 is every IPv4 address and no other; ::
// is every address of both families.
func ListenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	if !at.IsValid() {
		return nil, fmt.Errorf("wire: %w: %v", ErrAddress, at)
	}
	return net.ListenTCP("tcp"+family(at), net.TCPAddrFromAddrPort(at))
}

// ListenUDP opens a datagram socket. Port 0 lets the kernel choose. The addresses are those of [ListenTCP].
func ListenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	if !at.IsValid() {
		return nil, fmt.Errorf("wire: %w: %v", ErrAddress, at)
	}
	return net.ListenUDP("udp"+family(at), net.UDPAddrFromAddrPort(at))
}

// family is what a network's name ends in for an address: without it, 0.0.0.0 would take IPv6 too.
func family(at netip.AddrPort) string {
	if at.Addr().Is4() {
		return "4"
	}
	return ""
}

// ListenUnix opens a stream socket at a path of this host.
func ListenUnix(path string) (*net.UnixListener, error) {
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// DialUnix connects to a stream socket at a path of this host.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	d := net.Dialer{Resolver: refusing}
	return d.DialContext(ctx, "unix", path)
}

// unixgramWait is how long a datagram may wait for its reader.
const unixgramWait = time.Second

// SendUnixgram sends one datagram to a socket at a path of this host: what the service manager's notification
// protocol asks for (sd_notify(3)). A reader that takes nothing for a second is an error.
func SendUnixgram(path string, b []byte) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	// The queue of a reader that hangs is full: the program goes on without it.
	if err := conn.SetWriteDeadline(time.Now().Add(unixgramWait)); err != nil {
		return err
	}
	_, err = conn.Write(b)
	return err
}
