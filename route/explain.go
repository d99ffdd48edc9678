package route

import (
	"watertight/channel"
	"watertight/client"
	"watertight/fault"
)

// Explained is what the rules and the policy say of a request before anything is looked up or sent.
type Explained struct {
	Rule    int              // that decided, from 0 in the order of [Spec.Rules]; -1 where none matches, or none is written
	Pattern string           // of that rule, as it was written; empty where Rule is -1
	Channel *channel.Channel // nil where the rules lead to none
	Refusal *fault.Error     // why it would be refused; nil where it would be tried
	// Identity is the client's with the labels of the rule. PerRequest says that each connection has a session of its own, which
	// is not in it.
	Identity   client.Identity
	PerRequest bool
}

// Explain says what would become of a request, and sends nothing. An address is taken for one that our resolver gave out.
// What a special-use name means is known without asking anybody, so that its addresses have to pass the policy here; those of
// other names do when they are dialled.
func (t *Table) Explain(r Request) Explained {
	e := Explained{Rule: -1, Identity: r.Identity}
	if !r.Target.IsValid() {
		e.Refusal = fault.New(fault.BadRequest, "the target is not valid", nil)
		return e
	}
	if i, p, ok := t.match(r.Target.Host(), r.Identity.User); ok && !t.defaulted {
		e.Rule, e.Pattern = i, p.String()
	}
	chosen, err := t.rule(r.Target.Host(), r.Identity.User)
	c := chosen.Channel
	if err != nil {
		e.Refusal = t.complete(r, c, err)
		return e
	}
	e.Channel, e.PerRequest = c, chosen.Labels.PerRequest
	if e.Identity, err = chosen.Labels.of(r.Identity, false); err != nil {
		e.Refusal = t.complete(r, c, err)
		return e
	}
	return t.explain(e, r)
}

// explain completes what is known of a request that takes the channel of e.
func (t *Table) explain(e Explained, r Request) Explained {
	c := e.Channel
	err := t.refuse(r, false)
	if host, named := r.Target.Host().Name(); err == nil && named {
		err = t.refuseLocal(r, c, host)
	}
	if err == nil && !e.Identity.IsZero() {
		err = c.For(e.Identity, r.Client.Addr()).Check()
	}
	if err != nil {
		e.Refusal = t.complete(r, c, err)
	}
	return e
}

// refuseLocal says why a special-use name cannot be reached, or nil: for one that can, and for every ordinary name.
func (t *Table) refuseLocal(r Request, c *channel.Channel, host string) error {
	addrs, err, local := c.Local(host)
	if !local || err != nil {
		return err
	}
	var refusal error
	for _, a := range addrs {
		err := t.check(r.Target)(a)
		if err == nil {
			return nil
		}
		refusal = err
	}
	return refusal
}

// complete gives a fault of the caller's own that names target and channel.
func (t *Table) complete(r Request, c *channel.Channel, err error) *fault.Error {
	f := *fault.Of(err)
	f.Target = r.Target.String()
	if c != nil {
		f.Channel = c.Name()
	}
	return &f
}
