package wireguard

import (
	"net"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/conn"

	"watertight/wire"
)

// cookieReply is the one message that a device sends to who has proven nothing but that it knows the public key.
const cookieReply = 3

// elsewhere is another address than the one that a flow leads to, from which a datagram came. The device makes it the
// peer's endpoint once the datagram has proven to be the peer's (section 6.5 of the WireGuard paper), and sends there
// from then on: the flow follows with the first datagram that is sent so.
type elsewhere struct {
	*flow
	conn Roamer // by which it came
	from netip.AddrPort
}

// DstToString is the address.
func (e *elsewhere) DstToString() string { return e.from.String() }

// DstToBytes tells endpoints apart.
func (e *elsewhere) DstToBytes() []byte { return []byte(e.from.String()) }

// DstIP is the address.
func (e *elsewhere) DstIP() netip.Addr { return e.from.Addr() }

// send sends datagrams to where the peer is now.
func (e *elsewhere) send(bufs [][]byte) error {
	if len(bufs) == 1 && kind(bufs[0]) == cookieReply {
		return nil // nobody has proven to be there
	}
	e.follow()
	return e.flow.send(bufs)
}

// follow turns the flow, unless it is another by now: one that was opened since leads to where the peer may be as well.
func (e *elsewhere) follow() {
	f := e.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != net.Conn(e.conn) || f.at == e.from {
		return
	}
	if e.conn.Turn(e.from) != nil {
		return
	}
	f.at, f.last = e.from, netip.AddrPort{}
	if e.from != f.home {
		f.last = e.from
	}
}

// read reads a datagram, and says from where it came.
func (f *flow) read(c net.Conn, b []byte) (int, conn.Endpoint, error) {
	r, roams := c.(Roamer)
	if !roams || !f.alone {
		n, err := c.Read(b)
		return n, f, err
	}
	n, from, err := r.ReadWhom(b)
	if err != nil {
		return n, f, err
	}
	f.mu.Lock()
	at, home := f.at, f.home
	f.mu.Unlock()
	switch {
	case from == at:
		return n, f, nil
	case !mayFollow(home, from):
		return 0, f, nil // as if nothing had come
	}
	return n, &elsewhere{f, r, from}, nil
}

// mayFollow says whether a peer with an endpoint at home may be followed to another address. Who sees the datagrams of a
// peer can send them again from elsewhere, and so have ours go there: nothing leads from a public address to one that
// is not, nor from one beyond this host, or beyond a link, to this host or a link, nor to a port of a name service.
func mayFollow(home, from netip.AddrPort) bool {
	if from.Port() == 0 || wire.PlainDNS(from.Port()) || !from.Addr().IsValid() || from.Addr().IsMulticast() || from.Addr().IsUnspecified() {
		return false
	}
	if from.Addr().IsLoopback() && !home.Addr().IsLoopback() || from.Addr().IsLinkLocalUnicast() && !home.Addr().IsLinkLocalUnicast() {
		return false
	}
	return !public(home.Addr()) || public(from.Addr())
}

// reserved are the networks besides private ones, loopback and links that are not of the public internet (IANA special-purpose
// registries; RFC 1122, 6598, 6890, 2544, 1112, 4291, 2765, 8215, 3879). Those of documentation count as public.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("::ffff:0:0:0/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("fec0::/10"),
}

// Prefixes of addresses that lead to the IPv4 address in them (RFC 6052, RFC 3056).
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixto4 = netip.MustParsePrefix("2002::/16")
)

func public(a netip.Addr) bool {
	a = a.Unmap()
	switch b := a.As16(); {
	case nat64.Contains(a):
		a = netip.AddrFrom4([4]byte(b[12:]))
	case sixto4.Contains(a):
		a = netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

var _ conn.Endpoint = (*elsewhere)(nil)
