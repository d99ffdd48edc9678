package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"watertight/channel"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/gate"
	"watertight/leaktest"
	"watertight/name"
	"watertight/wire"
)

// subject is the program as it offers itself to its own test.
type subject struct {
	d       *Daemon
	running bool
	pass    *gate.Pass // for the doors that ask for proof; nil: they are not tried
}

var _ leaktest.Subject = subject{}

// About tells what the program is.
func (s subject) About() leaktest.About {
	c := s.d.current().config
	return leaktest.About{
		Version: s.d.o.Version, File: c.File, Running: s.running, Names: ownNames(c),
		Policy: leaktest.Policy{PlainHTTP: string(c.Policy.PlainHTTP), ForeignResolvers: string(c.Policy.ForeignResolvers), ClientResolved: string(c.Policy.ClientResolved), Contained: string(c.Policy.Contained)},
	}
}

// Counters gives the program's traps.
func (subject) Counters() leaktest.Counters {
	return leaktest.Counters{TrappedLookups: wire.Trapped(), RefusedDials: wire.RefusedPlain()}
}

// Leads gives the channel of a name.
func (s subject) Leads(host string) (string, error) {
	h, err := name.ParseHost(host)
	if err != nil {
		return "", err
	}
	if to := s.d.board.Leads(h); to != "" {
		return to, nil
	}
	return "", errors.New("no route leads there")
}

// Channels gives the channels, each after the one below it.
func (s subject) Channels() (all []leaktest.Channel) {
	g := s.d.current()
	for _, r := range g.channels {
		spec := r.Spec()
		c := leaktest.Channel{
			Way: wayOf{s.d, spec.Name}, Name: spec.Name, Over: spec.Over, Hops: path(g, r.Channel), Exit: spec.ResolveAtExit, Tunnel: tunnelled(r), Pool: spec.Pool != nil, Forward: spec.Resolver.Forward,
			Ready: func() error {
				if r.Ready() {
					return nil
				}
				return cmpErr(r.WhyNotReady(), errors.New("its resolver has not answered yet"))
			},
		}
		for _, u := range spec.Resolver.Upstreams {
			c.Resolvers = append(c.Resolvers, u.Text)
			for _, at := range u.Addrs {
				c.Addresses = append(c.Addresses, at.Addr().Unmap())
			}
			if u.Behind.IsValid() {
				c.Behind = append(c.Behind, u.Behind)
			}
		}
		c.Peers = peers(g, r)
		all = append(all, c)
	}
	return all
}

// tunnelled says that a channel is a tunnel, or stands on one.
func tunnelled(r *running) bool {
	return r.Spec().WireGuard != nil || r.over != nil && tunnelled(r.over)
}

func cmpErr(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// peers gives where a channel may dial from this host, as far as the configuration has addresses.
func peers(g *generation, r *running) (all []netip.AddrPort) {
	spec := r.Spec()
	for _, p := range spec.Proxies[:min(1, len(spec.Proxies))] {
		if a, ok := p.Host.Addr(); ok {
			all = append(all, netip.AddrPortFrom(a, p.Port))
		}
	}
	if spec.Pool != nil {
		for _, p := range spec.Pool.Members {
			if a, ok := p.Host.Addr(); ok {
				all = append(all, netip.AddrPortFrom(a, p.Port))
			}
		}
	}
	if spec.WireGuard != nil {
		for _, p := range spec.WireGuard.Peers {
			if at, ok := p.Endpoint.AddrPort(); ok {
				all = append(all, at)
			}
		}
	}
	if len(spec.Proxies) == 0 && spec.Pool == nil && spec.WireGuard == nil {
		for _, u := range spec.Resolver.Upstreams {
			all = append(all, u.Addrs...)
		}
	}
	if r.over != nil {
		all = append(all, peers(g, r.over)...)
	}
	return all
}

// wayOf is a channel by its name, in the generation that is in force when it is asked.
type wayOf struct {
	d    *Daemon
	name string
}

func (w wayOf) with(do func(*channel.Channel) error) error {
	g := w.d.board.acquire()
	defer g.release()
	for _, r := range g.channels {
		if r.Name() == w.name {
			return do(r.Channel)
		}
	}
	return fault.New(fault.PolicyRoute, "there is no channel "+w.name+" any more", nil)
}

// Exchange asks the channel's resolver.
func (w wayOf) Exchange(ctx context.Context, q dnswire.Question) (a *dnswire.Answer, local bool, err error) {
	err = w.with(func(c *channel.Channel) error {
		a, local, err = exchange(ctx, c, q)
		return err
	})
	return a, local, err
}

// Connect connects to a name in the channel.
func (w wayOf) Connect(ctx context.Context, host string, port uint16) (conn net.Conn, err error) {
	err = w.with(func(c *channel.Channel) error {
		conn, err = connectTo(ctx, c, host, port)
		return err
	})
	return conn, err
}

func exchange(ctx context.Context, c *channel.Channel, q dnswire.Question) (*dnswire.Answer, bool, error) {
	local := c.IsLocal(q)
	a, err := c.Exchange(ctx, q)
	return a, local, err
}

func connectTo(ctx context.Context, c *channel.Channel, host string, port uint16) (net.Conn, error) {
	h, err := name.ParseHost(host)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the host is not valid", err)
	}
	t, err := name.New(h, port)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the port is not valid", err)
	}
	return c.Dial(ctx, t)
}
