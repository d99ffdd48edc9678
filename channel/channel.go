// Package channel is the centre of the program: a way out, and the resolver built over that way out.
//
// It promises that a name is resolved inside the channel that will carry its traffic, or not at all; that what is
// dialled is the very address that was checked; and that a channel's cache is its own and dies with it. There is
// one way to get a channel, [Open], and it builds the dialer first and the resolver over it. It never asks another
// resolver, and never takes another way.
package channel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"watertight/clock"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
	"watertight/wireguard"
)

// Limits of a channel, in time and number.
const (
	DialLimit    = 30 * time.Second // for one Dial, look-up and every attempt included
	attemptLimit = 10 * time.Second // for one address
	maxAttempts  = 8                // addresses tried for one name
)

// Below is what a channel stands on: another channel, or the ground.
type Below interface {
	// Dial connects to the first hop of a channel above, whose name it resolves.
	Dial(ctx context.Context, t name.Target) (net.Conn, error)
	// Lookup resolves the name of a later hop of a channel above.
	Lookup(ctx context.Context, host string) ([]netip.Addr, error)
	// Packets is how datagrams leave; nil where only connections do.
	Packets() hop.PacketDialer
}

// Check decides whether an address may be dialled for a client. It gives a fault of policy, or nil.
type Check func(netip.Addr) error

// Spec is what a channel is made of. Two channels with equal specs are interchangeable.
type Spec struct {
	Name string
	// Over is the name of the channel underneath; empty for the ground.
	Over string
	// Proxies is the chain of upstream proxies, first hop first; empty means that addresses are dialled from below.
	Proxies []hop.Proxy
	// WireGuard is the tunnel that is the way out, in place of proxies; nil for none.
	WireGuard *wireguard.Config
	// Pool is many proxies, of which each connection takes one; nil for none. Proxies are empty then.
	Pool *hop.PoolSpec
	// ResolveAtExit hands names to the last proxy instead of resolving them here: nobody resolves them before, and no
	// address can be checked.
	ResolveAtExit bool
	// Floor is what is known of the time, for the certificates of proxies. Nil knows nothing.
	Floor *clock.Floor
	// ToResolver stands between the channel's own resolver and its way out, and sees each address that it dials. Nil: nothing does.
	ToResolver func(Dial) Dial
	// Resolver is unused where ResolveAtExit, but for its clock.
	Resolver resolve.Options
}

func (s Spec) validate(below Below) error {
	switch {
	case s.Name == "":
		return errors.New("a channel needs a name")
	case below == nil:
		return fmt.Errorf("channel %s stands on nothing", s.Name)
	case s.WireGuard != nil && len(s.Proxies) > 0, s.WireGuard != nil && s.Pool != nil:
		return fmt.Errorf("channel %s: a tunnel and proxies are two channels, one over the other", s.Name)
	case s.Pool != nil && len(s.Proxies) > 0:
		return fmt.Errorf("channel %s has both a chain and a pool", s.Name)
	case s.ResolveAtExit && len(s.Proxies) == 0 && s.Pool == nil:
		return fmt.Errorf("channel %s: `resolve: exit` needs a proxy that resolves", s.Name)
	}
	return nil
}

// now is the clock of the channel.
func (s Spec) now() func() time.Time {
	if s.Resolver.Now != nil {
		return s.Resolver.Now
	}
	return time.Now
}

// Channel is a way out with its resolver. Its methods may be called from many goroutines.
type Channel struct {
	spec     Spec
	dialer   hop.Dialer
	chain    *hop.Chained                                                 // the same, where there are proxies; else nil
	packets  hop.PacketDialer                                             // nil where the way out carries none
	lookup   func(ctx context.Context, host string) ([]netip.Addr, error) // of the channel underneath; nil where that resolves nothing
	resolver *resolve.Resolver                                            // nil where the exit resolves
	tunnel   *wireguard.Tunnel                                            // that of all its partitions; nil where the way out is another
	rivals   []*wireguard.Tunnel                                          // that cannot be up beside it
	given    given
	ipv6     bool        // the way out carries it
	parts    *partitions // of the channel, by identity; nil of a partition
	byClient bool        // the client's address decides about the way out
	below    Below
	pool     *pool         // of the channel and all its partitions; nil for none
	through  *hop.Way      // the pool as this one goes through it; nil for none
	pinned   atomic.Uint64 // the member of the pool that the resolver's connections go through; 0: any
	seed     []byte        // of sessions that nobody asked for
	unfit    error         // why it works for nobody without a name; nil where it does

	ready     chan struct{} // closed when the resolver has answered once
	readyOnce sync.Once
	tried     chan struct{} // closed when it was asked for the first time, whatever came of it
	triedOnce sync.Once

	mu       sync.Mutex
	notReady error // why the last probe failed
}

// Open builds the dialer first and the resolver over it: there is no other way to get either.
// The caller runs the channel ([Channel.Run]) and closes it.
func Open(s Spec, below Below) (*Channel, error) { return OpenAfter(s, below, nil) }

// OpenAfter is [Open] for a channel that comes after others, which are still open: a tunnel of theirs is taken over
// where it is the same.
func OpenAfter(s Spec, below Below, before []*Channel) (*Channel, error) {
	if err := s.validate(below); err != nil {
		return nil, err
	}
	all, err := newPool(s.Pool)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", s.Name, err)
	}
	o := opening{spec: s, below: below, seed: newSeed(), pool: all}
	unfit := o.fill()
	if unfit != nil {
		o.below = refusing{unfit, below.Packets()}
	}
	var rivals []*wireguard.Tunnel
	o.tunnel, rivals, err = tunnelOf(s, o.below, before)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", s.Name, err)
	}
	c, err := o.open()
	if err != nil {
		closeTunnel(o.tunnel)
		return nil, err
	}
	c.rivals, c.unfit = rivals, unfit
	c.parts = newPartitions(c, below)
	return c, nil
}

// open opens a channel, or a partition of one over the partition of the same identity below.
func (o opening) open() (*Channel, error) {
	s, below := o.spec, o.below
	c := &Channel{spec: s, below: below, seed: o.seed, pool: o.pool, lookup: lookupOf(below), given: given{most: givenMost}, ipv6: carriesIPv6(s, below), ready: make(chan struct{}), tried: make(chan struct{})}
	c.byClient = s.Pool != nil && s.Pool.By == hop.ByClient
	if b, ok := below.(*Channel); ok {
		c.byClient = c.byClient || b.byClient
	}
	if err := o.wayOut(c); err != nil {
		return nil, fmt.Errorf("channel %s: %w", s.Name, err)
	}
	if s.ResolveAtExit {
		c.markReady()
		return c, nil
	}
	if err := c.carried(); err != nil {
		return nil, fmt.Errorf("channel %s: %w", s.Name, err)
	}
	r, err := resolve.New(c.reachable(s.Resolver), c.way())
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", s.Name, err)
	}
	c.resolver = r
	return c, nil
}

// Name is the channel's name in the configuration.
func (c *Channel) Name() string { return c.spec.Name }

// Spec is what the channel was opened with.
func (c *Channel) Spec() Spec { return c.spec }

// dialAddr is the dialer of the channel's own resolver: an address, through the channel's own hops.
func (c *Channel) dialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	t, err := name.FromAddrPort(to)
	if err != nil {
		return nil, err
	}
	return c.dialer.Dial(ctx, t)
}

// Dial connects to t, unchecked: for the first hop of a channel above, which the configuration chose.
func (c *Channel) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	return c.DialChecked(ctx, t, func(netip.Addr) error { return nil })
}

// DialChecked connects to t for a client. The name is resolved inside c, or not at all; every address goes through
// check, and the very address that passed is dialled (RFC 8305 where there are several). The error is a
// [*fault.Error].
func (c *Channel) DialChecked(ctx context.Context, t name.Target, check Check) (net.Conn, error) {
	if !t.IsValid() {
		return nil, fault.New(fault.BadRequest, "the target is not valid", nil)
	}
	if c.unfit != nil {
		return nil, c.unfit
	}
	ctx, cancel := context.WithTimeout(c.toward(ctx, t), DialLimit)
	defer cancel()
	if ap, ok := t.AddrPort(); ok {
		if err := check(ap.Addr()); err != nil {
			return nil, err
		}
		return c.attempt(ctx, ap)
	}
	host, _ := t.Host().Name()
	if c.spec.ResolveAtExit {
		if err := resolve.Local(host); err != nil {
			return nil, err
		}
		conn, err := c.dialer.Dial(ctx, t)
		return conn, dialFault(ctx, t.String(), err)
	}
	fault.Waiting(ctx, c.unresolved)
	if err := c.readyFor(ctx, dnswire.Question{Name: host, Type: dnswire.A}, readyWait); err != nil {
		return nil, err
	}
	return c.race(ctx, t, check)
}

// attempt dials one address.
func (c *Channel) attempt(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	if fault.Watched(ctx) {
		fault.Waiting(ctx, func() error { return dialFault(ctx, to.String(), context.DeadlineExceeded) })
	}
	conn, err := c.dialAddr(ctx, to)
	return conn, dialFault(ctx, to.String(), err)
}

// Lookup gives the addresses of host, IPv6 first. The error is a [*fault.Error].
func (c *Channel) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	switch {
	case c.resolver == nil:
		return nil, c.noResolver()
	case c.unfit != nil:
		return nil, c.unfit
	}
	if err := c.readyFor(ctx, dnswire.Question{Name: host, Type: dnswire.A}, readyWait); err != nil {
		return nil, err
	}
	return c.resolver.Lookup(ctx, host)
}

// Exchange asks the channel's resolver one question. One that is not ready yet is waited for 3 seconds. Where the exit
// resolves, special-use names are answered all the same. The error is a [*fault.Error].
func (c *Channel) Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, error) {
	if c.resolver == nil {
		if a, ok := resolve.LocalAnswer(q); ok {
			return a, nil
		}
		return nil, c.noResolver()
	}
	if c.unfit != nil && !c.IsLocal(q) {
		return nil, c.unfit
	}
	if err := c.readyFor(ctx, q, askWait); err != nil {
		return nil, err
	}
	return c.resolver.Exchange(ctx, q)
}

func (c *Channel) noResolver() error {
	return &fault.Error{
		Code:    fault.DNSServFail,
		Message: "channel " + c.spec.Name + " leaves names to its exit and has no resolver",
		Channel: c.spec.Name,
		Hint:    "set `resolve: here` for the channel and give it a resolver",
		Err:     hop.ErrExitResolves,
	}
}

// Close ends the resolver with its look-ups and its connections, and every partition. Connections that Dial gave stay open.
func (c *Channel) Close() error {
	if c.parts != nil {
		defer closeTunnel(c.tunnel) // it is the partitions' too
		c.parts.close()
	}
	var err error
	if c.resolver != nil {
		err = c.resolver.Close()
	}
	if c.chain != nil {
		err = errors.Join(err, c.chain.Close())
	}
	if c.through != nil {
		err = errors.Join(err, c.through.Close())
	}
	return err
}
