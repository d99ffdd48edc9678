package hop

import (
	"context"
	"net"
	"net/netip"

	"watertight/fault"
	"watertight/name"
)

// PacketDialer is a way out that carries datagrams too.
type PacketDialer interface {
	// DialPacket opens a flow of datagrams to one target: each Write sends one, each Read gives one of the target's and
	// of nobody else. That it succeeds says nothing about whether anyone is there. The error is a [*fault.Error].
	DialPacket(ctx context.Context, t name.Target) (net.Conn, error)
}

// PacketGround is a ground on which datagrams travel too.
type PacketGround interface {
	Ground
	// DialPacketAddr opens a flow of datagrams to an address, as [PacketDialer] has it.
	DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// packetDirect is direct on a ground that carries datagrams.
type packetDirect struct {
	direct
	packets PacketGround
}

func (d packetDirect) DialPacket(ctx context.Context, t name.Target) (net.Conn, error) {
	to, ok := t.AddrPort()
	if !ok {
		return nil, fault.New(fault.Internal, "a name reached the ground", nil)
	}
	conn, err := d.packets.DialPacketAddr(ctx, to)
	if err != nil {
		return nil, ofGround(ctx, to, err)
	}
	return conn, nil
}

var _ PacketDialer = packetDirect{}
