package channel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"

	"watertight/hop"
	"watertight/name"
	"watertight/transport"
	"watertight/upstream"
	"watertight/wire"
	"watertight/wireguard"
)

// HopWireGuard is a tunnel in the capability table.
const HopWireGuard = "wireguard"

// CarryTunnel gives an error that names the hop where one of the proxies underneath a tunnel cannot carry it, or says where
// all of them leave no room for its datagrams.
func CarryTunnel(tunnel *wireguard.Config, proxies []hop.Proxy) error {
	if p, blocked := hop.Blocker(proxies); blocked {
		return fmt.Errorf("WireGuard travels in datagrams, and the hop %v carries connections only", p)
	}
	if room := hop.RoomBehind(0, proxies); len(proxies) > 0 && room < tunnel.Room() {
		return fmt.Errorf("its datagrams have up to %d octets, and the %d hops underneath leave room for %d: an `mtu` of %d fits", tunnel.Room(), len(proxies), room, room-tunnel.Room()+tunnel.MTU)
	}
	return nil
}

// CarryPlain refuses plain DNS anywhere but in the channel of a tunnel, which may be nil, whose configuration asks for it.
// It refuses every upstream with addresses that the tunnel has no peer for.
func CarryPlain(u upstream.Upstream, tunnel *wireguard.Config) error {
	if u.Kind.Tunnel() && (tunnel == nil || !tunnel.DNSOverTunnel) {
		return transport.ErrPlain
	}
	if tunnel == nil || len(u.Addrs) == 0 {
		return nil
	}
	for _, at := range u.Addrs {
		if _, ok := tunnel.Route(at.Addr()); ok && tunnel.Family(at.Addr()) {
			return nil
		}
	}
	return fmt.Errorf("no peer of the tunnel has %v in its `allowed_ips`, or the tunnel has no `address` of that family", u.Addrs[0].Addr())
}

// tunnelOf gives the tunnel of a channel, nil where it has none: a new one, or that of a channel before, whose connections
// go on. The others are those of channels before that cannot be up beside it.
func tunnelOf(s Spec, below Below, before []*Channel) (tunnel *wireguard.Tunnel, rivals []*wireguard.Tunnel, err error) {
	if s.WireGuard == nil {
		return nil, nil, nil
	}
	if why := unfitUnder(below); why != nil {
		return nil, nil, fmt.Errorf("all share a tunnel, which goes through what is underneath for nobody in particular: %w", why)
	}
	for _, b := range before {
		switch {
		case b.tunnel == nil:
		case tunnel == nil && sameBelow(b.below, below) && reflect.DeepEqual(b.spec.WireGuard, s.WireGuard) && b.tunnel.Hold():
			tunnel = b.tunnel
		case b.spec.WireGuard.Rivals(s.WireGuard):
			rivals = append(rivals, b.tunnel)
		}
	}
	if tunnel == nil {
		tunnel, err = wireguard.Open(*s.WireGuard, tunnelWay(below))
	}
	return tunnel, rivals, err
}

// unfitUnder says why what is underneath works for nobody without a name; nil where it does.
func unfitUnder(below Below) error {
	for {
		c, ok := below.(*Channel)
		if !ok {
			return nil
		}
		if c.unfit != nil {
			return c.unfit
		}
		below = c.below
	}
}

// sameBelow says whether a channel stands on the one that another stands on.
func sameBelow(under, below Below) bool {
	a, ok := under.(*Channel)
	b, also := below.(*Channel)
	return ok && also && a == b
}

// tunnelWay is how a tunnel's own datagrams leave: by the channel underneath, which also finds its endpoints.
func tunnelWay(below Below) wireguard.Way {
	w := wireguard.Way{Lookup: lookupOf(below)}
	if packets := below.Packets(); packets != nil {
		w.Room = hop.PacketRoom(packets)
		grounded := hop.Grounded(packets)
		w.DialPacket = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			t, err := name.FromAddrPort(to)
			if err != nil {
				return nil, err
			}
			if grounded { // a proxy underneath hears one address alone
				ctx = wire.WithRoaming(ctx)
			}
			return packets.DialPacket(ctx, t)
		}
	}
	return w
}

// startTunnel brings the tunnel up. One of a generation before that has the same key and the same peer is cut: a peer
// sends all it has for a key to one place.
func (c *Channel) startTunnel() {
	if c.tunnel == nil {
		return
	}
	for _, r := range c.rivals {
		r.Cut()
	}
	_ = c.tunnel.Start() // the resolver's first question meets the same error, and tells it
}

func closeTunnel(t *wireguard.Tunnel) {
	if t != nil {
		t.Close()
	}
}

// plainWay lets the channel's own resolver ask in clear text inside the tunnel, where the configuration says so. It is
// nobody else's way: neither a client's, nor that of a channel above.
func (c *Channel) plainWay(w *transport.Way) {
	if c.tunnel == nil {
		return
	}
	if plain, ok := c.tunnel.Plain(); ok {
		w.Plain, w.PlainPacket = plain.Dial, plain.DialPacket
	}
}

// TunnelStats gives figures of the tunnel's peers; false where the way out is another.
func (c *Channel) TunnelStats() ([]wireguard.PeerStats, bool) {
	if c.tunnel == nil {
		return nil, false
	}
	return c.tunnel.Stats(), true
}

var (
	_ hop.Dialer       = (*wireguard.Tunnel)(nil)
	_ hop.PacketDialer = (*wireguard.Tunnel)(nil)
)
