package daemon

import (
	"slices"
	"strings"

	"watertight/hop"
	"watertight/name"
	"watertight/upstream"
	"watertight/wireguard"
)

// you is whose address is that of this host.
const you = "you"

// leg is one upstream proxy on the way, or a tunnel.
type leg struct {
	proxy  hop.Proxy         // unless it is a tunnel
	tunnel *wireguard.Config // nil for a proxy
	of     *running          // the channel that it is a hop of
	below  *running          // the channel underneath, which finds it
	byName bool              // what is before it gets its name, and not an address
	pool   *hop.PoolSpec     // it is one of these; nil for a proxy by itself
}

// legOf is a pool on the way: any of its members may be the one that is taken.
func legOf(r *running, pool hop.PoolSpec) leg {
	l := leg{of: r, below: r.over, pool: &pool}
	l.byName = len(l.names()) > 0 && r.over != nil && r.over.Spec().ResolveAtExit
	return l
}

// proxies are those of which one is taken; nothing for a tunnel.
func (l leg) proxies() []hop.Proxy {
	switch {
	case l.pool != nil:
		return l.pool.Members
	case l.tunnel != nil:
		return nil
	}
	return []hop.Proxy{l.proxy}
}

// place is the leg among those who see something.
func (l leg) place() string {
	switch {
	case l.pool != nil:
		return l.pool.String()
	case l.tunnel != nil:
		return tunnelText(l.tunnel)
	}
	return l.proxy.String()
}

// text is the leg as it is shown, without a password.
func (l leg) text() string {
	if l.pool != nil {
		return l.pool.Shown()
	}
	return l.place()
}

// tunnelText is a tunnel as it is shown: each of its peers may be the one that is meant.
func tunnelText(w *wireguard.Config) string { return "wireguard://" + endpoints(w) }

func endpoints(w *wireguard.Config) string {
	var all []string
	for i := range w.Peers {
		all = append(all, w.Peers[i].Endpoint.String())
	}
	return strings.Join(all, ",")
}

// encrypted says whether those on the way to it are kept from reading what it carries: by each of those that may be taken.
func (l leg) encrypted() bool {
	return !slices.ContainsFunc(l.proxies(), func(p hop.Proxy) bool { return !p.Encrypted() })
}

// shown books what one sees who sees the connection to a proxy over TLS.
func (l leg) shown(s *Sight) {
	seen := 0
	for _, p := range l.proxies() {
		if p.Encrypted() && seen < mostNames {
			seen++
			s.shown(p)
		}
	}
}

// mostNames bounds how many names of a pool's members are told.
const mostNames = 8

// names gives those by which it is known, which have to be looked up: of a pool the first ones.
func (l leg) names() (hosts []string) {
	for _, p := range l.proxies() {
		if host, named := p.Host.Name(); named && len(hosts) < mostNames && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if l.tunnel == nil {
		return hosts
	}
	for _, at := range l.tunnel.Endpoints() {
		hosts = append(hosts, at.Host().String())
	}
	return hosts
}

// at is where the proxy is, or the peers of the tunnel are, as text.
func (l leg) at() string {
	if l.tunnel != nil {
		return endpoints(l.tunnel)
	}
	if l.pool != nil {
		return l.pool.String()
	}
	if t, err := name.New(l.proxy.Host, l.proxy.Port); err == nil {
		return t.String()
	}
	return l.proxy.Host.String()
}

// legs gives the proxies of a way, in the order in which octets get to them.
func legs(way []*running) (all []leg) {
	for i := len(way) - 1; i >= 0; i-- {
		r := way[i]
		if pool, ok := r.Pool(); ok {
			all = append(all, legOf(r, pool))
			continue
		}
		for j, p := range r.Spec().Proxies {
			_, named := p.Host.Name()
			// The first proxy is dialled by the channel underneath, which hands its name on where it resolves none.
			byName := named && j == 0 && r.over != nil && r.over.Spec().ResolveAtExit
			all = append(all, leg{proxy: p, of: r, below: r.over, byName: byName})
		}
		if w := r.Spec().WireGuard; w != nil {
			all = append(all, leg{tunnel: w, of: r, below: r.over})
		}
	}
	return all
}

// flow is one kind of connection that a request takes: through proxies, to an end.
type flow struct {
	legs []leg
	ends []string // whose addresses are at its end

	// Of the flow that carries the request itself:
	target  bool
	atExit  bool     // the last proxy gets the name
	payload []string // how the name shows in what the client sends
	clear   bool     // all that it sends can be read

	// Of a flow that carries questions in clear text, inside a tunnel:
	asked []string // the names of hops that are asked for
	asks  bool     // and the target's
}

// read books what one sees who has the octets before them that go to the proxy with index i, or to the end.
func (f flow) read(i int, s *Sight) {
	named := false // the end is known by its name, and its address not yet
	for ; i < len(f.legs); i++ {
		s.goesTo(f.legs[i].at())
		f.legs[i].shown(s)
		if f.legs[i].encrypted() {
			return
		}
		f.told(i, s)
		named = f.atExit
	}
	for _, end := range f.ends {
		if !named {
			s.goesTo(end)
		}
	}
	for _, host := range f.asked {
		s.hopName(host)
	}
	if f.asks {
		s.learns(inQuestion)
		s.TargetAddress = true // it is in the answer
	}
	if f.target {
		s.TargetAddress = s.TargetAddress || !named
		s.Content = s.Content || f.clear
		for _, in := range f.payload {
			s.learns(in)
		}
	}
}

// told books what the proxy with index i is asked for.
func (f flow) told(i int, s *Sight) {
	switch next := i + 1; {
	case next < len(f.legs) && f.legs[next].byName:
		for _, host := range f.legs[next].names() {
			s.hopName(host)
		}
	case next == len(f.legs) && f.atExit:
		s.learns(inRequest)
	}
}

// shown books the name that a TLS handshake with a proxy says in clear (SNI).
func (s *Sight) shown(p hop.Proxy) {
	if h, err := name.ParseHost(p.Server.Name); err == nil {
		if host, named := h.Name(); named {
			s.hopName(host)
		}
	}
}

func (s *Sight) goesTo(whom string) {
	if !slices.Contains(s.To, whom) {
		s.To = append(s.To, whom)
	}
}

func (s *Sight) learns(in string) {
	if !slices.Contains(s.TargetName, in) {
		s.TargetName = append(s.TargetName, in)
	}
}

func (s *Sight) hopName(host string) {
	if !slices.Contains(s.HopNames, host) {
		s.HopNames = append(s.HopNames, host)
	}
}

func newSight(place, kind, from string) Sight {
	return Sight{Place: place, Kind: kind, When: seesAlways, From: from, YourAddress: from == you, To: []string{}, TargetName: []string{}, HopNames: []string{}}
}

// look tells who sees what: the network around this host, each proxy with the network around it, the relays and resolvers
// that are asked for the target's name and for those of proxies, and the destination.
func (e *Explanation) look(way []*running, target name.Target) {
	flows := e.flows(way, target)
	network := newSight("your network", placeNetwork, you)
	for _, f := range flows {
		f.read(0, &network)
	}
	e.Sees = append(e.Sees, network)
	from := you
	for i, l := range legs(way) {
		s := newSight(l.place(), placeHop, from)
		s.Channel = l.of.Name()
		for _, f := range flows {
			if i < len(f.legs) {
				f.told(i, &s)
				f.read(i+1, &s)
			}
		}
		e.Sees = append(e.Sees, s)
		from = l.at()
	}
	for i := len(way) - 1; i >= 0; i-- {
		e.lookAtResolvers(way[i], way[i:], i == 0)
	}
	end := newSight(target.String(), placeDestination, from)
	end.TargetAddress, end.Content = true, true
	end.TargetName = append(end.TargetName, e.payload(target)...)
	e.Sees = append(e.Sees, end)
	e.reasons(way)
}

// payload says how the target's name shows in what the client sends.
func (e *Explanation) payload(target name.Target) []string {
	if _, named := target.Host().Name(); !named {
		return nil
	}
	if e.Scheme == "http" {
		return []string{inClear}
	}
	return []string{inSNI}
}

// flows gives the connections that a request takes: its own, and those of the resolvers on its way.
func (e *Explanation) flows(way []*running, target name.Target) []flow {
	own := flow{
		legs: legs(way), ends: []string{target.String()},
		target: true, atExit: e.Name.By == byExit, payload: e.payload(target), clear: e.Scheme == "http",
	}
	all := []flow{own}
	for i, r := range way {
		if f := (flow{legs: legs(way[i:])}); e.asks(r, i == 0) {
			for _, u := range r.Spec().Resolver.Upstreams {
				f.ends = append(f.ends, dialled(u))
				if u.Kind.Tunnel() {
					f.asked, f.asks = e.hopNamesOf(r), i == 0
				}
			}
			all = append(all, f)
		}
	}
	return all
}

// asks says whether the resolver of a channel on the way is asked: for the target's name in the channel that takes the
// request, and for the names of proxies in those underneath.
func (e *Explanation) asks(r *running, top bool) bool {
	if top {
		return e.Name.By == byResolver
	}
	return len(e.hopNamesOf(r)) > 0
}

// hopNamesOf gives the names of proxies and resolvers that the resolver of a channel is asked for.
func (e *Explanation) hopNamesOf(r *running) (hosts []string) {
	for _, h := range e.HopNames {
		if h.Channel == r.Name() && len(h.Resolvers) > 0 && !slices.Contains(hosts, h.Name) {
			hosts = append(hosts, h.Name)
		}
	}
	return hosts
}

// dialled is the host whose addresses are dialled to ask an upstream.
func dialled(u upstream.Upstream) string {
	if u.Relay != "" {
		return u.Relay
	}
	return u.Host
}

// lookAtResolvers tells what the resolvers of one channel on the way see, and their relays. They get to know nothing of each
// other's names: the proxies' are asked underneath.
func (e *Explanation) lookAtResolvers(r *running, way []*running, top bool) {
	if !e.asks(r, top) {
		return
	}
	last := you
	if l := legs(way); len(l) > 0 {
		last = l[len(l)-1].at()
	}
	o := r.Spec().Resolver
	for i, u := range o.Upstreams {
		from, sees := last, when(o.Strategy, i)
		if u.Relay != "" {
			relay := newSight(u.Relay, placeRelay, from)
			relay.Channel, relay.When = r.Name(), sees
			relay.goesTo(u.Host)
			e.Sees = append(e.Sees, relay)
			from = u.Relay
		}
		s := newSight(u.Host, placeResolver, from)
		s.Channel, s.When = r.Name(), sees
		if top {
			s.learns(inQuestion)
			s.TargetAddress = true // it gives it
		}
		for _, host := range e.hopNamesOf(r) {
			s.hopName(host)
		}
		e.Sees = append(e.Sees, s)
	}
}
