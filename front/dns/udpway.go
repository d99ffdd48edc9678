package dns

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// datagrams is a socket whose replies come from the address that was asked. Where it is bound to every address of the host, the
// kernel would choose one, and a client takes a reply from no other than it asked.
type datagrams struct {
	*net.UDPConn
	v4, v6 bool // that the kernel is to tell which address was asked; neither for a socket of one address
}

// controlLen is room for what the kernel tells beside a datagram.
const controlLen = 128

var controls = sync.Pool{New: func() any { return new([controlLen]byte) }}

func newDatagrams(conn *net.UDPConn) (datagrams, error) {
	d := datagrams{UDPConn: conn}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	switch {
	case !at.IsUnspecified():
		return d, nil
	case at.Is4():
		d.v4 = true
		return d, ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst, true)
	default:
		d.v6 = true
		return d, ipv6.NewPacketConn(conn).SetControlMessage(ipv6.FlagDst, true)
	}
}

// peer is the two ends of a datagram.
type peer struct {
	client netip.AddrPort
	asked  netip.Addr // not valid where the socket has one address
}

// read reads a datagram.
func (d datagrams) read(b []byte) (n int, from peer, err error) {
	if !d.v4 && !d.v6 {
		n, from.client, err = d.ReadFromUDPAddrPort(b)
		return n, from, err
	}
	control := controls.Get().(*[controlLen]byte)
	defer controls.Put(control)
	n, told, _, client, err := d.ReadMsgUDPAddrPort(b, control[:])
	from.client = client
	if err == nil {
		from.asked = d.destination(control[:told])
	}
	return n, from, err
}

// destination reads which address was asked.
func (d datagrams) destination(control []byte) netip.Addr {
	var ip net.IP
	if d.v4 {
		var m ipv4.ControlMessage
		if m.Parse(control) == nil {
			ip = m.Dst
		}
	} else {
		var m ipv6.ControlMessage
		if m.Parse(control) == nil {
			ip = m.Dst
		}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr
}

// write sends a reply.
func (d datagrams) write(b []byte, to peer) error {
	var control []byte
	switch {
	case !to.asked.IsValid():
	case to.asked.Unmap().Is4(): // also on a socket of both families, where it is in its IPv6-mapped form
		control = (&ipv4.ControlMessage{Src: to.asked.Unmap().AsSlice()}).Marshal()
	default:
		control = (&ipv6.ControlMessage{Src: to.asked.AsSlice()}).Marshal()
	}
	_, _, err := d.WriteMsgUDPAddrPort(b, control, to.client)
	return err
}
