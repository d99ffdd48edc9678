package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"

	"watertight/channel"
	"watertight/clock"
	"watertight/config"
	"watertight/event"
	"watertight/front/gateway"
	"watertight/hop"
	"watertight/resolve"
	"watertight/route"
	"watertight/upstream"
)

// generation is everything that one configuration makes: its channels and the table over them. It does not change;
// a reload builds the next one, which takes over the channels that are the same in both.
type generation struct {
	config   *config.Config
	channels []*running // in the order of the configuration
	table    *route.Table
	gateway  *gateway.Table
	inFlight sync.WaitGroup // requests that were given this generation and have not been decided
	replaced chan struct{}  // closed when the next generation is in force
}

// running is an open channel with the goroutine that runs it. It belongs to every generation that holds it.
type running struct {
	*channel.Channel
	over *running // nil where it stands on the ground
	stop context.CancelFunc
	done chan struct{}
}

// shared is what all generations of one daemon are built with.
type shared struct {
	ground hop.Ground
	sink   event.Sink
	own    []netip.AddrPort // the program's own listeners
	floor  *clock.Floor     // nil knows nothing of the time
	diary  *diary           // nil keeps nothing
	// closed says why nothing goes out now; nil closes nothing.
	closed func(names func() []string) error
}

// build makes a generation of a configuration. A channel whose spec is the same as in the generation before, and
// which stands on the same channel, is taken over with its cache and its connections; every other is opened anew.
// Nothing runs before [generation.start]. On an error nothing is left open.
func build(c *config.Config, s shared, before *generation) (*generation, error) {
	g := &generation{config: c, replaced: make(chan struct{})}
	byName := make(map[string]*running, len(c.Channels))
	for len(g.channels) < len(c.Channels) {
		progress := false
		for _, spec := range c.Channels {
			if byName[spec.Name] != nil || spec.Over != "" && byName[spec.Over] == nil {
				continue
			}
			r, err := open(specOf(spec, s), s.ground, byName[spec.Over], before)
			if err != nil {
				g.discard(before)
				return nil, err
			}
			byName[spec.Name] = r
			g.channels = append(g.channels, r)
			progress = true
		}
		if !progress {
			g.discard(before)
			return nil, fmt.Errorf("the channels of the configuration stand on each other in a circle")
		}
	}
	table, err := tableOf(c, s, byName)
	if err != nil {
		g.discard(before)
		return nil, err
	}
	g.table = table
	if g.gateway, err = gatewayOf(c, byName, table); err != nil {
		g.discard(before)
		return nil, err
	}
	return g, nil
}

func specOf(c config.Channel, with shared) channel.Spec {
	s := channel.Spec{Name: c.Name, Over: c.Over, Proxies: c.Proxies, ResolveAtExit: c.ResolveAtExit, Floor: with.floor}
	if c.WireGuard != nil {
		s.WireGuard = &c.WireGuard.Tunnel
	}
	if c.Pool != nil {
		pool := c.Pool.Spec
		s.Pool = &pool
	}
	if !c.ResolveAtExit {
		s.Resolver = resolve.Options{
			Channel:     c.Name,
			Upstreams:   c.Resolver.Upstreams,
			Strategy:    c.Resolver.Strategy,
			Forward:     c.Resolver.Forward,
			Timeout:     c.Resolver.Timeout,
			CacheOctets: c.Resolver.CacheSize << 20,
			Stale:       c.Resolver.Stale,
			Prefetch:    c.Resolver.Prefetch,
			DNSSEC:      c.Resolver.DNSSEC,
			Sink:        with.sink,
			Floor:       with.floor,
		}
		if d := &s.Resolver.DNSSEC; d.Mode == resolve.Validate || d.Mode == resolve.RequireSecure {
			d.Keep = with.diary.keeper(c.Name, d.Anchors)
		}
	}
	return s
}

func open(spec channel.Spec, ground hop.Ground, over *running, before *generation) (*running, error) {
	if before != nil {
		for _, r := range before.channels {
			if r.over == over && sameBut(r.Spec(), spec) {
				return r, nil
			}
		}
	}
	below := channel.OnGround(ground)
	if over != nil {
		below = over.Channel
	}
	c, err := channel.OpenAfter(spec, below, before.open())
	if err != nil {
		return nil, err
	}
	return &running{Channel: c, over: over}, nil
}

// sameBut says whether two specs are the same, whatever is in the list of a pool: that may change in place.
func sameBut(a, b channel.Spec) bool {
	return reflect.DeepEqual(withoutListed(a), withoutListed(b)) && channel.SamePool(a.Pool, b.Pool)
}

func withoutListed(s channel.Spec) channel.Spec {
	if s.Pool != nil && s.Pool.List != "" {
		pool := *s.Pool
		pool.Members = nil
		s.Pool = &pool
	}
	return s
}

func tableOf(c *config.Config, s shared, byName map[string]*running) (*route.Table, error) {
	spec := route.Spec{Sink: s.sink, Own: s.own, Policy: policyOf(c.Policy), Closed: s.closed}
	for _, r := range c.Routes {
		rule := route.Rule{To: r.To, Users: r.Users, Refuse: r.Refuse, Labels: r.Labels}
		if !r.Refuse {
			if byName[r.Channel] == nil {
				return nil, fmt.Errorf("a route leads to the channel %q, which does not exist", r.Channel)
			}
			rule.Channel = byName[r.Channel].Channel
		}
		spec.Rules = append(spec.Rules, rule)
	}
	if len(spec.Rules) == 0 {
		spec.Default = byName[config.DirectName].Channel
	}
	return route.New(spec)
}

func policyOf(p config.Policy) route.Policy {
	private := route.Refuse
	if p.PrivateTargets.Allow {
		private = route.Allow
	}
	names, addrs := upstream.KnownResolvers()
	return route.Policy{
		PlainHTTP:        p.PlainHTTP,
		ForeignResolvers: p.ForeignResolvers,
		PrivateTargets:   private,
		PrivateAllowed:   p.PrivateTargets.Networks,
		ClientResolved:   p.ClientResolved,
		Contained:        p.Contained,
		ResolverNames:    names,
		ResolverAddrs:    addrs,
	}
}

// open gives the open channels of a generation, which may be nil.
func (g *generation) open() (all []*channel.Channel) {
	if g == nil {
		return nil
	}
	for _, r := range g.channels {
		all = append(all, r.Channel)
	}
	return all
}

// start runs the channels that do not run yet.
func (g *generation) start(ctx context.Context) {
	for _, r := range g.channels {
		if r.done != nil {
			continue
		}
		runCtx, stop := context.WithCancel(ctx)
		r.stop, r.done = stop, make(chan struct{})
		go func() {
			defer close(r.done)
			_ = r.Run(runCtx) // it ends only with its context
		}()
	}
}

// holds says whether the generation has the very same open channel.
func (g *generation) holds(r *running) bool {
	for _, mine := range g.channels {
		if mine == r {
			return true
		}
	}
	return false
}

// discard closes the channels that are not those of keep, which may be nil.
func (g *generation) discard(keep *generation) {
	if g.gateway != nil {
		g.gateway.Close()
	}
	for _, r := range g.channels {
		if keep != nil && keep.holds(r) {
			continue
		}
		if r.stop != nil {
			r.stop()
			<-r.done
		}
		_ = r.Close() // what it held is gone either way
	}
}

// ready says whether every channel is, and why not.
func (g *generation) ready() (bool, []string) {
	var waiting []string
	for _, r := range g.channels {
		if r.Ready() {
			continue
		}
		why := "its resolver has not answered yet"
		if err := r.WhyNotReady(); err != nil {
			why = reasonOf(err)
		}
		waiting = append(waiting, "channel "+r.Name()+": "+why)
	}
	return len(waiting) == 0, waiting
}

// reasonOf is an error for people, without what Go says of a time that was up: the error says it already.
func reasonOf(err error) string {
	text := err.Error()
	for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
		text = strings.TrimSuffix(text, ": "+end.Error())
	}
	return text
}

// await waits until every channel is ready. It gives false where ctx ends, or the generation is replaced, before.
func (g *generation) await(ctx context.Context) bool {
	for _, r := range g.channels {
		select {
		case <-r.Await():
		case <-g.replaced:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// names gives the names of the channels.
func (g *generation) names() []string {
	names := make([]string, len(g.channels))
	for i, r := range g.channels {
		names[i] = r.Name()
	}
	return names
}
