package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// Open makes the network of the calling thread's network namespace what the package promises, and opens the sockets in it. The
// namespace must be new, and the thread have CAP_NET_ADMIN over it. An error says which step failed; nothing then stands that
// would let a packet out.
func Open() (s Sockets, err error) {
	if err := alone(); err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			_ = s.Close()
			s = Sockets{}
		}
	}()
	families := []family{ipv4}
	if err := route(Inside4); err != nil {
		return s, err
	}
	switch err := route(Inside6); {
	case err == nil:
		families = append(families, ipv6)
	case !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EACCES):
		return s, fmt.Errorf("IPv6: %w", err)
	} // else this host has no IPv6, or has it switched off: then nobody inside has it either
	if err := tell(unix.NETLINK_NETFILTER, rules(families)); err != nil {
		return s, err
	}
	err = s.open(len(families) > 1)
	return s, err
}

// open opens the sockets.
func (s *Sockets) open(v6 bool) (err error) {
	tcp := func(at netip.AddrPort) (l *net.TCPListener) {
		if err == nil {
			l, err = wire.ListenTransparentTCP(at, 0)
		}
		return l
	}
	udp := func(at netip.AddrPort) (c *net.UDPConn) {
		if err == nil {
			c, err = wire.ListenTransparentUDP(at, 0)
		}
		return c
	}
	icmp := func(v6 bool) (c *net.IPConn) {
		if err == nil {
			c, err = wire.ListenTransparentICMP(v6)
		}
		return c
	}
	anywhere := netip.IPv4Unspecified()
	s.TCP4, s.UDP4, s.ICMP4 = tcp(Door4), udp(Door4), icmp(false)
	if v6 {
		anywhere = netip.IPv6Unspecified()
		s.TCP6, s.UDP6, s.ICMP6 = tcp(Door6), udp(Door6), icmp(true)
	}
	s.DNS, s.DNSPackets = tcp(netip.AddrPortFrom(anywhere, portDNS)), udp(netip.AddrPortFrom(anywhere, portDNS))
	return err
}

// alone makes sure that no interface but the loopback one is up. Others can be there, down, where a module for tunnels is loaded
// (net.core.fb_tunnels_only_for_init_net); they end in this same network.
func alone() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("look at the interfaces: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("the network has an interface %s, which is up: it is not a new one", i.Name)
		}
	}
	return nil
}
