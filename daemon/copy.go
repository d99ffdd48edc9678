package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"watertight/channel"
	"watertight/config"
	"watertight/dnswire"
	"watertight/event"
	"watertight/leaktest"
)

// copyWait is how long a copy of a channel has until its resolver has answered.
const copyWait = 10 * time.Second

// copied is a private copy of a channel, with all that it stands on, over a ground of its own.
type copied struct {
	*channel.Channel
	ground *cutGround
	mortal *cutGround // what Cut takes away: the ground, or the way to the resolver
	all    []*running
	named  func(netip.AddrPort) bool
	ready  error
}

var _ leaktest.Copy = (*copied)(nil)

// Copy opens a private copy of a channel. One with a tunnel is cut off from the beginning: its far end would take it for the
// channel that it is a copy of, and serve that one no more.
func (s subject) Copy(ctx context.Context, of string) (leaktest.Copy, error) {
	return s.copy(ctx, of, false)
}

// CopyForResolver opens a copy of which only the channel's own resolver can be cut off.
func (s subject) CopyForResolver(ctx context.Context, of string) (leaktest.Copy, error) {
	return s.copy(ctx, of, true)
}

func (s subject) copy(ctx context.Context, of string, resolver bool) (leaktest.Copy, error) {
	now := s.d.sharedNow()
	ground := newCutGround(now.ground)
	c := &copied{ground: ground, mortal: ground}
	if resolver {
		c.mortal = newCutGround(nil)
	}
	names, tunnel, err := c.open(s.d.current().config, of, shared{ground: ground.on(), sink: event.Discard{}, floor: now.floor}, resolver)
	if err == nil && tunnel && resolver {
		err = leaktest.ErrTunnel
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	c.named = configured(s.d.current().config, names)
	if tunnel {
		c.Cut(false)
	}
	for _, r := range c.all {
		runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
		r.stop, r.done = stop, make(chan struct{})
		go func() {
			defer close(r.done)
			_ = r.Run(runCtx) // it ends only with its context
		}()
	}
	ctx, cancel := context.WithTimeout(ctx, copyWait)
	defer cancel()
	select {
	case <-c.Await():
	case <-ctx.Done():
	}
	if !c.Channel.Ready() {
		c.ready = cmpErr(c.WhyNotReady(), errors.New("its resolver has not answered"))
	}
	return c, nil
}

// open opens the channels from the ground up to the one of a name.
func (c *copied) open(configuration *config.Config, of string, with shared, resolver bool) (names []string, tunnel bool, err error) {
	spec, ok := configuration.Channel(of)
	if !ok {
		return nil, false, fmt.Errorf("there is no channel %s", of)
	}
	below := channel.OnGround(with.ground)
	var over *running
	if spec.Over != "" {
		if names, tunnel, err = c.open(configuration, spec.Over, with, false); err != nil {
			return nil, false, err
		}
		over = c.all[len(c.all)-1]
		below = over.Channel
	}
	s := specOf(spec, with)
	if resolver {
		s.ToResolver = func(dial channel.Dial) channel.Dial {
			return func(ctx context.Context, to netip.AddrPort) (net.Conn, error) { return c.mortal.dial(ctx, to, dial) }
		}
	}
	opened, err := channel.Open(s, below)
	if err != nil {
		return nil, false, err
	}
	c.Channel = opened
	c.all = append(c.all, &running{Channel: opened, over: over})
	return append(names, of), tunnel || spec.WireGuard != nil, nil
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
func (c *copied) Cut(silent bool) { c.mortal.take(silent) }

// Tried gives where the copy wanted to connect since then. What it had connected to before, while a name in the configuration
// led there, is as configured.
func (c *copied) Tried() (all []leaktest.Attempt) {
	c.mortal.mu.Lock()
	defer c.mortal.mu.Unlock()
	for _, to := range c.mortal.after {
		all = append(all, leaktest.Attempt{To: to, Named: c.named(to) || slices.Contains(c.mortal.before, to)})
	}
	return all
}

// Close ends the copy.
func (c *copied) Close() {
	for _, g := range []*cutGround{c.ground, c.mortal} {
		g.take(false)
		g.end()
	}
	for _, r := range slices.Backward(c.all) {
		if r.stop != nil {
			r.stop()
			<-r.done
		}
		_ = r.Close() // what it held is gone either way
	}
}
