package channel

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
)

// DialPacketChecked opens a flow of datagrams to t for a client, as [hop.PacketDialer] has it. The name is resolved
// inside c, or not at all; every address goes through check, and the very address that passed is where the datagrams
// go. Of several addresses it is the first that the way out takes, IPv4 before IPv6: datagrams have no answer that
// would tell which of them is there, and every way out carries IPv4. With `resolve: exit` the last hop gets the name,
// if it takes names in datagrams. The error is a [*fault.Error]: HOP_REFUSED where the channel carries no datagrams.
func (c *Channel) DialPacketChecked(ctx context.Context, t name.Target, check Check) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(c.toward(ctx, t), DialLimit)
	defer cancel()
	if !t.IsValid() {
		return nil, fault.New(fault.BadRequest, "the target is not valid", nil)
	}
	switch {
	case c.packets == nil:
		return nil, c.noPackets()
	case c.unfit != nil:
		return nil, c.unfit
	}
	if ap, ok := t.AddrPort(); ok {
		if err := check(ap.Addr()); err != nil {
			return nil, err
		}
		return c.attemptPacket(ctx, t)
	}
	host, _ := t.Host().Name()
	if c.spec.ResolveAtExit {
		if err := resolve.Local(host); err != nil {
			return nil, err
		}
		return c.attemptPacket(ctx, t)
	}
	fault.Waiting(ctx, c.unresolved)
	if err := c.readyFor(ctx, dnswire.Question{Name: host, Type: dnswire.A}, readyWait); err != nil {
		return nil, err
	}
	found, err := c.resolver.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	allowed, refusal := allow(found, check)
	if len(allowed) == 0 {
		return nil, refusal
	}
	slices.SortStableFunc(allowed, olderFamilyFirst)
	var first error
	for _, a := range allowed[:min(len(allowed), maxAttempts)] {
		to, err := name.FromAddrPort(netip.AddrPortFrom(a, t.Port()))
		if err != nil {
			continue // an address that no socket takes
		}
		flow, err := c.attemptPacket(ctx, to)
		if err == nil {
			return flow, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		first = fault.New(fault.DNSServFail, host+" has no address that can be used", nil)
	}
	return nil, first
}

func olderFamilyFirst(a, b netip.Addr) int { return a.BitLen() - b.BitLen() }

// attemptPacket opens a flow to one address, or to a name where the last hop resolves.
func (c *Channel) attemptPacket(ctx context.Context, t name.Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	flow, err := c.packets.DialPacket(ctx, t)
	if err != nil {
		return nil, dialFault(ctx, t.String(), err)
	}
	return flow, nil
}

// noPackets says which part of the way out carries connections alone.
func (c *Channel) noPackets() error {
	f := &fault.Error{
		Code: fault.HopRefused, Channel: c.spec.Name,
		Message: "channel " + c.spec.Name + " carries no datagrams: what it stands on carries connections only",
		Hint:    "send datagrams to a channel that carries them, or let the client use TCP: it is never sent another way",
	}
	if p, blocked := hop.Blocker(c.spec.ways()); blocked {
		if at, err := name.New(p.Host, p.Port); err == nil {
			f.Message = "channel " + c.spec.Name + " carries no datagrams: its " + c.spec.kind() + " " + p.Scheme + "://" + at.String() + " carries connections only"
		}
	}
	return f
}

// kind is what people call one of the channel's proxies.
func (s Spec) kind() string {
	if s.Pool != nil {
		return "pool's member"
	}
	return "hop"
}
