package hop

import (
	"context"
	"errors"
	"fmt"
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

// Grounded says whether datagrams by p leave from a socket of this host straight to their target.
func Grounded(p PacketDialer) bool {
	_, ok := p.(packetDirect)
	return ok
}

// ErrExitResolves is in the error of a look-up where nobody looks names up: the exit of the channel underneath is handed them.
var ErrExitResolves = errors.New("names are left to the exit")

// PacketRoom is how many octets a datagram to p may have at least; 0 where that is not known. QUIC needs 1200 (RFC 9000,
// section 14).
func PacketRoom(p PacketDialer) int {
	if r, ok := p.(interface{ PacketRoom() int }); ok {
		return r.PacketRoom()
	}
	return 0
}

// Packets is the chain for datagrams; nil where one of its proxies carries none, or what it stands on.
func (c *Chained) Packets() PacketDialer {
	if _, blocked := Blocker(c.proxies()); blocked || c.packets == nil && !InStream(c.proxies()) {
		return nil
	}
	return packetChain{c}
}

// packetChain is a chain whose proxies carry datagrams, over a way out that does.
type packetChain struct{ *Chained }

// DialPacket opens a flow of datagrams to t through the whole chain.
func (c packetChain) DialPacket(ctx context.Context, t name.Target) (net.Conn, error) {
	if !t.IsValid() {
		return nil, fault.New(fault.Internal, "an invalid target reached a chain of proxies", nil)
	}
	return c.packetsThrough(ctx, len(c.links)-1, t)
}

// packetsThrough opens a flow to t through the proxies up to the one with index last.
func (c *Chained) packetsThrough(ctx context.Context, last int, t name.Target) (net.Conn, error) {
	l := c.links[last]
	if l.mux != nil {
		return l.mux.packets(ctx, t, c.reaching(last))
	}
	if l.h3 != nil {
		return l.h3.packets(ctx, c.wayTo(last), t)
	}
	control, at, err := c.find(ctx, last)
	if err != nil {
		return nil, err
	}
	relay, err := l.associate(ctx, control, at)
	if err != nil {
		return nil, err
	}
	flow, err := c.packetsBefore(ctx, last, relay)
	if err != nil {
		control.Close()
		return nil, l.unreached(err, "")
	}
	return newAssociation(l, control, flow, t), nil
}

// datagramsFor lets a proxy that is reached in datagrams have them, or refuses it.
func (c *Chained) datagramsFor(l *link, before []Proxy) error {
	if l.Scheme != SchemeH3 {
		return nil
	}
	room := RoomBehind(PacketRoom(c.packets), before)
	switch {
	case c.packets == nil && !InStream(before):
		return fmt.Errorf("%v travels in datagrams, and what the chain stands on carries connections only", l.Proxy)
	case room < MinRoom:
		return fmt.Errorf("%v travels in datagrams of %d octets, and what is before it leaves room for %d", l.Proxy, MinRoom, room)
	}
	l.h3 = &h3{book: book[*h3Conn]{l: l}, size: uint16(min(room, firstRoom))}
	return nil
}

// wayTo is how the proxy with index i is reached in datagrams.
func (c *Chained) wayTo(i int) way {
	w := way{
		places: func(ctx context.Context) ([]name.Target, error) { return c.places(ctx, i) },
		flow:   func(ctx context.Context, to name.Target) (net.Conn, error) { return c.packetsBefore(ctx, i, to) },
	}
	if i > 0 {
		w.via = ", through " + c.links[i-1].label
	}
	return w
}

// packetsBefore opens a flow to what the proxy with index i is, or has, by what is before it.
func (c *Chained) packetsBefore(ctx context.Context, i int, to name.Target) (net.Conn, error) {
	if i == 0 {
		return c.packets.DialPacket(ctx, to)
	}
	return c.packetsThrough(ctx, i-1, to)
}

// find connects to the proxy with index i, and says where that is: at an address, or at a name where only the exit of the
// channel underneath knows more.
func (c *Chained) find(ctx context.Context, i int) (net.Conn, name.Target, error) {
	l, via := c.links[i], ""
	if i > 0 {
		via = ", through " + c.links[i-1].label
	}
	places, err := c.places(ctx, i)
	if err != nil {
		return nil, name.Target{}, l.unreached(err, "")
	}
	for _, at := range places {
		var conn net.Conn
		if conn, err = c.connectBefore(l.retold(ctx, via), i, at); err == nil {
			return conn, at, nil
		}
		if !aboutTheFarSide(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, name.Target{}, l.unreached(err, via)
}

// places gives where the proxy with index i may be, at least one.
func (c *Chained) places(ctx context.Context, i int) ([]name.Target, error) {
	l := c.links[i]
	if _, isAddr := l.at.AddrPort(); isAddr {
		return []name.Target{l.at}, nil
	}
	if fault.Watched(ctx) {
		fault.Waiting(l.retold(ctx, ""), func() error {
			return fault.New(fault.DNSTimeout, "no address in time", context.DeadlineExceeded)
		})
	}
	var before *link
	if i > 0 {
		before = c.links[i-1]
	}
	found, err := c.addresses(ctx, l, before)
	if i == 0 && errors.Is(err, ErrExitResolves) {
		return []name.Target{l.at}, nil
	}
	return found, err
}

// connectBefore connects to the proxy with index i at an address of it, by what is before it.
func (c *Chained) connectBefore(ctx context.Context, i int, at name.Target) (net.Conn, error) {
	if i > 0 {
		return c.through(ctx, i-1, at)
	}
	if fault.Watched(ctx) {
		fault.Waiting(ctx, func() error {
			return fault.New(fault.ConnectTimeout, "no connection in time", context.DeadlineExceeded)
		})
	}
	return c.first.Dial(ctx, at)
}

// PacketRoom is what the headers leave of a datagram that the networks of today carry.
func (c packetChain) PacketRoom() int { return RoomBehind(PacketRoom(c.packets), c.proxies()) }

func (c *Chained) proxies() []Proxy {
	proxies := make([]Proxy, len(c.links))
	for i, l := range c.links {
		proxies[i] = l.Proxy
	}
	return proxies
}

// RoomBehind is how many octets a datagram may have at least that travels through proxies, where it may have room octets
// before them; 0 is not known.
func RoomBehind(room int, proxies []Proxy) int {
	if room == 0 {
		room = firstRoom
	}
	for _, p := range proxies {
		switch p.Scheme {
		case SchemeH2: // a stream has no packets
			room = firstRoom
		case SchemeH3:
			room -= h3Overhead
		default:
			room -= socksOverhead
		}
	}
	return room
}

const (
	// firstRoom is how many octets a datagram of ours has at most where a proxy carries others in it: there are tunnels, and
	// lines to homes, on which one of 1500 with its headers would be lost.
	firstRoom = 1350
	// socksOverhead is a header with an IPv6 address (RFC 1928, section 7).
	socksOverhead = 4 + 16 + 2
	// h3Overhead is the most that QUIC puts around an HTTP Datagram (RFC 9000, section 17.3; RFC 9221, section 4), its stream,
	// its context, and what quic-go keeps in reserve.
	h3Overhead = 50
	// MinRoom is how many octets a datagram of QUIC needs room for (RFC 9000, section 14).
	MinRoom = 1200
)

var _ PacketDialer = packetChain{}
