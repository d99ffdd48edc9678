package route

import (
	"context"
	"net"

	"watertight/channel"
	"watertight/dnswire"
	"watertight/fault"
)

// DialIn is [Table.Dial] for a door whose own configuration names the channel: the rules are not asked, and the policy
// holds. A nil channel leaves the choice to the rules.
func (t *Table) DialIn(ctx context.Context, c *channel.Channel, r Request) (net.Conn, error) {
	return t.dial(ctx, r, t.decided(c, r))
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
	return t.explain(Explained{Rule: -1, Channel: c}, r)
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
