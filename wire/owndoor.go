package wire

import (
	"context"
	"fmt"
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

// DialAsOthers connects as any program of this host does that knows of no proxy: without a mark by which the firewall would leave it
// alone, and to any port, those of DNS among them. It is for the test of what the firewall hands over or refuses, and for addresses of its
// canary alone: nothing real is asked over it. network is tcp or udp.
func DialAsOthers(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if !to.IsValid() || to.Port() == 0 || network != "tcp" && network != "udp" {
		return nil, fmt.Errorf("wire: %w: %s %v", ErrAddress, network, to)
	}
	d := net.Dialer{Resolver: refusing}
	return d.DialContext(ctx, network, to.String()) // the address is literal
}
