package channel

import (
	"context"
	"net"
	"net/netip"

	"watertight/fault"
	"watertight/hop"
	"watertight/name"
)

// OnGround is the end of the recursion: what the channel `direct` stands on. It dials addresses and resolves nothing.
func OnGround(g hop.Ground) Below { return ground{hop.Direct(g)} }

type ground struct{ dialer hop.Dialer }

func (g ground) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	return g.dialer.Dial(ctx, t)
}

func (g ground) Packets() hop.PacketDialer {
	packets, _ := g.dialer.(hop.PacketDialer)
	return packets
}

func (ground) Lookup(context.Context, string) ([]netip.Addr, error) {
	return nil, fault.New(fault.Internal, "there is no resolver below the channel `direct`", nil)
}
