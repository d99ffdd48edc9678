// Package route chooses the channel for a target and decides who may go where.
//
// It promises that a rule is decided on what the client wrote and never looks anything up; that what no rule matches
// is refused where rules are written; and that the address which passed the policy is the address that is dialled.
// It never resolves, and has no way to a network but through a channel.
package route

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"watertight/channel"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// Rule sends the targets of its patterns to a channel, or refuses them: one of Channel and Refuse is set.
type Rule struct {
	To []Pattern
	// Users are whom the rule is for; empty: everyone.
	Users   []UserPattern
	Channel *channel.Channel
	Refuse  bool
	// Labels are what the rule asks of the way out.
	Labels Labels
}

// Spec is what a table is made of.
type Spec struct {
	// Rules are tried in order; the first that matches decides. With rules, what none matches is refused.
	Rules []Rule
	// Default takes everything where there are no rules. It is an error beside rules.
	Default *channel.Channel
	Policy  Policy
	Sink    event.Sink
	// Own are the program's own listeners: a request for one of them would go round in a circle.
	Own []netip.AddrPort
	// Closed says why nothing goes out now, or nil. It is asked of every request that the policy allows, and of its names: that
	// of the target, or those for which its address was given out. A nil Closed closes nothing.
	Closed func(names func() []string) error
}

// Table is the routes and the policy of one configuration. It does not change.
type Table struct {
	rules  []Rule
	policy Policy
	sink   event.Sink
	own    map[netip.AddrPort]bool
	closed func(names func() []string) error

	defaulted bool // no rule was written: the one that there is stands for Spec.Default
}

// New checks the spec.
func New(s Spec) (*Table, error) {
	switch {
	case s.Sink == nil:
		return nil, errors.New("route: a table needs an event sink")
	case len(s.Rules) == 0 && s.Default == nil:
		return nil, errors.New("route: neither rules nor a default channel")
	case len(s.Rules) > 0 && s.Default != nil:
		return nil, errors.New("route: a default channel beside rules would never be used")
	}
	rules := s.Rules
	if s.Default != nil {
		rules = []Rule{{To: []Pattern{{text: "*", every: true}}, Channel: s.Default}}
	}
	for _, r := range rules {
		if len(r.To) == 0 || (r.Channel == nil) != r.Refuse {
			return nil, errors.New("route: a rule needs a pattern, and a channel or the word to refuse")
		}
		if r.Refuse && r.Labels != (Labels{}) {
			return nil, errors.New("route: a rule that refuses asks nothing of a way out")
		}
	}
	if err := s.Policy.validate(); err != nil {
		return nil, err
	}
	own := make(map[netip.AddrPort]bool, len(s.Own))
	for _, ap := range s.Own {
		own[ap] = true
	}
	return &Table{rules: rules, policy: s.Policy, sink: s.Sink, own: own, closed: s.Closed, defaulted: s.Default != nil}, nil
}

// Channel gives the channel for a host, where a client has no name. The error is a [*fault.Error]: no rule matches, or one that refuses.
func (t *Table) Channel(h name.Host) (*channel.Channel, error) {
	r, err := t.rule(h, "")
	return r.Channel, err
}

// rule is Channel with all that the rule says; on an error it is the zero Rule.
func (t *Table) rule(h name.Host, user string) (Rule, error) {
	i, p, ok := t.match(h, user)
	switch {
	case !ok:
		return Rule{}, fault.New(fault.PolicyRoute, "no route leads to "+h.String(), nil)
	case t.rules[i].Refuse:
		return Rule{}, &fault.Error{
			Code: fault.PolicyRoute, Message: "the route for " + p.String() + " refuses " + h.String(),
			Hint: "change that entry of `routes` if it should be reached",
		}
	}
	return t.rules[i], nil
}

// match gives the first rule for a host and a user, and the pattern of it that matches.
func (t *Table) match(h name.Host, user string) (rule int, p Pattern, ok bool) {
	for i := range t.rules {
		if !t.rules[i].isFor(user) {
			continue
		}
		for _, p := range t.rules[i].To {
			if p.Match(h) {
				return i, p, true
			}
		}
	}
	return 0, Pattern{}, false
}

// Dial connects to the request's target through the channel that the rules give it, if the policy allows. It reports
// the request. The error is a [*fault.Error] that names channel and target.
func (t *Table) Dial(ctx context.Context, r Request) (net.Conn, error) {
	return t.dial(ctx, r, t.decide(r))
}

// dial is Dial for what was decided.
func (t *Table) dial(ctx context.Context, r Request, d decision) (net.Conn, error) {
	started := time.Now()
	var conn net.Conn
	err := d.refusal
	if err == nil {
		conn, err = d.part.DialChecked(ctx, r.Target, t.check(r.Target))
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return conn, nil
}

// DialPacket opens a flow of datagrams to the request's target through the channel that the rules give it, if the policy
// allows: what is refused to a connection is refused to datagrams. It reports the request, once for a flow. The error is
// a [*fault.Error] that names channel and target.
func (t *Table) DialPacket(ctx context.Context, r Request) (net.Conn, error) {
	started := time.Now()
	d := t.decide(r)
	var flow net.Conn
	err := d.refusal
	if err == nil {
		flow, err = d.part.DialPacketChecked(ctx, r.Target, oneReceiver(t.check(r.Target)))
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return flow, nil
}

// CarriesPackets says whether any channel that a request can take carries datagrams.
func (t *Table) CarriesPackets() bool {
	return slices.ContainsFunc(t.rules, func(r Rule) bool { return !r.Refuse && r.Channel.Packets() != nil })
}

// Resolve gives the addresses of the request's target, for a client that asks for no connection. Each address is
// remembered as given out. It reports the request.
func (t *Table) Resolve(ctx context.Context, r Request) ([]netip.Addr, error) {
	started := time.Now()
	d := t.decide(r)
	var addrs []netip.Addr
	err := d.refusal
	if err == nil {
		if a, ok := r.Target.Host().Addr(); ok {
			addrs, err = []netip.Addr{a}, t.check(r.Target)(a)
		} else {
			host, _ := r.Target.Host().Name()
			addrs, err = d.part.LookupGiven(ctx, host, t.check(r.Target))
		}
	}
	if err = t.report(r, d, started, err); err != nil {
		return nil, err
	}
	return addrs, nil
}

// decision is what the rules and the policy say of a request before anything is sent.
type decision struct {
	channel        *channel.Channel
	part           channel.Part // of channel, for who asks
	clientResolved bool
	refusal        error
}

func (t *Table) decide(r Request) decision {
	if !r.Target.IsValid() {
		return decision{refusal: fault.New(fault.BadRequest, "the target is not valid", nil)}
	}
	rule, err := t.rule(r.Target.Host(), r.Identity.User)
	if err != nil {
		return decision{refusal: err}
	}
	return t.decideIn(rule.Channel, rule.Labels, r)
}

// decideIn is what the policy says of a request that takes a channel, whose identity has labels of the route beside its own.
func (t *Table) decideIn(c *channel.Channel, labels Labels, r Request) decision {
	d := decision{channel: c}
	id, err := labels.of(r.Identity, r.Door != event.DoorResolve)
	if err != nil {
		d.refusal = err
		return d
	}
	d.part = c.For(id, r.Client.Addr())
	addr, isAddr := r.Target.Host().Addr()
	switch {
	case r.Original.IsValid():
		d.clientResolved = !wasGiven(asked(c, labels, r.Identity, r.Client.Addr()), r)
	case isAddr && r.Door != event.DoorResolve && r.Door != event.DoorGateway: // the gateway's addresses are the configuration's
		d.clientResolved = !d.part.Gave(addr)
	}
	if d.refusal = t.refuse(r, d.clientResolved); d.refusal == nil {
		d.refusal = t.shut(c, r)
	}
	return d
}

// report tells the sink, and completes the fault for the client. A fault may be shared by many waiters: it is
// copied, never changed.
func (t *Table) report(r Request, d decision, started time.Time, err error) error {
	e := event.Request{
		Door: r.Door, Client: r.Client, Identity: r.Identity, Target: r.Target,
		Took: time.Since(started), ClientResolved: d.clientResolved,
	}
	if d.channel != nil {
		e.Channel = d.channel.Name()
	}
	if err == nil {
		t.sink.Request(&e)
		return nil
	}
	f := t.complete(r, d.channel, err)
	e.Code = f.Code
	t.sink.Request(&e)
	return f
}
