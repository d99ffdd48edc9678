package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"watertight/config"
	"watertight/hop"
	"watertight/leaktest"
)

// Options is what a daemon is made of.
type Options struct {
	Config *config.Config
	// Load reads the configuration again, for a reload.
	Load   func() (*config.Config, error)
	Ground hop.Ground
	// Network calls a function at each change of the host's network, until its context ends; an error says why it can
	// do so no longer.
	Network func(ctx context.Context, changed func()) error
	// ResolverFiles are those by which other programs of the host find their resolvers: a change is reason for a leak test.
	ResolverFiles []string
	// Clocks gives the time since some moment, without that for which the host slept and with it.
	Clocks  func() (awake, all time.Duration)
	Log     *slog.Logger
	Version string
	// Environ is the program's own environment, whose proxies a leak test knows by their names; it is not obeyed. Nil: it is not known.
	Environ []string
	// Listening is called once, when the listeners are open.
	Listening func(Listening)
	// Ready is called once, when every channel is ready.
	Ready func()
	// InForce is called with each configuration that a reload puts in force.
	InForce func(*config.Config)
	// Firewall is watched where the configuration has a `guard`. Nil: it is not.
	Firewall Firewall
	// Control says whether to open the control socket.
	Control bool
	// State is the directory for what is kept from one run to the next, where the configuration names none. Empty keeps
	// nothing.
	State string
	// Observer reads the packets of this host while the program tests itself; nil: nobody does.
	Observer leaktest.Observer
	// AskHost asks the host's own resolver for a name, as a client does that resolves by itself: the test's positive control.
	// Nil: there is none.
	AskHost func(ctx context.Context, host string) error
}

// Listening is where a daemon listens.
type Listening struct {
	Proxy, Admin, Transparent []netip.AddrPort
	DNS                       []string // each as it is written in a configuration
	Gateway                   []netip.AddrPort
}

func (o Options) validate() error {
	switch {
	case o.Config == nil, o.Load == nil:
		return errors.New("daemon: it needs a configuration and a way to load the next")
	case o.Ground == nil:
		return errors.New("daemon: it needs a ground to stand on")
	case o.Network == nil:
		return errors.New("daemon: it needs someone who tells of changes of the network")
	case o.Clocks == nil:
		return errors.New("daemon: it needs clocks")
	case o.Log == nil:
		return errors.New("daemon: it needs a log")
	case o.Listening == nil, o.Ready == nil, o.InForce == nil:
		return errors.New("daemon: it needs someone to tell what happens")
	}
	return nil
}
