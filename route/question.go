package route

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// Exchange answers a question of a client that resolves by itself, in the channel that a connection to the name would
// take. An answer with an address that the policy refuses is refused whole (rebinding); the addresses of any other are
// remembered as given out. It reports the request. The error is a [*fault.Error].
func (t *Table) Exchange(ctx context.Context, client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	started := time.Now()
	r, d := t.decideQuestion(client, q)
	var a *dnswire.Answer
	err := d.refusal
	if err == nil {
		a, err = d.part.ExchangeGiven(ctx, q, t.check(r.Target))
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return a, nil
}

// Begin is Exchange for one who does not wait: then is called once with the outcome, by the time given and perhaps before
// Begin returns, in a goroutine that must not wait for anything. It says false where it did nothing and Exchange is to be asked.
func (t *Table) Begin(until time.Time, client netip.AddrPort, q dnswire.Question, then func(*dnswire.Answer, error)) bool {
	started := time.Now()
	r, d := t.decideQuestion(client, q)
	return d.refusal == nil && d.part.BeginGiven(until, q, t.check(r.Target), func(a *dnswire.Answer, err error) {
		if err = t.report(r, d, started, err); err != nil {
			a = nil
		}
		then(a, err)
	})
}

// Cached is Exchange for an answer that is known already. It never waits, and says false where Exchange is to be asked.
func (t *Table) Cached(client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, bool) {
	started := time.Now()
	r, d := t.decideQuestion(client, q)
	if d.refusal != nil {
		return nil, false
	}
	a, ok := d.part.CachedGiven(q, t.check(r.Target))
	if ok {
		_ = t.report(r, d, started, nil) // there is no error to complete
	}
	return a, ok
}

// decideQuestion is what the rules say of a question. Its target is the host that it is about, if any.
func (t *Table) decideQuestion(client netip.AddrPort, q dnswire.Question) (Request, decision) {
	r := Request{Door: event.DoorDNS, Client: client}
	var d decision
	var rule Rule
	if subject, named := subjectOf(q.Name); !named {
		rule, d.refusal = t.everything()
	} else if r.Target, d.refusal = name.New(subject, 1); d.refusal == nil { // a question has no port, and no policy is about this one
		rule, d.refusal = t.rule(subject, "")
	}
	if d.channel = rule.Channel; d.channel == nil {
		return r, d
	}
	id, err := rule.Labels.of(r.Identity, false)
	if err != nil {
		d.refusal = err
		return r, d
	}
	d.part = d.channel.For(id, client.Addr())
	d.refusal = t.shut(d.channel, r)
	return r, d
}

// subjectOf gives the host that a question is about: without the labels that name a service or an attribute of it
// (RFC 8552), and for the name of an address, the address. It says false where it is about none, as for the root.
func subjectOf(qname string) (name.Host, bool) {
	if p, ok := dnswire.ParseReverse(qname); ok && p.IsSingleIP() {
		h, err := name.FromAddr(p.Addr())
		return h, err == nil
	}
	for strings.HasPrefix(qname, "_") {
		_, qname, _ = strings.Cut(qname, ".")
	}
	h, err := name.ParseHost(qname)
	if err != nil {
		return name.Host{}, false
	}
	if _, isAddr := h.Addr(); isAddr { // four labels that look like an address are a name in a question, and of nobody
		return name.Host{}, false
	}
	return h, true
}

// everything gives the rule of what has no host: the first for everything that is for a client without a name. On an error it
// is the zero Rule.
func (t *Table) everything() (Rule, error) {
	for i := range t.rules {
		if !t.rules[i].isFor("") {
			continue
		}
		for _, p := range t.rules[i].To {
			switch {
			case p.String() != "*":
			case t.rules[i].Refuse:
				return Rule{}, fault.New(fault.PolicyRoute, "the route for everything refuses it", nil)
			default:
				return t.rules[i], nil
			}
		}
	}
	return Rule{}, fault.New(fault.PolicyRoute, "no route leads to everything, and the question is about no host", nil)
}
