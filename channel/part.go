package channel

import (
	"context"
	"net"
	"net/netip"
	"time"

	"watertight/client"
	"watertight/dnswire"
	"watertight/hop"
	"watertight/name"
)

// who is for whom a part of a channel works. The zero who is nobody in particular, for whom the channel itself does.
type who struct {
	client.Identity
	addr netip.Addr // of the client, in a channel where it decides about the way out; else the zero Addr
}

func (w who) isZero() bool { return w == who{} }

// Part is a channel as it works for one identity: a partition of it, with a resolver, a cache and connections that no other
// identity shares. It is made when it is first used. Its methods may be called from many goroutines.
type Part struct {
	of    *Channel
	who   who
	from  netip.Addr // where it asks from
	below bool       // it stands under a part of the same identity, which has answered for its labels
}

// For gives the part of the channel for an identity that asks from an address. The address counts only where the way out
// depends on it. For the zero Identity it is the channel itself.
func (c *Channel) For(id client.Identity, from netip.Addr) Part {
	w := who{Identity: id}
	if c.byClient {
		w.addr = from.Unmap().WithZone("")
	}
	return Part{of: c, who: w, from: from.Unmap().WithZone("")}
}

// partOf is what stands below a partition: the partition of the same identity one channel below, and on the ground the
// ground.
func partOf(below Below, w who) Below {
	if c, ok := below.(*Channel); ok {
		p := c.For(w.Identity, w.addr)
		p.below = true
		return p
	}
	return below
}

// with calls f with the partition, which stays as long as f takes. The error is that of f, or a [*fault.Error].
func (p Part) with(f func(c *Channel) error) error {
	if p.who.isZero() {
		return f(p.of)
	}
	if !p.below {
		if err := p.of.honours(p.who.Identity); err != nil {
			return err
		}
	}
	one, err := p.of.parts.hold(p.who)
	if err != nil {
		return err
	}
	defer p.of.parts.release(one)
	one.repin()
	return f(one.Channel)
}

// Check says why the channel, or one underneath, would refuse the identity whatever it asks for, or nil. Nothing is sent. The error
// is a [*fault.Error].
func (p Part) Check() error {
	c := p.of
	if p.who.isZero() {
		return c.unfit
	}
	if !p.below {
		if err := c.honours(p.who.Identity); err != nil {
			return err
		}
	}
	if c.pool != nil {
		if _, _, err := c.pool.key(p.who); err != nil {
			return c.spec.unfilled(err)
		}
	}
	o := opening{spec: c.spec, who: p.who, seed: c.seed, pool: c.pool}
	if err := o.fill(); err != nil {
		return err
	}
	if under, ok := partOf(c.parts.below, p.who).(Part); ok && c.tunnel == nil {
		return under.Check()
	}
	return nil
}

// DialChecked is [Channel.DialChecked] for the identity.
func (p Part) DialChecked(ctx context.Context, t name.Target, check Check) (conn net.Conn, err error) {
	err = p.with(func(c *Channel) error {
		conn, err = c.DialChecked(ctx, t, check)
		return err
	})
	return conn, err
}

// DialPacketChecked is [Channel.DialPacketChecked] for the identity.
func (p Part) DialPacketChecked(ctx context.Context, t name.Target, check Check) (conn net.Conn, err error) {
	err = p.with(func(c *Channel) error {
		conn, err = c.DialPacketChecked(ctx, t, check)
		return err
	})
	return conn, err
}

// Dial is [Channel.Dial] for the identity.
func (p Part) Dial(ctx context.Context, t name.Target) (conn net.Conn, err error) {
	err = p.with(func(c *Channel) error {
		conn, err = c.Dial(ctx, t)
		return err
	})
	return conn, err
}

// Lookup is [Channel.Lookup] for the identity.
func (p Part) Lookup(ctx context.Context, host string) (addrs []netip.Addr, err error) {
	err = p.with(func(c *Channel) error {
		addrs, err = c.Lookup(ctx, host)
		return err
	})
	return addrs, err
}

// LookupGiven is [Channel.LookupGiven] for the identity.
func (p Part) LookupGiven(ctx context.Context, host string, check Check) (addrs []netip.Addr, err error) {
	err = p.with(func(c *Channel) error {
		addrs, err = c.lookupGiven(ctx, p.from, host, check)
		return err
	})
	return addrs, err
}

// Exchange is [Channel.Exchange] for the identity.
func (p Part) Exchange(ctx context.Context, q dnswire.Question) (a *dnswire.Answer, err error) {
	err = p.with(func(c *Channel) error {
		a, err = c.Exchange(ctx, q)
		return err
	})
	return a, err
}

// ExchangeGiven is [Channel.ExchangeGiven] for the identity.
func (p Part) ExchangeGiven(ctx context.Context, q dnswire.Question, check Check) (a *dnswire.Answer, err error) {
	err = p.with(func(c *Channel) error {
		a, err = c.exchangeGiven(ctx, p.from, q, check)
		return err
	})
	return a, err
}

// Peek is [Channel.Peek] for the identity.
func (p Part) Peek(q dnswire.Question) (*dnswire.Answer, bool) {
	if p.who.isZero() {
		return p.of.Peek(q)
	}
	one := p.of.parts.holdOld(p.who)
	if one == nil {
		return nil, false
	}
	defer p.of.parts.release(one)
	return one.Peek(q)
}

// CachedGiven is [Channel.CachedGiven] for the identity.
func (p Part) CachedGiven(q dnswire.Question, check Check) (a *dnswire.Answer, ok bool) {
	if p.who.isZero() {
		return p.of.cachedGiven(p.from, q, check)
	}
	one := p.of.parts.holdOld(p.who)
	if one == nil {
		return nil, false
	}
	defer p.of.parts.release(one)
	one.repin()
	return one.CachedGiven(q, check)
}

// BeginGiven is [Channel.BeginGiven] for the identity. It says false too where the identity has no partition yet.
func (p Part) BeginGiven(until time.Time, q dnswire.Question, check Check, then func(*dnswire.Answer, error)) bool {
	if p.who.isZero() {
		return p.of.beginGiven(until, p.from, q, check, then)
	}
	one := p.of.parts.holdOld(p.who)
	if one == nil {
		return false
	}
	one.repin()
	begun := one.BeginGiven(until, q, check, func(a *dnswire.Answer, err error) {
		p.of.parts.release(one)
		then(a, err)
	})
	if !begun {
		p.of.parts.release(one)
	}
	return begun
}

// Gave says whether addr was given out of late: to this identity, or to a client without a name, as those of the DNS door
// are.
func (p Part) Gave(addr netip.Addr) bool {
	if p.of.Gave(addr) {
		return true
	}
	if p.who.isZero() {
		return false
	}
	one := p.of.parts.holdOld(p.who)
	if one == nil {
		return false
	}
	defer p.of.parts.release(one)
	return one.Gave(addr)
}

// GivenFor is [Channel.GivenFor] for the identity, after what was given out to clients without a name.
func (p Part) GivenFor(addr netip.Addr) []string {
	names := p.of.GivenFor(addr)
	if p.who.isZero() {
		return names
	}
	one := p.of.parts.holdOld(p.who)
	if one == nil {
		return names
	}
	defer p.of.parts.release(one)
	return append(names, one.GivenFor(addr)...)
}

// Packets is how datagrams leave for the identity, unchecked, to an address; nil where the channel carries none.
func (p Part) Packets() hop.PacketDialer {
	if p.of.packets == nil {
		return nil
	}
	return partPackets{p}
}

type partPackets struct{ part Part }

func (p partPackets) DialPacket(ctx context.Context, t name.Target) (conn net.Conn, err error) {
	err = p.part.with(func(c *Channel) error {
		conn, err = c.packets.DialPacket(ctx, t)
		return err
	})
	return conn, err
}

// PacketRoom is that of the channel: what an identity's datagrams travel in leaves them as much.
func (p partPackets) PacketRoom() int { return hop.PacketRoom(p.part.of.packets) }

var (
	_ Below            = Part{}
	_ Below            = (*Channel)(nil)
	_ hop.PacketDialer = partPackets{}
)
