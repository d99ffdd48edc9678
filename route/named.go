package route

import (
	"context"
	"net"
	"time"

	"watertight/channel"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/name"
)

// DialIn is [Table.Dial] for a door whose own configuration names the channel: the rules are not asked, and the policy
// holds. A nil channel leaves the choice to the rules.
func (t *Table) DialIn(ctx context.Context, c *channel.Channel, r Request) (net.Conn, error) {
	return t.dial(ctx, r, t.decided(c, r))
}

// DialServiceIn is [Table.DialIn] by way of a server that the target's own records lead to (RFC 9460): at is dialled, in the
// channel of the request's target and for its identity. The rules are asked about the target alone, as they are of a name
// behind a CNAME; the policy, addresses included, about both.
func (t *Table) DialServiceIn(ctx context.Context, c *channel.Channel, r Request, at name.Target) (net.Conn, error) {
	return t.serviceIn(c, r, at, func(d decision) (net.Conn, error) { return d.part.DialChecked(ctx, at, t.check(at)) })
}

// DialServicePacketIn is [Table.DialServiceIn] for a flow of datagrams.
func (t *Table) DialServicePacketIn(ctx context.Context, c *channel.Channel, r Request, at name.Target) (net.Conn, error) {
	return t.serviceIn(c, r, at, func(d decision) (net.Conn, error) {
		return d.part.DialPacketChecked(ctx, at, oneReceiver(t.check(at)))
	})
}

func (t *Table) serviceIn(c *channel.Channel, r Request, at name.Target, dial func(decision) (net.Conn, error)) (net.Conn, error) {
	started := time.Now()
	d := t.decided(c, r)
	err := d.refusal
	switch {
	case err != nil:
	case !at.IsValid():
		err = fault.New(fault.BadRequest, "the server is not valid", nil)
	case at != r.Target:
		err = t.refuse(Request{Door: r.Door, Target: at}, false)
	}
	var conn net.Conn
	if err == nil {
		conn, err = dial(d)
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return conn, nil
}

// CarriesPacketsIn says whether the channel of [Table.DialIn] carries datagrams.
func (t *Table) CarriesPacketsIn(c *channel.Channel, r Request) bool {
	d := t.decided(c, r)
	return d.refusal == nil && d.channel.Packets() != nil
}

// AskIn asks the resolver of the channel that [Table.DialIn] would dial the request's target in, and nobody where the
// policy refuses the target. It gives nil where that channel leaves names to its exit: then nobody can be asked. What is
// reported is the look-up alone. The error is a [*fault.Error] that names channel and target.
func (t *Table) AskIn(ctx context.Context, c *channel.Channel, r Request, q dnswire.Question) (*dnswire.Answer, error) {
	d := t.decided(c, r)
	if d.refusal != nil {
		return nil, t.complete(r, d.channel, d.refusal)
	}
	if d.channel.Spec().ResolveAtExit {
		return nil, nil
	}
	a, err := d.part.Exchange(ctx, q)
	if err != nil {
		return nil, t.complete(r, d.channel, err)
	}
	return a, nil
}

// ExplainIn is [Table.Explain] for a request that takes a channel of [Table.DialIn].
func (t *Table) ExplainIn(c *channel.Channel, r Request) Explained {
	if c == nil {
		return t.Explain(r)
	}
	return t.explain(Explained{Rule: -1, Channel: c, Identity: r.Identity}, r)
}

// decided is what is decided of a request that takes a channel, or that the rules give one where it is nil.
func (t *Table) decided(c *channel.Channel, r Request) decision {
	switch {
	case c == nil:
		return t.decide(r)
	case !r.Target.IsValid():
		return decision{channel: c, refusal: fault.New(fault.BadRequest, "the target is not valid", nil)}
	}
	return t.decideIn(c, Labels{}, r)
}
