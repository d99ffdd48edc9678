package memory

import (
	"context"
	"net"
	"net/netip"

	"watertight/lab/dnstest"
)

// PacketGround is a [Ground] on which datagrams travel too.
type PacketGround struct{ Ground }

// PacketGround gives the ground of a party, with datagrams.
func (in *Internet) PacketGround(party string) PacketGround { return PacketGround{in.Ground(party)} }

// DialPacketAddr opens a flow of datagrams to an address, and notes that the party did.
func (g PacketGround) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	l := &link{from: g.party, to: to}
	g.in.mu.Lock()
	g.in.links = append(g.in.links, l)
	g.in.mu.Unlock()
	flow, err := g.in.net.DialPacketAddr(ctx, to)
	if err != nil {
		return nil, err
	}
	return &tap{Conn: flow, link: l}, nil
}

// Net is the network itself, for servers of another kind than those of this package. What they do is no link of
// anybody's.
func (in *Internet) Net() *dnstest.Net { return &in.net }

// OnClose lets f run when the internet is closed, before it waits for what runs.
func (in *Internet) OnClose(f func()) { in.onClose(f) }
