package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"watertight/channel"
	"watertight/client"
	"watertight/config"
	"watertight/event"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
	"watertight/route"
	"watertight/upstream"
)

// Explain says what would become of a request for a target, and who would see what of it. It opens the channels of the
// configuration as the daemon does, over a ground that leads nowhere, and runs none of them: nothing is looked up, and
// nothing is sent. plain says that the request itself leaves in clear text, as for an http:// URL. The error is for a
// configuration that cannot be opened.
func Explain(c *config.Config, target name.Target, plain bool) (*Explanation, error) {
	return ExplainFor(c, target, plain, client.Identity{})
}

// ExplainFor is [Explain] for a client with a name, as far as the doors take it for one: no password is asked for.
func ExplainFor(c *config.Config, target name.Target, plain bool, id client.Identity) (*Explanation, error) {
	g, err := buildNowhere(c)
	if err != nil {
		return nil, err
	}
	defer g.discard(nil)
	r := route.Request{Door: event.DoorCONNECT, Target: target, Identity: id}
	e := newExplanation(target)
	if plain {
		e.Scheme, r.Door, r.PlainHTTP = "http", event.DoorHTTP, true
	}
	return e.of(g, target, g.table.Explain(r)), nil
}

// buildNowhere opens the channels of a configuration over a ground that leads nowhere.
func buildNowhere(c *config.Config) (*generation, error) {
	return build(c, shared{ground: nowhere{}, sink: event.Discard{}, own: ownAddresses(c)}, nil)
}

func newExplanation(target name.Target) *Explanation {
	return &Explanation{
		Target: target.String(), Scheme: "https", Verdict: "carried",
		Over: []string{}, Hops: []string{}, Path: []HopTaken{}, HopNames: []HopName{}, Sees: []Sight{}, Notes: []string{},
		Name: NameAsked{By: byNobody, Resolvers: []ResolverAsked{}},
	}
}

// of completes an explanation by what the rules and the policy say.
func (e *Explanation) of(g *generation, target name.Target, said route.Explained) *Explanation {
	c := g.config
	e.Route = routeTaken(c, said)
	if said.Channel != nil {
		e.Channel = said.Channel.Name()
	}
	way := g.wayOf(said.Channel)
	e.identify(said)
	e.describe(way)
	if said.Refusal != nil {
		e.Verdict, e.Refusal = "refused", answerError(said.Refusal)
		if host, named := target.Host().Name(); named && said.Channel != nil {
			if _, _, local := said.Channel.Local(host); local {
				e.Name.By = byHere
			}
		}
		return e
	}
	e.ask(way, target.Host())
	e.look(way, target)
	e.follow(way, target, said)
	e.note(c.Policy, way, target.Host())
	if c.Guard != nil {
		e.Notes = append(e.Notes, "what is sent has the mark of the host's guard: where that is on (`watertight guard status`), programs that go around the proxy are refused")
	}
	return e
}

// nowhere is a ground from which nothing can be reached.
type nowhere struct{}

func (nowhere) DialAddr(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, fault.New(fault.Internal, "what is only explained is never dialled", nil)
}

// DialPacketAddr is there so that a resolver which travels in datagrams can be explained too.
func (n nowhere) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return n.DialAddr(ctx, to)
}

// ownAddresses are the program's own listeners as far as the configuration says them.
func ownAddresses(c *config.Config) (own []netip.AddrPort) {
	var all []config.Listener
	for _, l := range c.Listen.Admin {
		all = append(all, l.Listener)
	}
	for _, l := range c.Listen.Proxy {
		all = append(all, l.Listener)
	}
	for _, l := range c.Listen.Gateway {
		all = append(all, l.Listener)
	}
	for _, l := range c.Listen.DNS {
		all = append(all, l.Listener)
	}
	for _, l := range c.Listen.Transparent {
		all = append(all, l.Listener)
	}
	if c.ACME.HTTP.IsValid() {
		all = append(all, config.Listener{Address: c.ACME.HTTP})
	}
	for _, l := range all {
		if l.Address.Port() != 0 {
			own = append(own, l.Address)
		}
	}
	return own
}

func routeTaken(c *config.Config, said route.Explained) RouteTaken {
	if said.Rule < 0 {
		return RouteTaken{}
	}
	t := RouteTaken{Rule: said.Rule + 1, Pattern: said.Pattern, Line: c.Routes[said.Rule].Line}
	if t.Line > 0 {
		t.File = c.File
	}
	return t
}

// wayOf gives the running channels from c down to the ground; nothing for no channel.
func (g *generation) wayOf(c *channel.Channel) (way []*running) {
	for _, r := range g.channels {
		if r.Channel == c {
			for ; r != nil; r = r.over {
				way = append(way, r)
			}
			return way
		}
	}
	return nil
}

// describe tells the channel's way out, whether or not it would be taken.
func (e *Explanation) describe(way []*running) {
	for i, r := range way {
		if i > 0 {
			e.Over = append(e.Over, r.Name())
		}
	}
	for _, l := range legs(way) {
		e.Hops = append(e.Hops, l.text())
		if l.pool != nil {
			e.HopNames = append(e.HopNames, membersLookedUp(l)...)
			continue
		}
		kind := "proxy"
		if l.tunnel != nil {
			kind = "endpoint"
		}
		for _, host := range l.names() {
			e.HopNames = append(e.HopNames, lookedUp(kind, host, l.below))
		}
	}
}

// membersLookedUp tells of the members of a pool that are known by their names: the one that is taken is looked up.
func membersLookedUp(l leg) (names []HopName) {
	for _, host := range l.names() {
		names = append(names, lookedUp("proxy", host, l.below))
	}
	return names
}

// lookedUp tells of a name that a channel looks up.
func lookedUp(kind, host string, in *running) HopName {
	h := HopName{Name: host, Kind: kind, Channel: in.Name(), Resolvers: []string{}}
	for _, u := range in.Spec().Resolver.Upstreams {
		h.Resolvers = append(h.Resolvers, u.Text)
	}
	return h
}

// findResolvers tells of the resolvers that are asked and known by their names: those are looked up one channel below.
func (e *Explanation) findResolvers(way []*running) {
	for i, r := range way {
		if !e.asks(r, i == 0) {
			continue
		}
		for _, u := range r.Spec().Resolver.Upstreams {
			if host, named := u.Named.Host().Name(); named {
				e.HopNames = append(e.HopNames, lookedUp("resolver", host, r.over))
			}
		}
	}
}

// ask tells how the addresses of the target are found.
func (e *Explanation) ask(way []*running, host name.Host) {
	spec := way[0].Spec()
	text, named := host.Name()
	_, _, local := way[0].Local(text)
	switch {
	case !named:
	case spec.ResolveAtExit:
		e.Name.By = byExit
	case local:
		e.Name.By = byHere
	default:
		e.Name.By = byResolver
		asked := spec.Resolver
		asked.Upstreams = way[0].Upstreams()
		e.Name.fill(asked, host)
	}
	e.findResolvers(way)
}

// fill tells which resolvers see the name, and what is done with their answers.
func (n *NameAsked) fill(o resolve.Options, host name.Host) {
	n.Strategy, n.Sees, n.MaySee = o.Strategy.String(), o.Strategy.Asked(), len(o.Upstreams)
	n.Stale = int(o.Stale.Seconds())
	if n.DNSSEC = string(o.DNSSEC.Mode); n.DNSSEC == "" {
		n.DNSSEC = string(resolve.Off)
	}
	for _, anchor := range o.DNSSEC.NegativeAnchors {
		if host.Under(anchor) {
			n.Negative = anchor
		}
	}
	for i, u := range o.Upstreams {
		n.Resolvers = append(n.Resolvers, asked(u, when(o.Strategy, i)))
	}
}

// when says when the resolver at a place of the list sees a name.
func when(s resolve.Strategy, i int) string {
	switch {
	case s.Random:
		return seesShare
	case i < s.Asked():
		return seesAlways
	}
	return seesSpare
}

func asked(u upstream.Upstream, sees string) ResolverAsked {
	a := ResolverAsked{Upstream: u.Text, Transport: u.Kind.Name(), Host: u.Host, Relay: u.Relay, Addresses: []string{}, SeesName: sees}
	for _, at := range u.Addrs {
		a.Addresses = append(a.Addresses, at.String())
	}
	return a
}

// note tells what the picture depends on.
func (e *Explanation) note(p config.Policy, way []*running, host name.Host) {
	note := func(s string) { e.Notes = append(e.Notes, s) }
	text, named := host.Name()
	if slices.ContainsFunc(e.Sees, func(s Sight) bool { return slices.Contains(s.TargetName, inSNI) }) {
		if e.Gateway == nil {
			note("the server name (SNI) is part of the client's TLS: it is hidden only if the client uses ECH")
		} else {
			note("the server name (SNI) is part of the gateway's TLS: it is hidden where the origin's own record asks for ECH")
		}
	}
	switch e.Name.By {
	case byResolver:
		note("an answer that is in the channel's cache is not asked for again")
		for _, u := range way[0].Spec().Resolver.Upstreams {
			if u.Kind.Tunnel() {
				note("names go to " + u.Text + " in clear text inside the tunnel (`dns_over_tunnel`): whoever runs its other end sees them, and can change the answers")
			}
		}
		if !p.PrivateTargets.Allow {
			note("every address that is found has to pass `policy.private_targets` before it is dialled")
		}
		for _, suffix := range way[0].Spec().Resolver.Forward {
			if host.Under(suffix) {
				note("names under " + suffix + " are for special use; they are asked of the resolver because `forward` says so")
			}
		}
	case byExit:
		note("the last proxy resolves " + text + " as it likes, and the address that it finds cannot be checked here")
	}
	e.noteWays(way)
	if named {
		return
	}
	switch p.ClientResolved {
	case route.Refuse:
		note("the address is refused (POLICY_CLIENT_RESOLVED) unless this channel's resolver gave it to a client before")
	case route.Report:
		note("the address is reported unless this channel's resolver gave it to a client before: the client may have resolved it elsewhere")
	}
	if e.Scheme == "https" {
		note("a client that resolved the address by itself sends the name in its TLS (SNI), where those read it who see the content pass")
	}
}

// noteWays tells what pools and templates on the way depend on.
func (e *Explanation) noteWays(way []*running) {
	for _, r := range way {
		if pool, ok := r.Pool(); ok {
			text := "channel " + r.Name() + " takes one member of its pool for each connection; where all fail, it refuses and takes no other way"
			if pool.By == hop.ByTarget {
				text += "; its resolver may be asked through another member than the one that carries the request"
			}
			e.Notes = append(e.Notes, text)
		}
		if slices.ContainsFunc(r.Spec().Proxies, func(p hop.Proxy) bool { return !p.Template.IsZero() }) {
			e.Notes = append(e.Notes, "the user and password that a proxy of channel "+r.Name()+" gets depend on who asks: its template is filled in with the client's labels")
		}
	}
}
