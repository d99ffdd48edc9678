package mixed

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"watertight/proxyproto"
)

// behind reads the header by which a balancer says where a client is. What follows it is given; nothing, where that has
// not come yet. It gives false where there is no such header: whoever is listed sends one, or is not served.
func (p *Port) behind(conn *net.TCPConn, head []byte) (rest []byte, from netip.AddrPort, ok bool) {
	for {
		h, n, err := proxyproto.Parse(head)
		if err == nil {
			return head[n:], h.Source, true
		}
		if !errors.Is(err, proxyproto.ErrShort) {
			return nil, netip.AddrPort{}, false
		}
		more, err := firstOctets(conn)
		if err != nil {
			return nil, netip.AddrPort{}, false
		}
		head = append(head, more...) // it is bounded: a header is
	}
}

// isBalancer says whether an address is in one of the networks.
func isBalancer(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
