package dns

import (
	"net"
	"net/netip"
	"slices"
	"sync"
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
// address would reach someone who never asked. Over QUIC they are refused, in a packet smaller than theirs.
func (d *Door) serves(c Client) bool {
	if d.o.Home {
		return true
	}
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

// isHome says that whoever reaches a socket is on this host, whatever address it has: the kernel takes nothing for ::1 from
// a link (RFC 4291, section 2.5.3), but a firewall's redirect leaves a program of this host the address that it had. IPv4 has
// a setting by which other hosts reach loopback (route_localnet), and so this holds for IPv6 alone.
func isHome(at net.Addr) bool {
	var ip net.IP
	switch a := at.(type) {
	case *net.TCPAddr:
		ip = a.IP
	case *net.UDPAddr:
		ip = a.IP
	}
	return ip.Equal(net.IPv6loopback)
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

// isNear says whether an address is that of a program of this host, which nobody else can pretend to have.
func (d *Door) isNear(addr netip.Addr) bool { return d.o.Home || addr.IsLoopback() }

// together gives whose queries and connections are counted together: an address, or an IPv6 network of 64 bits.
func together(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		p, _ := addr.WithZone("").Prefix(64) // it fails for no length up to 128
		return p.Addr()
	}
	return addr
}

// crowd counts the open connections of each client.
type crowd struct {
	mu sync.Mutex
	of map[netip.Addr]int
}

// enter counts a connection of a client, unless it has as many as may be.
func (c *crowd) enter(who netip.Addr, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[who] >= most {
		return false
	}
	if c.of == nil {
		c.of = make(map[netip.Addr]int)
	}
	c.of[who]++
	return true
}

// leave is the end of one that entered.
func (c *crowd) leave(who netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[who]--; c.of[who] == 0 {
		delete(c.of, who)
	}
}

// size gives how many connections a client has.
func (c *crowd) size(who netip.Addr) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[who]
}

// openConnection counts a connection, unless there are too many, in all or of that client. closeConnection is called
// once for it.
func (d *Door) openConnection(c Client) bool {
	if d.stats.connections.Add(1) > int64(d.o.Connections) || !d.crowd.enter(together(c.Addr.Addr()), d.share(c)) {
		d.stats.connections.Add(-1)
		d.stats.busy.Add(1)
		return false
	}
	return true
}

func (d *Door) closeConnection(c Client) {
	d.crowd.leave(together(c.Addr.Addr()))
	d.stats.connections.Add(-1)
}

// share is how many of the connections one client may have: this host's programs, which share an address, all of them.
func (d *Door) share(c Client) int {
	if d.isNear(c.Addr.Addr()) {
		return d.o.Connections
	}
	return d.o.PerClient
}
