package internet

import (
	"fmt"
	"net"
	"net/netip"

	"watertight/capture"
	"watertight/contain"
	"watertight/wire"
)

// Host is a machine of the internet: a network namespace joined to the provider by one link.
type Host struct {
	Name         string
	Addr4, Addr6 netip.Addr // not valid where the internet has no such family

	in       *Internet
	number   int
	observed bool
	space    *contain.Net
	extra    []netip.Addr
}

// newHost gives the host its addresses: the client has one of a home network, all others have public ones, which no
// policy takes for special (the ranges reserved for documentation would be).
func newHost(in *Internet, name string, number int, space *contain.Net, observed bool, extra []netip.Addr) *Host {
	h := &Host{Name: name, in: in, number: number, space: space, observed: observed}
	n := byte(number)
	if in.Families.v4() {
		h.Addr4 = netip.AddrFrom4([4]byte{151, 216, n, 10})
		if observed {
			h.Addr4 = netip.AddrFrom4([4]byte{192, 168, 77, 10})
		}
	}
	if in.Families.v6() {
		h.Addr6 = netip.AddrFrom16([16]byte{0x2a, 0x12, 0x49, 0x40, 0, n, 15: 0x10})
	}
	for _, a := range extra {
		if a.Is4() && in.Families.v4() || a.Is6() && in.Families.v6() {
			h.extra = append(h.extra, a)
		}
	}
	return h
}

// Addrs gives every address of the host.
func (h *Host) Addrs() []netip.Addr {
	var all []netip.Addr
	for _, a := range append([]netip.Addr{h.Addr4, h.Addr6}, h.extra...) {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// Addr gives the host's first address: IPv4 where there is IPv4.
func (h *Host) Addr() netip.Addr { return h.Addrs()[0] }

// At gives the host's first address with a port.
func (h *Host) At(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), port) }

// Has says whether an address is the host's.
func (h *Host) Has(a netip.Addr) bool {
	for _, mine := range h.Addrs() {
		if mine == a.Unmap() {
			return true
		}
	}
	return false
}

// Peers gives the host as someone with whom packets may be exchanged: on this port, at each of its addresses.
func (h *Host) Peers(proto capture.Proto, port uint16) []capture.Peer {
	var peers []capture.Peer
	for _, a := range h.Addrs() {
		peers = append(peers, capture.Peer{Proto: proto, At: netip.AddrPortFrom(a, port)})
	}
	return peers
}

func (h *Host) prefixes() []netip.Prefix {
	var all []netip.Prefix
	if h.Addr4.IsValid() {
		all = append(all, netip.PrefixFrom(h.Addr4, 24))
	}
	if h.Addr6.IsValid() {
		all = append(all, netip.PrefixFrom(h.Addr6, 64))
	}
	return all
}

// gateways gives the provider's addresses on the host's link: the host's own, ending in 1.
func (h *Host) gateways() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range h.prefixes() {
		b := p.Addr().AsSlice()
		b[len(b)-1] = 1
		a, _ := netip.AddrFromSlice(b)
		all = append(all, netip.PrefixFrom(a, p.Bits()))
	}
	return all
}

// Nameservers gives the addresses that the provider tells this host to use for plaintext DNS.
func (h *Host) Nameservers() []netip.Addr {
	var all []netip.Addr
	for _, p := range h.gateways() {
		all = append(all, p.Addr())
	}
	return all
}

// Do runs fn on a thread inside the host's network. Sockets opened by fn belong to the host and may be used
// anywhere; goroutines started by fn are not on the host.
func (h *Host) Do(fn func() error) error { return h.space.Do(fn) }

// Listen opens a TCP port on every address of the host, and closes it when the internet ends. Port 0 lets the kernel
// choose.
func (h *Host) Listen(port uint16) (net.Listener, error) {
	return h.ListenAt(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
}

// ListenAt opens a TCP port on one address of the host, and closes it when the internet ends.
func (h *Host) ListenAt(at netip.AddrPort) (net.Listener, error) {
	var l *net.TCPListener
	err := h.Do(func() (err error) {
		l, err = wire.ListenTCP(at)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("internet: listen on %s, %v: %w", h.Name, at, err)
	}
	h.in.Cleanup(func() { _ = l.Close() })
	return l, nil
}

// ListenUDP opens a UDP port on every address of the host, and closes it when the internet ends.
func (h *Host) ListenUDP(port uint16) (*net.UDPConn, error) {
	return h.ListenUDPAt(netip.AddrPortFrom(netip.IPv6Unspecified(), port))
}

// ListenUDPAt opens a UDP port on one address of the host, and closes it when the internet ends.
func (h *Host) ListenUDPAt(at netip.AddrPort) (*net.UDPConn, error) {
	var c *net.UDPConn
	err := h.Do(func() (err error) {
		c, err = wire.ListenUDP(at)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("internet: listen on %s, UDP %v: %w", h.Name, at, err)
	}
	h.in.Cleanup(func() { _ = c.Close() })
	return c, nil
}
