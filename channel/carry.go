package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
	"watertight/transport"
	"watertight/upstream"
)

// Carrier is a column of the capability table: what one kind of hop carries.
type Carrier struct {
	Hop       string // direct, or the scheme of a proxy
	Datagrams bool   // beside connections, which all of them carry
}

// carriers is the capability table: every kind of hop there is. A kind of upstream is carried where it travels in
// connections, or where the hop carries datagrams; a chain carries what all of its hops do, from the last one that takes
// datagrams in a connection, a pool what all of its members do, and so does a channel over another.
var carriers = []Carrier{
	{Hop: "direct", Datagrams: true},
	through(hop.SchemeSOCKS5),
	through(hop.SchemeSOCKS5TLS),
	through(hop.SchemeSOCKS4a),
	through(hop.SchemeHTTP),
	through(hop.SchemeHTTPS),
	through(hop.SchemeH2),
	through(hop.SchemeH3),
	{Hop: HopWireGuard, Datagrams: true},
}

func through(scheme string) Carrier {
	return Carrier{Hop: scheme, Datagrams: hop.Proxy{Scheme: scheme}.CarriesDatagrams()}
}

// Carriers gives the capability table.
func Carriers() []Carrier { return append([]Carrier(nil), carriers...) }

// Carries says whether the hop carries a kind of upstream.
func (c Carrier) Carries(k upstream.Kind) bool { return c.Datagrams || !k.Packets() }

// Carry gives an error that names both where one of the proxies of a way out cannot carry a kind of upstream, or where all
// of them leave no room for it.
func Carry(k upstream.Kind, proxies []hop.Proxy) error {
	if p, blocked := hop.Blocker(proxies); blocked && k.Packets() {
		return fmt.Errorf("%s travels in datagrams, and the hop %v carries connections only", k.Name(), p)
	}
	if room := hop.RoomBehind(0, proxies); k.Packets() && len(proxies) > 0 && room < hop.MinRoom {
		return fmt.Errorf("%s travels in datagrams of %d octets, and a chain of %d hops leaves room for fewer", k.Name(), hop.MinRoom, len(proxies))
	}
	return nil
}

// CapabilityTable gives the table for people: a line for each kind of upstream, a column for each kind of hop.
func CapabilityTable() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "upstream")
	for _, c := range carriers {
		fmt.Fprint(w, "\t"+c.Hop)
	}
	for _, k := range upstream.Kinds() {
		fmt.Fprint(w, "\n"+k.Form())
		for _, c := range carriers {
			fmt.Fprint(w, "\t"+map[bool]string{true: "yes", false: "no"}[c.Carries(k)])
		}
	}
	fmt.Fprintln(w)
	w.Flush() // a strings.Builder takes everything
	return b.String()
}

// ways are the proxies of a spec that what the channel carries has to pass: of a pool the one that carries the least.
func (s Spec) ways() []hop.Proxy {
	if s.Pool != nil {
		return []hop.Proxy{hop.Least(s.Pool.Members)}
	}
	return s.Proxies
}

// carried refuses upstreams that the channel's way out cannot carry: they are never reached by another.
func (c *Channel) carried() error {
	var errs []error
	for _, u := range c.spec.Resolver.Upstreams {
		err := Carry(u.Kind, c.spec.ways())
		if err == nil {
			err = CarryPlain(u, c.spec.WireGuard)
		}
		if err == nil && u.Kind.Packets() && c.packets == nil {
			err = fmt.Errorf("%s travels in datagrams, and what the channel stands on carries connections only", u.Kind.Name())
		}
		if room := hop.PacketRoom(c.packets); err == nil && u.Kind.Packets() && room != 0 && room < hop.MinRoom {
			err = fmt.Errorf("%s travels in datagrams of %d octets, and all the hops together leave room for fewer", u.Kind.Name(), hop.MinRoom)
		}
		if _, ok := Dialled(u, c.ipv6); err == nil && !ok {
			err = errors.New("it has IPv6 addresses only, and the way out carries none")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("the resolver %s cannot be reached: %w", u.Text, err))
		}
	}
	return errors.Join(errs...)
}

// reachable leaves out the addresses of upstreams that cannot be dialled; [Channel.carried] sees that some are left.
func (c *Channel) reachable(o resolve.Options) resolve.Options {
	o.Upstreams = slices.Clone(o.Upstreams)
	for i, u := range o.Upstreams {
		o.Upstreams[i], _ = Dialled(u, c.ipv6)
	}
	return o
}

// Packets is how datagrams leave the channel, unchecked, to an address; nil where it carries none.
func (c *Channel) Packets() hop.PacketDialer { return c.packets }

// Dial connects to an address.
type Dial = transport.Dial

// way is the way out of the channel's own resolver: to addresses, through the channel's own hops.
func (c *Channel) way() transport.Way {
	w := transport.Way{Dial: c.dialAddr, Lookup: c.lookup}
	if c.packets != nil {
		w.DialPacket, w.PacketRoom = c.dialPacketAddr, hop.PacketRoom(c.packets)
	}
	c.plainWay(&w)
	if between := c.spec.ToResolver; between != nil {
		for _, dial := range []*transport.Dial{&w.Dial, &w.DialPacket, &w.Plain, &w.PlainPacket} {
			if *dial != nil {
				*dial = between(*dial)
			}
		}
	}
	return w
}

func (c *Channel) dialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	t, err := name.FromAddrPort(to)
	if err != nil {
		return nil, err
	}
	return c.packets.DialPacket(ctx, t)
}
