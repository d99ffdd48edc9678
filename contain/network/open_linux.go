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
	if s.TCP4, err = wire.ListenTransparentTCP(Door4, 0); err != nil {
		return s, err
	}
	if s.UDP4, err = wire.ListenTransparentUDP(Door4, 0); err != nil {
		return s, err
	}
	dns := netip.AddrPortFrom(netip.IPv6Unspecified(), portDNS)
	if len(families) == 1 {
		dns = netip.AddrPortFrom(netip.IPv4Unspecified(), portDNS)
	}
	if s.DNS, err = wire.ListenTransparentTCP(dns, 0); err != nil {
		return s, err
	}
	if s.DNSUDP, err = wire.ListenTransparentUDP(dns, 0); err != nil {
		return s, err
	}
	if len(families) == 1 {
		return s, nil
	}
	if s.TCP6, err = wire.ListenTransparentTCP(Door6, 0); err != nil {
		return s, err
	}
	s.UDP6, err = wire.ListenTransparentUDP(Door6, 0)
	return s, err
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
