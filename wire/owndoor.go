package wire

import (
	"context"
	"net"
	"net/netip"
)

// DialListener connects to a listening socket of this very process, as a client on this host does, whatever its port: what
// is sent there does not leave the process.
func DialListener(ctx context.Context, l *net.TCPListener) (net.Conn, error) {
	d := net.Dialer{Resolver: refusing}
	return d.DialContext(ctx, "tcp", reachable(l.Addr().(*net.TCPAddr).AddrPort()).String())
}

// DialPacketListener gives a datagram socket that sends to a socket of this very process, and hears nobody else.
func DialPacketListener(c *net.UDPConn) (net.Conn, error) {
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(reachable(c.LocalAddr().(*net.UDPAddr).AddrPort())))
}

// reachable is where a client on this host reaches a socket: on loopback, where it is bound to every address.
func reachable(at netip.AddrPort) netip.AddrPort {
	switch a := at.Addr().Unmap(); {
	case !a.IsUnspecified():
		return netip.AddrPortFrom(a, at.Port())
	case a.Is4():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), at.Port())
}
