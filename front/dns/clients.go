package dns

import (
	"net"
	"net/netip"
	"slices"
)

// loopback are the addresses of this host alone.
var loopback = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("::1/128"),
}

// near are the addresses of this host, of its links and of private networks: nobody on the Internet.
var near = append(loopback[:2:2],
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
)

// Near gives the addresses of this host, of its links and of private networks: those of nobody on the Internet.
func Near() []netip.Prefix { return slices.Clone(near) }

// serves says whether a client is on the list for its transport. Others are not answered at all: an answer to a forged
// address would reach someone who never asked.
func (d *Door) serves(c Client) bool {
	list := d.o.PlainClients
	if c.Proto.encrypted() {
		list = d.o.Clients
	}
	addr := c.Addr.Addr().WithZone("")
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	d.stats.strangers.Add(1)
	return false
}

// newClient makes a client of an address as sockets give it.
func newClient(ap netip.AddrPort, p Proto) Client {
	return Client{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), p}
}

// clientOf is newClient for what a connection says of its far end.
func clientOf(addr net.Addr, p Proto) Client {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return newClient(a.AddrPort(), p)
	case *net.UDPAddr:
		return newClient(a.AddrPort(), p)
	}
	return Client{Proto: p} // no address is on no list
}
