package wireguard

import (
	"net"
	"net/netip"

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
// is not, nor to a port of a name service.
func mayFollow(home, from netip.AddrPort) bool {
	if from.Port() == 0 || wire.PlainDNS(from.Port()) || !from.Addr().IsValid() || from.Addr().IsMulticast() || from.Addr().IsUnspecified() {
		return false
	}
	return !public(home.Addr()) || public(from.Addr())
}

// carrierGrade is the address space that providers share among their customers (RFC 6598).
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

func public(a netip.Addr) bool {
	a = a.Unmap()
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrierGrade.Contains(a)
}

var _ conn.Endpoint = (*elsewhere)(nil)
