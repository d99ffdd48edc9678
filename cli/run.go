package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"watertight/config"
	"watertight/daemon"
	"watertight/leaktest/ordinary"
	"watertight/netwatch"
	"watertight/proxyenv"
	"watertight/state"
	"watertight/wire"
)

func newRun() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Start the proxy: sealed defaults on 127.0.0.1:8080 where no file says otherwise",
		Long: "Starts the proxy in the foreground. It is ready when the resolver of every channel has answered once,\n" +
			"authenticated; until then requests wait a moment and are refused.\n\n" +
			"SIGHUP or `watertight reload` reads the configuration again; SIGTERM waits for open tunnels, up to\n" +
			"limits.drain, and a second SIGTERM does not.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.load()
			if err != nil {
				return err
			}
			return run(cmd, &o, c)
		},
	}
	o.add(cmd)
	return cmd
}

func run(cmd *cobra.Command, o *options, c *config.Config) error {
	output := newLog(cmd.ErrOrStderr(), c.Log)
	log := slog.New(output)
	reportEnvironment(log)
	d, err := daemon.New(daemon.Options{
		Config:  c,
		Load:    o.again(c.File),
		Log:     log,
		Version: version,
		Ground:  wire.Dialer{},
		Network: wire.WatchNetwork,
		Clocks:  netwatch.Clocks,
		Control: true,

		ResolverFiles: netwatch.ResolverFiles(),
		State:         state.Default(os.LookupEnv),
		AskHost:       ordinary.Ask,
		Environ:       os.Environ(),
		Observer:      daemon.Packets(),
		Firewall:      daemon.HostFirewall(),
		InForce:       func(c *config.Config) { output.set(c.Log) },
		Ready:         func() { fmt.Fprintln(cmd.OutOrStdout(), "ready: the resolver of every channel has answered") },
		Listening: func(l daemon.Listening) {
			banner(cmd.OutOrStdout(), c, l)
		},
	})
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	var reloads sync.WaitGroup
	defer reloads.Wait()
	defer close(reload)
	defer signal.Stop(reload)
	reloads.Go(func() {
		for range reload {
			_ = d.Reload(cmd.Context()) // it logs what came of it
		}
	})
	err = d.Run(cmd.Context())
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// again reads the configuration for a reload. Once a file was found it is that file or an error: one that has vanished
// does not let another, or the defaults, take its place.
func (o *options) again(file string) func() (*config.Config, error) {
	return func() (*config.Config, error) { // one at a time
		if file == "" {
			c, err := config.Load(o.file, o.over)
			if err == nil {
				file = c.File
			}
			return c, err
		}
		c, err := config.Read(file, config.ThisHost())
		if err != nil {
			return nil, err
		}
		return c.Override(o.over)
	}
}

// reportEnvironment says which proxy variables are set: our own traffic does not obey them.
func reportEnvironment(log *slog.Logger) {
	var set []string
	for _, v := range []string{"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		if os.Getenv(v) != "" {
			set = append(set, v)
		}
	}
	if len(set) > 0 {
		log.Info("proxy variables of the environment are not obeyed by Watertight itself; use `proxy:` of a channel", "set", strings.Join(set, " "))
	}
}

// banner tells a person what listens where and what to do next.
func banner(w io.Writer, c *config.Config, l daemon.Listening) {
	for _, at := range l.Proxy {
		fmt.Fprintf(w, "listening on %s: HTTP CONNECT, plain HTTP, SOCKS4a and SOCKS5\n", at)
	}
	for _, at := range l.DNS {
		fmt.Fprintf(w, "dns on %s, for programs that resolve by themselves\n", at)
	}
	for i, at := range l.Gateway { // in the order of the configuration
		fmt.Fprintf(w, "gateway on %s, for programs that take a base URL\n", c.Listen.Gateway[i].Base(at))
	}
	for _, at := range l.Transparent {
		fmt.Fprintf(w, "transparent on %s, for what the firewall hands over\n", at)
	}
	for _, at := range l.Admin {
		fmt.Fprintf(w, "admin on http://%s: /healthz /readyz /metrics /status /proxy.pac\n", at)
	}
	for _, ch := range c.Channels {
		fmt.Fprintf(w, "channel %s: %s\n", ch.Name, describe(ch))
	}
	plain := c.Listen.Plain() // the listeners are in the order of the configuration
	if plain < 0 || plain >= len(l.Proxy) {
		return
	}
	fmt.Fprintf(w, "\nto use it from this shell (also: eval \"$(watertight env)\"):\n\n")
	_ = proxyenv.Write(w, proxyenv.Sh, proxyenv.Vars(l.Proxy[plain])) // the shell is known, and the terminal's trouble is not ours
	fmt.Fprintln(w)
}

// describe says in a line what a channel is, without secrets.
func describe(c config.Channel) string {
	var parts []string
	if c.Over != "" {
		parts = append(parts, "over "+c.Over)
	}
	for _, p := range c.Proxies {
		parts = append(parts, "through "+p.String())
	}
	if c.WireGuard != nil {
		for _, p := range c.WireGuard.Tunnel.Peers {
			parts = append(parts, "through wireguard://"+p.Endpoint.String())
		}
	}
	if c.Pool != nil {
		parts = append(parts, "through "+c.Pool.Spec.String())
	}
	if c.ResolveAtExit {
		return strings.Join(append(parts, "names are resolved by its exit"), ", ")
	}
	return strings.Join(append(parts, resolvers(c.Resolver)...), ", ")
}

// resolvers says which upstreams see a name.
func resolvers(r config.Resolver) []string {
	var names []string
	for _, u := range r.Upstreams {
		names = append(names, u.Text)
	}
	var parts []string
	switch s := r.Strategy; {
	case s.Random:
		return []string{"each name is resolved by one of " + strings.Join(names, ", ")}
	case s.Race > 0:
		parts = []string{"names are resolved by " + strings.Join(names[:s.Race], " and ") + " at once"}
		names = names[s.Race:]
	default:
		parts = []string{"names are resolved by " + names[0]}
		names = names[1:]
	}
	for _, name := range names {
		parts = append(parts, "or, if that cannot be reached, "+name)
	}
	return parts
}
