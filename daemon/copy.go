package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/channel"
	"watertight/config"
	"watertight/dnswire"
	"watertight/event"
	"watertight/leaktest"
	"watertight/name"
)

// copyWait is how long a copy of a channel has until its resolver has answered.
const copyWait = 10 * time.Second

// copied is a private copy of a channel, with all that it stands on, over a ground of its own.
type copied struct {
	*channel.Channel
	ground  *cutGround
	mortal  *cutGround // what Cut takes away: the ground, or the way to the resolver
	all     []*running
	places  []netip.AddrPort // where what Cut takes away may lead by the configuration
	hosts   []*host          // the same, by names
	behind  []netip.Addr     // resolvers that the hops alone may reach
	through bool             // there are hops: what stands on them reaches nobody by itself
	ready   error

	learning sync.Mutex              // held while something is learnt of hosts
	learnt   map[netip.AddrPort]bool // what they were known to be
}

// host is a hop, a peer or a resolver that is looked up by its name in the channel underneath.
type host struct {
	under *channel.Channel
	name  string
	port  uint16
	known bool // something was learnt of it
}

// maxLearnt bounds the addresses that are known of hosts.
const maxLearnt = 10000

// learn notes every address that a host has by what the channel underneath knows now: which of them is tried is chance. Nobody is asked.
// It is done at every dial too, when what was looked up for it is known, unless nobody may keep it.
func (c *copied) learn() {
	c.learning.Lock()
	defer c.learning.Unlock()
	for _, h := range c.hosts {
		for _, t := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
			a, ok := h.under.Peek(dnswire.Question{Name: h.name, Type: t})
			if !ok {
				continue
			}
			for _, record := range a.Final() {
				at := netip.AddrPortFrom(record.Addr, h.port)
				if record.Addr.IsValid() && len(c.learnt) < maxLearnt {
					c.learnt[at], h.known = true, true
				}
			}
		}
	}
}

var _ leaktest.Copy = (*copied)(nil)

// Copy opens a private copy of a channel. One with a tunnel is cut off from the beginning: its far end would take it for the
// channel that it is a copy of, and serve that one no more.
func (s subject) Copy(ctx context.Context, of string) (leaktest.Copy, error) {
	return s.copy(ctx, of, manner{})
}

// CopyForResolver opens a copy of which only the channel's own resolver can be cut off.
func (s subject) CopyForResolver(ctx context.Context, of string) (leaktest.Copy, error) {
	return s.copy(ctx, of, manner{resolver: true})
}

// CopyUnready opens a copy that nothing lets reach anybody.
func (s subject) CopyUnready(ctx context.Context, of string, silent bool) (leaktest.Copy, error) {
	return s.copy(ctx, of, manner{unready: true, silent: silent})
}

// manner is how a copy is made.
type manner struct {
	resolver bool // what can be cut off is its resolver alone
	unready  bool // it is cut off from the beginning, and nobody waits for it
	silent   bool // that nobody answers then
}

func (s subject) copy(ctx context.Context, of string, how manner) (leaktest.Copy, error) {
	c, err := openCopy(ctx, s.d.current().config, s.d.sharedNow(), of, how)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// openCopy opens a copy of a channel of a configuration.
func openCopy(ctx context.Context, configuration *config.Config, now shared, of string, how manner) (*copied, error) {
	ground := newCutGround(now.ground)
	c := &copied{ground: ground, mortal: ground, learnt: map[netip.AddrPort]bool{}}
	if how.resolver {
		c.mortal = newCutGround(nil)
	}
	c.mortal.dialled = c.learn
	tunnel, err := c.open(configuration, of, shared{ground: ground.on(), sink: event.Discard{}, floor: now.floor}, how.resolver)
	if err == nil && tunnel && how.resolver {
		err = leaktest.ErrTunnel
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	if tunnel || how.unready {
		c.Cut(how.silent)
	}
	for _, r := range c.all {
		runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		r.stop, r.done = stop, make(chan struct{})
		go func() {
			defer close(r.done)
			_ = r.Run(runCtx) // it ends only with its context
		}()
	}
	if how.unready {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, copyWait)
	defer cancel()
	select {
	case <-c.Await():
	case <-ctx.Done():
	}
	c.learn()
	if !c.Channel.Ready() {
		c.ready = cmpErr(c.WhyNotReady(), errors.New("its resolver has not answered"))
	}
	return c, nil
}

// open opens the channels from the ground up to the one of a name.
func (c *copied) open(configuration *config.Config, of string, with shared, resolver bool) (tunnel bool, err error) {
	spec, ok := configuration.Channel(of)
	if !ok {
		return false, fmt.Errorf("there is no channel %s", of)
	}
	below := channel.OnGround(with.ground)
	var over *running
	if spec.Over != "" {
		if tunnel, err = c.open(configuration, spec.Over, with, false); err != nil {
			return false, err
		}
		over = c.all[len(c.all)-1]
		below = over.Channel
	}
	s := specOf(spec, with)
	if resolver {
		s.ToResolver = func(dial channel.Dial) channel.Dial {
			return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				return c.mortal.dial(ctx, attempt{to: to}, dial)
			}
		}
	}
	opened, err := channel.Open(s, below)
	if err != nil {
		return false, err
	}
	c.Channel = opened
	c.find(spec, over, resolver)
	c.all = append(c.all, &running{Channel: opened, over: over})
	return tunnel || spec.WireGuard != nil, nil
}

// lead is where a channel may connect: an address, or a host that is looked up underneath.
type lead struct {
	at   netip.AddrPort
	host name.Host
	port uint16
}

// firstHops gives the hops of a channel that are dialled from underneath.
func firstHops(spec config.Channel) (all []lead) {
	proxies := spec.Proxies[:min(1, len(spec.Proxies))]
	if spec.Pool != nil {
		proxies = spec.Pool.Spec.Members
	}
	for _, p := range proxies {
		all = append(all, lead{host: p.Host, port: p.Port})
	}
	if spec.WireGuard != nil {
		for _, p := range spec.WireGuard.Tunnel.Peers {
			all = append(all, lead{host: p.Endpoint.Host(), port: p.Endpoint.Port()})
		}
	}
	return all
}

func resolversOf(spec config.Channel) (all []lead) {
	for _, u := range spec.Resolver.Upstreams {
		for _, at := range u.Addrs {
			all = append(all, lead{at: at})
		}
		if u.Named.IsValid() {
			all = append(all, lead{host: u.Named.Host(), port: u.Named.Port()})
		}
	}
	return all
}

// find notes where what Cut takes away may lead for a channel: the ground to its first hops, or to its resolvers where it has none; the
// way to the resolver to those alone.
func (c *copied) find(spec config.Channel, over *running, resolver bool) {
	leads, resolvers, apart := firstHops(spec), resolversOf(spec), c.mortal != c.ground
	before := c.through
	c.through = before || len(leads) > 0
	if c.through && !apart {
		for _, l := range resolvers {
			c.behind = append(c.behind, l.at.Addr())
		}
	}
	switch {
	case apart && !resolver, !apart && before:
		return
	case resolver, !c.through:
		leads = resolvers
	}
	for _, l := range leads {
		if text, ok := l.host.Name(); ok && over != nil {
			c.hosts = append(c.hosts, &host{under: over.Channel, name: text, port: l.port})
		} else if addr, ok := l.host.Addr(); ok {
			l.at = netip.AddrPortFrom(addr, l.port)
		}
		if l.at.IsValid() {
			c.places = append(c.places, l.at)
		}
	}
}

// Ready says why the copy never worked.
func (c *copied) Ready() error { return c.ready }

// Exchange asks the copy's resolver.
func (c *copied) Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, bool, error) {
	return exchange(ctx, c.Channel, q)
}

// Connect connects to a name in the copy.
func (c *copied) Connect(ctx context.Context, host string, port uint16) (net.Conn, error) {
	return connectTo(ctx, c.Channel, host, port)
}

// Cut takes the ground away, or the way to the resolver.
func (c *copied) Cut(silent bool) {
	c.learn()
	c.mortal.take(silent)
}

// Restore gives it back.
func (c *copied) Restore() { c.mortal.give() }

// Changed forgets what was learnt, as [Daemon.leaveNetwork] does.
func (c *copied) Changed() {
	c.learn()
	c.mortal.mark()
	for _, r := range c.all {
		r.Flush()
	}
}

// Retire ends the channels, and leaves them the ground.
func (c *copied) Retire() {
	c.learn()
	c.mortal.mark()
	c.end()
}

// Tried gives where the copy wanted to connect since then. Every address that a host was known to have is as configured.
func (c *copied) Tried() (all []leaktest.Attempt) {
	c.learn()
	c.learning.Lock()
	defer c.learning.Unlock()
	c.mortal.mu.Lock()
	defer c.mortal.mu.Unlock()
	for _, a := range c.mortal.after {
		all = append(all, leaktest.Attempt{To: a.to, Packets: a.packets, Named: slices.Contains(c.places, a.to) || c.learnt[a.to] || c.moved(a.to)})
	}
	return all
}

// moved says that an address may be one of a host whose records nobody may keep, so that nothing was ever known of it: something was
// connected to before on its port.
func (c *copied) moved(to netip.AddrPort) bool {
	return slices.Contains(c.mortal.before, to) && !slices.Contains(c.behind, to.Addr()) &&
		slices.ContainsFunc(c.hosts, func(h *host) bool { return !h.known && h.port == to.Port() })
}

// Close ends the copy.
func (c *copied) Close() {
	for _, g := range []*cutGround{c.ground, c.mortal} {
		g.take(false)
		g.end()
	}
	c.end()
}

// end ends the channels, once.
func (c *copied) end() {
	for _, r := range slices.Backward(c.all) {
		if r.stop != nil {
			r.stop()
			<-r.done
		}
		_ = r.Close() // what it held is gone either way
	}
	c.all = nil
}
