package dns

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"watertight/wire"
)

// datagrams is a socket whose replies come from the address that was asked. Where it is bound to every address of the host, the
// kernel would choose one, and where it is handed questions for others, its own, and a client takes a reply from no other than it
// asked.
type datagrams struct {
	*net.UDPConn
	batches *ipv4.PacketConn // of both families: what is IPv4 alone is not used
	v4, v6  bool             // that the kernel is to tell which address was asked; neither for a socket of one address
	home    bool             // that all its clients are on this host
}

// controlLen is room for what the kernel tells beside a datagram.
const controlLen = 128

// newDatagrams looks which address conn has. Where told is set it may be asked at any other too, which a firewall hands over.
func newDatagrams(conn *net.UDPConn, told bool) (datagrams, error) {
	d := datagrams{UDPConn: conn, batches: ipv4.NewPacketConn(conn), home: isHome(conn.LocalAddr())}
	at := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
	switch {
	case !at.IsUnspecified() && !told:
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

// isTold says whether the kernel tells which address was asked.
func (d datagrams) isTold() bool { return d.v4 || d.v6 }

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

// write sends a reply, or loses it where there is no room: a client that does not take it keeps nobody waiting.
func (d datagrams) write(b []byte, to peer) error {
	if wire.DontWait != 0 {
		_, err := d.batches.WriteBatch([]ipv4.Message{{Buffers: [][]byte{b}, OOB: to.control(), Addr: net.UDPAddrFromAddrPort(to.client)}}, wire.DontWait)
		return err
	}
	_, _, err := d.WriteMsgUDPAddrPort(b, to.control(), to.client)
	return err
}

// control tells the kernel from which address a reply is to come; nil where there is but one.
func (p peer) control() []byte {
	switch {
	case !p.asked.IsValid():
		return nil
	case p.asked.Unmap().Is4(): // also on a socket of both families, where it is in its IPv6-mapped form
		return (&ipv4.ControlMessage{Src: p.asked.Unmap().AsSlice()}).Marshal()
	default:
		return (&ipv6.ControlMessage{Src: p.asked.AsSlice()}).Marshal()
	}
}
