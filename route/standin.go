package route

import (
	"context"
	"net/netip"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// StandIn answers a question for the addresses of a name, from a client that is to connect to an address that stands for the
// name: made gives it, and no upstream is asked. A name that the rules refuse is refused here already. What is known without
// asking comes before what is made: the answer for a special-use name, and one of the channel's cache that says that the name
// does not exist, or has no address of either family. It reports the request. The error is a [*fault.Error].
func (t *Table) StandIn(client netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	started := time.Now()
	r := Request{Door: event.DoorDNS, Client: client}
	d, host := t.decideStandIn(&r, q)
	var a *dnswire.Answer
	err := d.refusal
	if err == nil {
		a, err = standIn(d, q, host, made)
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return a, nil
}

// decideStandIn is what the rules say of the host that a connection would be made to.
func (t *Table) decideStandIn(r *Request, q dnswire.Question) (d decision, host name.Host) {
	host, err := name.ParseHost(q.Name)
	if _, isAddr := host.Addr(); err != nil || isAddr {
		d.refusal = fault.New(fault.DNSServFail, "no connection can be made to a host of that name", err)
		return d, host
	}
	if r.Target, err = name.New(host, 1); err != nil { // a question has no port, and no policy is about this one
		d.refusal = err
		return d, host
	}
	rule, err := t.rule(host, "")
	if d.channel = rule.Channel; err != nil {
		d.refusal = err
		return d, host
	}
	id, err := rule.Labels.of(r.Identity, false)
	if err != nil {
		d.refusal = err
		return d, host
	}
	d.part = d.channel.For(id, r.Client.Addr())
	d.refusal = t.shut(d.channel, *r)
	return d, host
}

func standIn(d decision, q dnswire.Question, host name.Host, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	if d.channel.IsLocal(q) {
		return d.part.Exchange(context.Background(), q) // it waits for nobody
	}
	if a := absent(d, q); a != nil {
		return a, nil
	}
	return made(host)
}

// absent gives the answer that a name does not exist, or has no addresses, where the channel's resolver has found that out.
func absent(d decision, q dnswire.Question) *dnswire.Answer {
	other := dnswire.Question{Name: q.Name, Type: dnswire.A + dnswire.AAAA - q.Type}
	asked, ok := d.part.Peek(q)
	if ok && asked.RCode == dnswire.NXDomain {
		return asked
	}
	beside, known := d.part.Peek(other)
	if ok && known && asked.Negative() && beside.Negative() {
		return asked
	}
	return nil
}

// ExchangeBare is [Table.Exchange] for a client that is to get no address from an answer, but those that stand for names. A
// question for addresses is not for this: see [Table.StandIn].
func (t *Table) ExchangeBare(ctx context.Context, client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	started := time.Now()
	r, d := t.decideQuestion(client, q)
	var a *dnswire.Answer
	err := d.refusal
	switch {
	case err != nil:
	case q.Type == dnswire.A || q.Type == dnswire.AAAA:
		err = fault.New(fault.Internal, "there is a question for addresses where none are given out", nil)
	default:
		a, err = d.part.Exchange(ctx, q)
	}
	if err == nil {
		if a, err = a.WithoutHints(); err != nil {
			err = fault.New(fault.DNSServFail, "the resolver's answer cannot be read", err)
		}
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return a, nil
}
