package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/control"
	"watertight/daemon"
	"watertight/leaktest"
	"watertight/leaktest/ordinary"
	"watertight/netwatch"
	"watertight/proxyenv"
	"watertight/wire"
)

// alone starts the proxy of the configuration for the test alone: on free ports of loopback, without a control socket, and
// keeping nothing.
func (t *testFlags) alone(cmd *cobra.Command, ask control.Test) (*leaktest.Report, error) {
	c, err := t.load()
	if err != nil {
		return nil, err
	}
	if t.over.LogLevel == "" {
		c.Log.Level = "warn" // what the test does is no news
	}
	output := newLog(cmd.ErrOrStderr(), c.Log)
	log := slog.New(output)
	fmt.Fprintln(cmd.ErrOrStderr(), "no proxy runs with this configuration: one is started for the test, on ports of its own")
	var usual []netip.AddrPort // where clients reach it otherwise, which the variables of this shell may say
	for _, l := range c.Listen.Proxy {
		usual = append(usual, proxyenv.Reachable(l.Address))
	}
	onLoopback(c, func(left string) {
		log.Warn("a listener is not tested, as the test cannot come in there by a port of its own", "listener", left)
	})
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	listening := make(chan struct{})
	d, err := daemon.New(daemon.Options{
		Config: c, Load: func() (*config.Config, error) { return nil, errors.New("there is nothing to reload") },
		Log: log, Version: version, Ground: wire.Dialer{}, Network: quietNetwork, Clocks: netwatch.Clocks,
		InForce: func(*config.Config) {}, Ready: func() {}, Listening: func(daemon.Listening) { close(listening) },
		AskHost: ordinary.Ask, Observer: daemon.Packets(), Environ: os.Environ(),
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	select {
	case err := <-ended:
		return nil, err
	case <-listening:
	}
	report, err := d.LeakTest(ctx, daemon.TestRequest{
		Only: ask.Only, Trigger: "asked", Control: ask.Control, Progress: ask.Progress, PCAP: ask.PCAP, Environ: os.Environ(),
	})
	stop()
	if report != nil {
		report.Add(leaktest.EnvironmentCase(os.Environ(), usual))
	}
	return report, errors.Join(err, <-ended)
}

// quietNetwork tells of no change: a test is short.
func quietNetwork(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}

// onLoopback puts the listeners of a configuration on free ports of loopback. Those whose certificates come from an authority, or that need
// something of the host, are left out, and told to left.
func onLoopback(c *config.Config, left func(string)) {
	free := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	c.Listen.Proxy = slices.DeleteFunc(c.Listen.Proxy, func(l config.ProxyListener) bool {
		return leave(left, len(l.Names) > 0, "proxy "+l.Address.String())
	})
	for i := range c.Listen.Proxy {
		c.Listen.Proxy[i].Address = free
	}
	c.Listen.DNS = slices.DeleteFunc(c.Listen.DNS, func(l config.DNSListener) bool {
		return leave(left, len(l.Names) > 0, "dns "+l.Text())
	})
	for i := range c.Listen.DNS {
		c.Listen.DNS[i].Address = free
	}
	c.Listen.Gateway = slices.DeleteFunc(c.Listen.Gateway, func(l config.GatewayListener) bool {
		return leave(left, len(l.Names) > 0, "gateway "+l.Address.String())
	})
	for i := range c.Listen.Gateway {
		c.Listen.Gateway[i].Address = free
	}
	for _, l := range c.Listen.Transparent {
		leave(left, true, "transparent "+l.Address.String())
	}
	c.Listen.Transparent, c.Listen.Admin = nil, nil
	c.ACME = config.ACME{}
	c.State = config.NoState
	c.LeakTest = config.LeakTest{Canary: c.LeakTest.Canary, Limit: c.LeakTest.Limit}
}

func leave(left func(string), yes bool, listener string) bool {
	if yes {
		left(listener)
	}
	return yes
}
