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
	"io"
	"net"
	"net/netip"
	"syscall"
)

// The addresses of a contained program, beside those of loopback: one of the DS-Lite range (RFC 7335), which no network has,
// and one of a unique local prefix (RFC 4193).
var (
	Inside4 = netip.MustParseAddr("192.0.0.2")
	Inside6 = netip.MustParseAddr("fd77:6174:6572:7469::2")
)

// The addresses at which programs find their resolver. Any others would do: what is sent to the port of DNS is heard whatever the
// address.
var (
	Server4 = netip.MustParseAddr("192.0.0.1")
	Server6 = netip.MustParseAddr("fd77:6174:6572:7469::1")
)

// The addresses of the listening sockets, which nobody has: the IPv4 dummy address (RFC 7600, section 4.8) and one of the
// discard prefix (RFC 6666). No port of the program's own is taken by them.
var (
	Door4 = netip.MustParseAddrPort("192.0.0.8:1")
	Door6 = netip.MustParseAddrPort("[100::8]:1")
)

// Sockets are what hears all that contained programs send to others, so that the address at this end of each connection, and the
// one told beside each datagram, is the one that the program meant. Where this host has no IPv6, those for it are nil.
type Sockets struct {
	TCP4, TCP6 *net.TCPListener // by TPROXY
	UDP4, UDP6 *net.UDPConn
	// DNS and DNSPackets hear all that is sent to the port of DNS, whatever the address and the family.
	DNS        *net.TCPListener
	DNSPackets *net.UDPConn
	// ICMP4 and ICMP6 are to tell a program that nobody takes what it sends. They hear nothing.
	ICMP4, ICMP6 *net.IPConn
}

// Socket is one of Sockets.
type Socket interface {
	io.Closer
	syscall.Conn
}

// All gives those that are there, each under its name.
func (s Sockets) All() map[string]Socket {
	all := map[string]Socket{}
	for name, l := range map[string]*net.TCPListener{"tcp4": s.TCP4, "tcp6": s.TCP6, "dns": s.DNS} {
		if l != nil {
			all[name] = l
		}
	}
	for name, c := range map[string]*net.UDPConn{"udp4": s.UDP4, "udp6": s.UDP6, "dnsudp": s.DNSPackets} {
		if c != nil {
			all[name] = c
		}
	}
	for name, c := range map[string]*net.IPConn{"icmp4": s.ICMP4, "icmp6": s.ICMP6} {
		if c != nil {
			all[name] = c
		}
	}
	return all
}

// Whole says whether all that an IPv4 network needs are there.
func (s Sockets) Whole() bool {
	return s.TCP4 != nil && s.UDP4 != nil && s.DNS != nil && s.DNSPackets != nil && s.ICMP4 != nil
}

// Close closes them.
func (s Sockets) Close() error {
	var errs []error
	for _, one := range s.All() {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}
