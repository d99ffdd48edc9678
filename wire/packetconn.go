package wire

import "net"

// PacketConn is a flow of datagrams as what QUIC wants: a socket whose every datagram comes from one address, peer. Where
// the flow goes is decided already, and no address that QUIC says changes it.
func PacketConn(flow net.Conn, peer *net.UDPAddr) net.PacketConn { return &packetConn{flow, peer} }

type packetConn struct {
	net.Conn
	peer *net.UDPAddr
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := p.Read(b)
	return n, p.peer, err
}

func (p *packetConn) WriteTo(b []byte, _ net.Addr) (int, error) { return p.Write(b) }

// SetReadBuffer and SetWriteBuffer pass on what QUIC asks of a socket of the kernel. Another flow has its own buffers.
func (p *packetConn) SetReadBuffer(octets int) error {
	if c, ok := p.Conn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(octets)
	}
	return nil
}

func (p *packetConn) SetWriteBuffer(octets int) error {
	if c, ok := p.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(octets)
	}
	return nil
}
