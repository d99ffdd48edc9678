package daemon

import (
	"context"
	"crypto/tls"
	"os"
	"strconv"
	"time"

	"watertight/control"
	"watertight/gate"
	"watertight/resolve"
	"watertight/wire"
)

// The daemon is what the control surface shows and steers.
var (
	_ control.Source = (*Daemon)(nil)
	_ control.Keeper = (*Daemon)(nil)
)

// openControl makes the surface, and serves it on the control socket. Without a place for the socket the program
// runs on, and says that it can be steered by signals only.
func (d *Daemon) openControl(live context.Context) error {
	var err error
	d.surface, err = control.New(control.Options{Source: d, Metrics: d.metrics.Handler(), Log: d.o.Log})
	if err != nil || !d.o.Control {
		return err
	}
	socket, err := control.Listen(live, control.SocketPath())
	if err != nil {
		d.o.Log.Warn("there is no control socket: `watertight status` and `reload` will not find this program (SIGHUP reloads it, where there are signals)", "error", err)
		return nil
	}
	ctx, stop := context.WithCancel(live)
	done := make(chan struct{})
	d.closeControl = func() { stop(); <-done }
	go func() {
		defer close(done)
		if err := d.surface.ServeControl(ctx, socket); err != nil {
			d.o.Log.Error("the control socket failed", "error", err)
		}
	}()
	return nil
}

func (d *Daemon) serveAdmin(ctx context.Context, l *listener) error {
	return d.surface.ServeAdmin(ctx, l.socket, control.Door{
		TLS:    func() *tls.Config { return l.way.Load().TLS },
		Rules:  func() *gate.Rules { return l.way.Load().Rules },
		Keeper: d.keeper,
	})
}

// Ready says whether every channel is ready, and otherwise which is not and why.
func (d *Daemon) Ready() (bool, []string) {
	ready, why := d.current().ready()
	if c := d.tests.valve.Closed(); c != nil {
		return false, append([]string{"closed: " + c.String()}, why...)
	}
	return ready, why
}

// Status tells what the program is doing.
func (d *Daemon) Status() control.Status {
	g := d.current()
	ready, _ := d.Ready()
	totals := d.metrics.Totals()
	s := control.Status{
		Version:            d.o.Version,
		PID:                os.Getpid(),
		Started:            d.started,
		UptimeSeconds:      int64(time.Since(d.started).Seconds()),
		Ready:              ready,
		Listeners:          d.listening(),
		Channels:           []control.Channel{},
		Connections:        d.port.Stats().Open,
		Tunnels:            control.Tunnels{Active: d.tunnels.Load(), Total: totals.Tunnels + uint64(max(0, d.tunnels.Load()))},
		Requests:           control.Requests{Total: totals.Requests, Refused: map[string]uint64{}, ClientResolved: totals.ClientResolved, ClientResolvedBy: d.callers.all()},
		TrappedHostLookups: wire.Trapped(),
		Config:             d.history.status(),
		ResolverFiles:      d.contents.all(),
	}
	if stats := d.dnsStats(); stats != nil {
		s.DNS = &control.DNS{Queries: stats.Queries, Dropped: stats.Dropped(), Truncated: stats.Truncated, Waiting: stats.Waiting, WPAD: stats.WPAD}
	}
	s.Certificates = d.certificateStatus()
	s.Contained = d.guestStatus()
	s.LeakTest = d.testStatus()
	s.Guard = d.guard.status()
	for code, n := range totals.Refused {
		s.Requests.Refused[string(code)] = n
	}
	for _, r := range g.channels {
		s.Channels = append(s.Channels, statusOf(r))
	}
	return s
}

func (d *Daemon) listening() []control.Listener {
	d.servingMu.RLock()
	defer d.servingMu.RUnlock()
	list := []control.Listener{}
	for _, l := range d.serving.all {
		list = append(list, control.Listener{Kind: string(l.kind), Address: l.text()})
	}
	return list
}

// Proxies gives the listeners that browsers can be pointed at.
func (d *Daemon) Proxies() (all []control.Proxy) {
	d.servingMu.RLock()
	defer d.servingMu.RUnlock()
	for _, l := range d.serving.all {
		if l.kind == kindProxy {
			way := l.way.Load()
			all = append(all, control.Proxy{Address: l.address(), TLS: way != nil && way.TLS != nil})
		}
	}
	return all
}

func statusOf(r *running) control.Channel {
	spec := r.Spec()
	c := control.Channel{
		Name: spec.Name, Over: spec.Over, Hops: []string{}, Resolve: "here", Ready: r.Ready(), Identities: r.Partitions(),
		Resolver: control.Resolver{Upstreams: []control.Upstream{}},
	}
	for _, p := range spec.Proxies {
		c.Hops = append(c.Hops, p.String())
	}
	tunnelStatus(r, &c)
	if spec.Pool != nil {
		pool, _ := r.Pool()
		c.Hops, c.Pool = append(c.Hops, pool.String()), poolOf(r)
	}
	if err := r.WhyNotReady(); err != nil {
		c.Reason = reasonOf(err)
	}
	stats, resolves := r.ResolverStats()
	if !resolves {
		c.Resolve = "exit"
		return c
	}
	c.Cache = control.Cache{
		Entries: stats.Entries, Bytes: stats.Octets, LimitBytes: stats.MaxOctets, Hits: stats.Hits, Misses: stats.Misses,
		Stale: stats.Stale, Evicted: stats.Evicted, Prefetched: stats.Prefetch,
	}
	c.Resolver.Strategy, c.Resolver.SeesName = stats.Strategy, stats.Asked
	c.Resolver.DNSSEC = validationOf(stats.DNSSEC)
	for _, u := range stats.Upstreams {
		c.Resolver.Upstreams = append(c.Resolver.Upstreams, control.Upstream{
			Name: u.Upstream, Protocol: u.Protocol, ECH: u.ECH, Healthy: u.Healthy, LastError: u.LastError, Queries: u.Asked, Failures: u.Errors,
		})
	}
	return c
}

// validationOf is how answers are judged; nil where they are not.
func validationOf(v resolve.Validation) *control.DNSSEC {
	if v.Mode == resolve.Off {
		return nil
	}
	d := &control.DNSSEC{
		Mode: string(v.Mode), Secure: v.Secure, Insecure: v.Insecure, Bogus: v.Bogus, Indeterminate: v.Indeterminate,
		Chain: v.Chain, Anchors: map[string]string{}, LastError: v.AnchorsError,
	}
	for tag, state := range v.Anchors {
		d.Anchors[strconv.Itoa(int(tag))] = string(state)
	}
	return d
}

// invalid is an error of the configuration, for those who ask for a reload.
type invalid struct{ error }

// Is implements the interface of [errors.Is].
func (e invalid) Is(target error) bool { return target == control.ErrInvalid }

// Unwrap gives what is wrong.
func (e invalid) Unwrap() error { return e.error }

// status tells which configuration is in force.
func (h *history) status() control.Config {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := control.Config{Path: h.file, LoadedAt: h.loadedAt, Reloads: h.reloads}
	if h.lastErr != nil {
		c.LastError = h.lastErr.Error()
	}
	return c
}
