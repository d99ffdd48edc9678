package channel

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"

	"watertight/client"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
	"watertight/wireguard"
)

// seedLength is that of the secret from which a channel makes sessions where nobody asked for one, in octets.
const seedLength = 32

func newSeed() []byte {
	seed := make([]byte, seedLength)
	_, _ = rand.Read(seed) // it never fails
	return seed
}

// opening is what a channel is opened with, or a partition of it.
type opening struct {
	spec    Spec
	below   Below
	who     who
	seed    []byte
	pool    *pool
	tunnel  *wireguard.Tunnel
	proxies []hop.Proxy // of the spec, as they are asked for who
}

// fill fills in the templates of the proxies. The error is a [*fault.Error] that shows no value.
func (o *opening) fill() error {
	for _, p := range o.spec.Proxies {
		one, err := p.For(o.who.Identity, o.seed)
		if err != nil {
			o.proxies = nil // half a chain is no way out
			return o.spec.unfilled(err)
		}
		o.proxies = append(o.proxies, one)
	}
	if o.pool == nil {
		return nil
	}
	if err := o.pool.fits(o.who.Identity, o.seed); err != nil {
		return o.spec.unfilled(err)
	}
	return nil
}

// wayOut sets how the channel's connections and datagrams leave.
func (o *opening) wayOut(c *Channel) (err error) {
	first := hop.DialerFunc(o.below.Dial)
	switch {
	case o.tunnel != nil:
		c.tunnel, c.dialer, c.packets = o.tunnel, o.tunnel, o.tunnel
	case o.pool != nil:
		if c.through, err = o.pool.way(o.spec, o.who, o.seed, c.under(first)); err != nil {
			return err
		}
		c.dialer, c.packets = c.through, c.through.Packets(o.below.Packets())
	case len(o.spec.Proxies) > 0 && len(o.proxies) == 0: // they cannot be asked for who
		c.dialer, c.packets = first, roomed(o.below, o.spec.Proxies)
	case len(o.proxies) > 0:
		if c.chain, err = hop.Chain(c.under(first), o.proxies); err != nil {
			return err
		}
		c.dialer, c.packets = c.chain, c.chain.Packets()
	default:
		c.dialer, c.packets = first, o.below.Packets()
	}
	return err
}

// under is what a chain of the channel stands on.
func (c *Channel) under(first hop.Dialer) hop.Under {
	return hop.Under{First: first, Packets: c.below.Packets(), Lookup: c.below.Lookup, Now: c.spec.now(), Floor: c.spec.Floor}
}

func (s Spec) unfilled(err error) *fault.Error {
	return &fault.Error{
		Code: fault.BadRequest, Message: "channel " + s.Name + ": " + err.Error(), Channel: s.Name,
		Hint: "mend the labels in the client's user name, as in USER-country-de-session-ID, or those of the route",
	}
}

// labels are those that mean nothing unless a way out is told of them.
var labels = []struct {
	place string
	of    func(client.Identity) string
}{
	{"country", func(i client.Identity) string { return i.Country }},
	{"state", func(i client.Identity) string { return i.State }},
	{"city", func(i client.Identity) string { return i.City }},
	{"ttl", func(i client.Identity) string { return i.TTL }},
}

// honours refuses an identity with a label that would be dropped: the exit would not be where the client asked for it.
func (c *Channel) honours(id client.Identity) error {
	for _, l := range labels {
		if l.of(id) != "" && !c.tells(l.place) {
			return &fault.Error{
				Code: fault.BadRequest, Message: fmt.Sprintf("channel %s has no exit that can be asked for a %s", c.spec.Name, l.place), Channel: c.spec.Name,
				Hint: "leave -" + l.place + "-… out of the client's user name, or give the channel's proxy a `template`, or {" + l.place + "} in its user or password",
			}
		}
	}
	return nil
}

// tells says whether a proxy of the channel, or of one underneath, is told a label. Under a tunnel none is: all share it, and it
// goes through what is underneath for nobody in particular.
func (c *Channel) tells(place string) bool {
	if c.tunnel != nil {
		return false
	}
	for _, p := range c.spec.Proxies {
		if p.Template.Has(place) {
			return true
		}
	}
	if c.pool != nil && c.pool.known.Load().tells[place] {
		return true
	}
	switch b := c.parts.below.(type) {
	case *Channel:
		return b.tells(place)
	default:
		return false
	}
}

// refusing stands under a channel that works for nobody without a name: nothing leaves, and the fault says why.
type refusing struct {
	why     error
	packets hop.PacketDialer // of what it stands in for; they are asked for their room alone
}

func (r refusing) Dial(context.Context, name.Target) (net.Conn, error)  { return nil, r.why }
func (r refusing) Lookup(context.Context, string) ([]netip.Addr, error) { return nil, r.why }

func (r refusing) Packets() hop.PacketDialer {
	if r.packets == nil {
		return nil
	}
	return refusingPackets{r.why, hop.PacketRoom(r.packets)}
}

// refusingPackets refuse every flow.
type refusingPackets struct {
	why  error
	room int // in octets; 0: not known
}

func (r refusingPackets) DialPacket(context.Context, name.Target) (net.Conn, error) {
	return nil, r.why
}

// PacketRoom is that of the flows which others have.
func (r refusingPackets) PacketRoom() int { return r.room }

// roomed gives the datagrams of a channel whose proxies nobody goes through: refused, with the room that the proxies would leave
// them; nil where a proxy carries none.
func roomed(below Below, proxies []hop.Proxy) hop.PacketDialer {
	under, ok := below.(refusing)
	if _, blocked := hop.Blocker(proxies); !ok || blocked || under.packets == nil && !hop.InStream(proxies) {
		return nil
	}
	refused := refusingPackets{under.why, hop.PacketRoom(under.packets)}
	refused.room = hop.RoomBehind(refused.room, proxies)
	return refused
}

// lookupOf is how names are looked up one channel below; nil on the ground, and over a channel whose exit resolves.
func lookupOf(below Below) func(ctx context.Context, host string) ([]netip.Addr, error) {
	if _, isGround := below.(ground); isGround {
		return nil
	}
	switch c := below.(type) {
	case *Channel:
		if c.resolver == nil {
			return nil
		}
	case Part:
		if c.of.resolver == nil {
			return nil
		}
	}
	return below.Lookup
}
