package channel

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"watertight/client"
	"watertight/credential"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
)

// pool is the pool of a channel, which all of its partitions go through.
type pool struct {
	*hop.Pool
	by    hop.StickyBy
	stay  time.Duration
	known atomic.Pointer[membership]
}

// membership is what there is to know of all members together.
type membership struct {
	tells map[string]bool // the labels that every member is told
	forms []hop.Proxy     // members whose templates ask for different things
}

func newPool(s *hop.PoolSpec) (*pool, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // a channel without a pool
	}
	p, err := hop.NewPool(*s)
	if err != nil {
		return nil, err
	}
	one := &pool{Pool: p, by: s.By, stay: s.For}
	one.learn(s.Members)
	return one, nil
}

// learn notes what there is to know of all members together.
func (p *pool) learn(members []hop.Proxy) {
	now := membership{tells: map[string]bool{}, forms: formsOf(members)}
	for _, place := range []string{credential.Country, credential.State, credential.City, credential.TTL} {
		now.tells[place] = !slices.ContainsFunc(members, func(m hop.Proxy) bool { return !m.Template.Has(place) })
	}
	now.tells[credential.TTL] = now.tells[credential.TTL] || p.by == hop.BySession // it is how long a session sticks
	p.known.Store(&now)
}

// formsOf gives one member for each form of template that there is.
func formsOf(members []hop.Proxy) (forms []hop.Proxy) {
	seen := map[string]bool{}
	for _, m := range members {
		if m.Template.IsZero() || seen[m.Template.Form()] {
			continue
		}
		seen[m.Template.Form()] = true
		forms = append(forms, m)
	}
	return forms
}

// fits refuses an identity for which one of the members cannot be asked: it would depend on chance whether it is served.
func (p *pool) fits(id client.Identity, seed []byte) error {
	return fit(p.known.Load().forms, id, seed)
}

func fit(forms []hop.Proxy, id client.Identity, seed []byte) error {
	for _, m := range forms {
		if _, err := m.For(id, seed); err != nil {
			at, _ := name.New(m.Host, m.Port)
			return fmt.Errorf("the member %v of its pool: %w", at, err)
		}
	}
	return nil
}

// key is by what w sticks to a member, and for how long. An empty key sticks to nothing.
func (p *pool) key(w who) (key string, stay time.Duration, err error) {
	switch {
	case p.by == hop.ByUser:
		key = w.User
	case p.by == hop.ByClient && w.addr.IsValid():
		key = w.addr.String()
	case p.by == hop.BySession && w.Session != "":
		key = w.User + "\x00" + w.Session
	}
	if w.Trial != "" && key != "" && p.by != hop.ByClient { // it shares nothing with the user
		key += "\x00\x00" + w.Trial
	}
	stay = p.stay
	if p.by == hop.BySession && w.TTL != "" {
		stay, err = credential.Lifetime(w.TTL)
	}
	return key, stay, err
}

// way gives the pool as w goes through it.
func (p *pool) way(s Spec, w who, seed []byte, under hop.Under) (*hop.Way, error) {
	key, stay, err := p.key(w)
	if err != nil {
		return nil, s.unfilled(fmt.Errorf("%w: %w", credential.ErrFill, err))
	}
	under = under.Quick()
	return p.Way(key, stay, func(one hop.Proxy) (hop.Dialer, error) {
		filled, err := one.For(w.Identity, seed)
		if err != nil {
			return nil, s.unfilled(err)
		}
		d, err := hop.Chain(under, []hop.Proxy{filled})
		if err != nil {
			return unusable(one, err), nil
		}
		return d, nil
	}), nil
}

// unusable is the way through a member that does not fit what is underneath, as a list may have one after a change: it fails as a
// proxy does, and the next one is tried.
func unusable(one hop.Proxy, why error) hop.Dialer {
	return hop.DialerFunc(func(context.Context, name.Target) (net.Conn, error) {
		at, err := name.New(one.Host, one.Port)
		if err != nil {
			return nil, err
		}
		return nil, fault.New(fault.HopRefused, "the proxy "+at.String()+" cannot be reached from what is underneath", why)
	})
}

// SetMembers replaces the members of the channel's pool, with what is known of those that stay. The error is for a channel
// without a pool, and for members that cannot be used, or of which one carries less than what the channel was opened with: nothing
// has changed then.
func (c *Channel) SetMembers(members []hop.Proxy) error {
	if c.pool == nil {
		return fmt.Errorf("channel %s has no pool", c.spec.Name)
	}
	if c.unfit == nil {
		if err := fit(formsOf(members), client.Identity{}, c.seed); err != nil {
			return fmt.Errorf("%w, and the channel works for clients without one: reload to have it decided anew", err)
		}
	}
	if err := c.pool.SetMembers(members); err != nil {
		return err
	}
	c.pool.learn(members)
	return nil
}

// SamePool says whether a channel that was opened with one pool may go on with the members of the other: all of them carry as
// much, and work for nobody in particular or do not.
func SamePool(a, b *hop.PoolSpec) bool {
	if a == nil || b == nil {
		return a == b
	}
	nobody := func(s *hop.PoolSpec) bool { return fit(formsOf(s.Members), client.Identity{}, newSeed()) == nil }
	return hop.CarriesLike(hop.Least(a.Members), hop.Least(b.Members)) && nobody(a) == nobody(b)
}

// PoolStats tells how the channel's pool does; false where it has none.
func (c *Channel) PoolStats() (hop.PoolStats, bool) {
	if c.pool == nil {
		return hop.PoolStats{}, false
	}
	return c.pool.Stats(), true
}

// Pool is what the channel's pool is made of at this moment; false where it has none.
func (c *Channel) Pool() (hop.PoolSpec, bool) {
	if c.pool == nil {
		return hop.PoolSpec{}, false
	}
	return c.pool.Spec(), true
}

// repin takes the resolver to the member that the partition sticks to now: where it is another than before, the exit is another,
// and nothing may link the two.
func (c *Channel) repin() {
	if c.through == nil || c.resolver == nil {
		return
	}
	now := c.through.Pinned()
	if now == 0 {
		return
	}
	if before := c.pinned.Swap(now); before != 0 && before != now {
		c.resolver.Flush()
	}
}

// toward lets what sticks by target stick to the one that the client named.
func (c *Channel) toward(ctx context.Context, t name.Target) context.Context {
	if c.pool == nil || c.pool.by != hop.ByTarget {
		return ctx
	}
	return hop.Toward(ctx, t.Host())
}

// runPool tries the members that nobody uses, as far as the pool wants it, until ctx ends.
func (c *Channel) runPool(ctx context.Context) (wait func()) {
	if c.pool == nil {
		return func() {}
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.pool.Run(ctx, c.try) })
	return wg.Wait
}

// try opens a connection through one member to the channel's resolver, as the resolver itself would, and closes it: nothing is
// sent over it. Of a resolver that travels in datagrams it is a flow of those. Where the exit resolves, or the member cannot be asked for nobody in particular, it reaches the member alone.
func (c *Channel) try(ctx context.Context, one hop.Proxy) error {
	at, inPackets, ok := c.resolverAt()
	filled, err := one.For(client.Identity{}, c.seed)
	if !ok || err != nil {
		return c.reach(ctx, one)
	}
	d, err := hop.Chain(c.under(hop.DialerFunc(c.below.Dial)).Quick(), []hop.Proxy{filled})
	if err != nil {
		return err
	}
	defer d.Close()
	var conn net.Conn
	if packets := d.Packets(); inPackets && packets != nil {
		conn, err = packets.DialPacket(ctx, at)
	} else {
		conn, err = d.Dial(ctx, at)
	}
	if err != nil {
		return err
	}
	return ignored(conn.Close())
}

// ignored drops what cannot matter: nothing was sent.
func ignored(error) error { return nil }

// reach connects to a proxy and says nothing. It goes by what is underneath also where the channel works for nobody without a
// name; where what is underneath does not either, that says nothing about the proxy.
func (c *Channel) reach(ctx context.Context, one hop.Proxy) error {
	t, err := name.New(one.Host, one.Port)
	if err != nil {
		return err
	}
	var conn net.Conn
	if conn, err = c.parts.below.Dial(ctx, t); err != nil {
		f := *fault.Of(err)
		if f.Code != fault.NotReady && f.Code != fault.Limit && f.Code != fault.BadRequest {
			f.Code = fault.HopRefused
		}
		return &f
	}
	return ignored(conn.Close())
}

// resolverAt is where the first upstream of the channel's resolver is asked, and whether that is in datagrams; false where it has
// no address of its own.
func (c *Channel) resolverAt() (at name.Target, inPackets, ok bool) {
	if c.resolver == nil {
		return name.Target{}, false, false
	}
	for _, u := range c.spec.Resolver.Upstreams {
		if len(u.Addrs) > 0 {
			t, err := name.FromAddrPort(u.Addrs[0])
			return t, u.Kind.Packets(), err == nil
		}
	}
	return name.Target{}, false, false
}
