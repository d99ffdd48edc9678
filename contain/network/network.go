// Package network makes the network that a contained program finds: a loopback interface and nothing else, on which every
// address of the Internet leads to sockets that are handed out to the program which carries the traffic.
//
// It promises that nothing but those sockets hears what is sent to an address other than the program's own, whatever the port
// or the way it was sent; that what they cannot carry (multicast, broadcast, protocols other than TCP and UDP) is refused to
// the sender at once; and that without those sockets all of it is dropped. There is no interface by which a packet could leave.
// It needs no program of the host, and never touches any namespace but the one it is called in.
package network

import (
	"errors"
	"net"
	"net/netip"
)

// The addresses of a contained program, beside those of loopback: one of the DS-Lite range (RFC 7335), which no network has,
// and one of a unique local prefix (RFC 4193).
var (
	Inside4 = netip.MustParseAddr("192.0.0.2")
	Inside6 = netip.MustParseAddr("fd77:6174:6572:7469::2")
)

// The addresses of the listening sockets, which nobody has: the IPv4 dummy address (RFC 7600, section 4.8) and one of the
// discard prefix (RFC 6666). No port of the program's own is taken by them.
var (
	Door4 = netip.MustParseAddrPort("192.0.0.8:1")
	Door6 = netip.MustParseAddrPort("[100::8]:1")
)

// Sockets are what hears all that contained programs send to others: by TPROXY, so that the address at this end of each
// connection, and the one told beside each datagram, is the one that the program meant.
type Sockets struct {
	TCP4, TCP6 *net.TCPListener // TCP6 is nil where this host has no IPv6
	UDP4, UDP6 *net.UDPConn     // likewise
	// DNS is what hears all that is sent to the port of DNS, whatever the address.
	DNS    *net.TCPListener
	DNSUDP *net.UDPConn
}

// Close closes them.
func (s Sockets) Close() error {
	var errs []error
	for _, l := range []*net.TCPListener{s.TCP4, s.TCP6, s.DNS} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	for _, c := range []*net.UDPConn{s.UDP4, s.UDP6, s.DNSUDP} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
