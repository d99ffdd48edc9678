// Package daemon wires the rooms together: it is the only place that knows all of them.
//
// It promises that a request is decided wholly by one configuration, that a reload drops no connection and that an
// invalid one changes nothing, and that the program says it is ready only when the resolver of every channel has
// answered once, authenticated. It holds no policy of its own.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"watertight/accesslog"
	"watertight/acme"
	"watertight/config"
	"watertight/control"
	"watertight/event"
	"watertight/front/dns"
	"watertight/front/gateway"
	"watertight/front/httpproxy"
	"watertight/front/mixed"
	"watertight/front/socksproxy"
	"watertight/front/transparent"
	"watertight/gate"
	"watertight/leaktest/watch"
	"watertight/metrics"
	"watertight/wire"
)

// readyForReload is how long a reload lets new channels become ready before they take over.
const readyForReload = 5 * time.Second

// dnsDrain is how long questions under way have at the end of a listener: as long as the door gives a question at all.
const dnsDrain = 10 * time.Second

// Daemon is the running proxy.
type Daemon struct {
	o       Options
	metrics *metrics.Metrics
	access  *accesslog.Log
	board   switchboard
	http    *httpproxy.Door
	socks   *socksproxy.Door
	port    *mixed.Port
	keeper  *gate.Keeper
	dns     *dns.Door
	gateway *gateway.Gateway
	manager wire.Manager
	acme    *acme.Manager

	transparent *transparent.Door

	sharedMu sync.RWMutex
	shared   shared // changed under reloading only
	started  time.Time

	surface      *control.Server
	closeControl func()
	guests       *guests

	reloading sync.Mutex // one at a time; it also guards what follows
	stopped   bool
	live      context.Context // of channels and connections
	retiring  sync.WaitGroup  // old generations that drain

	servingMu sync.RWMutex
	serving   *listeners // in force; changed under reloading too

	history  history
	contents contents
	callers  *callers
	tunnels  atomic.Int64 // relays that are running

	announced atomic.Bool // that it is ready

	guard *guarded

	testing sync.Mutex // one test of itself at a time
	tests   selfTests
}

// New checks the options and opens nothing.
func New(o Options) (*Daemon, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := &Daemon{o: o, started: time.Now(), closeControl: func() {}, keeper: gate.NewKeeper(), guests: newGuests(o.Config.Limits.Connections)}
	d.guard = newGuarded(o.Firewall, o.Log, d.configuration)
	if err := d.newTests(); err != nil {
		return nil, err
	}
	d.history.loaded(o.Config, nil)
	d.keeper.SetUserLimits(o.Config.Limits.PerUser)
	var err error
	if d.access, err = accesslog.New(o.Log, o.Config.Log.Names); err != nil {
		return nil, err
	}
	if d.acme, err = acme.New(o.Log); err != nil {
		return nil, err
	}
	if d.metrics, err = metrics.New(metrics.Options{Version: o.Version, State: d.state, Log: o.Log}); err != nil {
		return nil, err
	}
	d.callers = newCallers()
	all, err := event.Tee(d.metrics, d.access, d.callers)
	if err != nil {
		return nil, err
	}
	sink := ofUsers{all, &d.tests.clients}
	if err := d.newTransparent(sink); err != nil {
		return nil, err
	}
	if d.http, err = httpproxy.New(httpproxy.Options{Dialer: hosted{d, sink}, Packets: &d.board, Relay: d.relay, Sink: sink, Logger: o.Log}); err != nil {
		return nil, err
	}
	if d.socks, err = socksproxy.New(socksproxy.Options{
		Dialer: hosted{d, sink}, Packets: &d.board, Resolver: &d.board, Relay: d.relay, Sink: sink, Mark: o.Config.Mark(),
	}); err != nil {
		return nil, err
	}
	// Who reaches a socket beyond loopback is on a network of the user's own: the configuration has his word.
	if d.dns, err = dns.New(dns.Options{
		Handler: &d.board, Logger: o.Log, PlainClients: dns.Near(), Drain: dnsDrain,
		ID: o.Config.DNS.IDServer, Version: o.Config.DNS.VersionBind,
	}); err != nil {
		return nil, err
	}
	if d.gateway, err = d.newGateway(sink); err != nil {
		return nil, err
	}
	d.port, err = mixed.New(mixed.Options{
		Handlers:    mixed.Handlers{HTTP: d.http, SOCKS4: d.socks, SOCKS5: d.socks, HTTP2: d.http.HTTP2()},
		Keeper:      d.keeper,
		Logger:      d.access.Sparing(),
		Connections: o.Config.Limits.Connections,
		DrainLimit:  o.Config.Limits.Drain,
	})
	return d, err
}

// Run opens the listeners, serves until ctx ends, and drains: open tunnels have limits.drain to end by themselves.
// It gives nil after an orderly stop.
func (d *Daemon) Run(ctx context.Context) error {
	// Channels and connections outlive ctx: it says that nothing new is taken.
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	if err := d.begin(live); err != nil {
		return err
	}
	var background sync.WaitGroup
	background.Go(func() { _ = d.access.Run(live) })
	background.Go(func() { _ = d.manager.Watchdog(live, func() bool { return d.current() != nil }) })
	background.Go(func() { d.announce(ctx) })
	background.Go(func() { d.watchAround(live) })
	background.Go(func() { d.keepTime(live) })
	background.Go(func() { d.callers.Run(live, watch.Caller) })
	background.Go(func() { d.watchFiles(live) })
	background.Go(func() { d.guard.run(live) })
	background.Go(func() { d.acme.Run(ctx) })
	background.Go(func() { d.tests.schedule.Run(ctx) })
	background.Go(func() { d.tests.hook.Run(ctx) })

	<-ctx.Done()
	d.o.Log.Info("stopping: no new connection is taken, and open ones may end by themselves", "limit", d.drainLimit())
	d.tell(d.manager.Stopping())
	d.finish()
	cut()
	background.Wait()
	return nil
}

// begin opens and starts everything, or nothing.
func (d *Daemon) begin(live context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	var err error
	if d.manager, err = wire.ServiceManager(); err != nil {
		return err
	}
	sockets, err := wire.Activated()
	if err != nil {
		return err
	}
	passed, err := passedListeners(sockets)
	if err != nil {
		return err
	}
	c := d.o.Config
	if err := mayMark(c); err != nil {
		passed.closeUnless(nil)
		return err
	}
	certificates, err := d.certificates(c)
	if err != nil {
		passed.closeUnless(nil)
		return err
	}
	if err := passed.mark(c.Mark()); err != nil {
		passed.closeUnless(nil)
		return err
	}
	serving, err := openListeners(d.wishes(c), passed)
	if err != nil {
		passed.closeUnless(nil)
		return err
	}
	d.shared.own = serving.addresses()
	if err := d.remember(c); err != nil {
		serving.closeUnless(nil)
		return err
	}
	d.contents.recall(d.sharedNow().diary)
	d.lookAtResolverFiles()
	tests, err := d.testsOf(c)
	if err == nil {
		err = d.setTests(tests) // before the first request: a leak may have closed everything in an earlier run
	}
	if err != nil {
		serving.closeUnless(nil)
		return err
	}
	g, err := build(c, d.shared, nil)
	if err != nil {
		serving.closeUnless(nil)
		return err
	}
	d.live = live
	d.setServing(serving)
	d.metrics.SetChannels(g.names())
	g.start(live)
	d.board.swap(g)
	if err := d.openControl(live); err != nil {
		serving.closeUnless(nil)
		g.discard(nil)
		return err
	}
	if err := d.obtain(certificates, g); err != nil {
		d.closeControl()
		serving.closeUnless(nil)
		g.discard(nil)
		return err
	}
	serving.serve(live, d.serve)
	d.warn(c)
	d.o.Listening(Listening{Proxy: serving.at(kindProxy), Admin: serving.at(kindAdmin), Transparent: serving.at(kindTransparent), DNS: serving.dns(), Gateway: serving.at(kindGateway)})
	return nil
}

// warn logs what a configuration allows and should not pass unseen.
func (d *Daemon) warn(c *config.Config) {
	for _, w := range c.Warnings {
		d.o.Log.Warn("the configuration deserves a look", "warning", w.String())
	}
}

// serve serves one listener until ctx ends.
func (d *Daemon) serve(ctx context.Context, l *listener) {
	var err error
	switch l.kind {
	case kindProxy:
		err = d.serveProxy(ctx, l)
	case kindAdmin:
		err = d.serveAdmin(ctx, l)
	case kindDNS:
		err = d.serveDNS(ctx, l)
	case kindGateway:
		err = d.gateway.Serve(ctx, l.socket, l.gatewayTerms)
	case kindTransparent:
		err = d.serveTransparent(ctx, l)
	case kindACME:
		err = d.acme.ServeHTTP(ctx, l.socket)
	}
	if err != nil {
		d.o.Log.Error("a listener failed and is closed", "kind", string(l.kind), "at", l.address(), "error", err)
	}
}

func (d *Daemon) setServing(ls *listeners) {
	d.servingMu.Lock()
	defer d.servingMu.Unlock()
	d.serving = ls
}

// finish takes nothing new, gives open connections their time, and closes the channels.
func (d *Daemon) finish() {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	d.stopped = true
	d.keeper.EndPass()
	d.serving.closeUnless(nil)
	d.drainDoors()
	d.serving.done.Wait()
	d.retiring.Wait()
	g := d.current()
	g.inFlight.Wait()
	g.discard(nil)
	d.closeControl()
}

// Reload loads the configuration, builds it beside the old one, and swaps. On an error nothing has changed; it is
// [control.ErrInvalid] where the configuration is at fault.
func (d *Daemon) Reload(ctx context.Context) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.serving == nil || d.stopped {
		return errors.New("the program is not running")
	}
	if d.announced.Load() { // before, the service manager waits for the start, which a reload does not complete
		d.tell(d.manager.Reloading())
		defer func() { d.tell(d.manager.Ready("")) }()
	}
	c, err := d.o.Load()
	if err != nil {
		err = invalid{err}
	} else {
		err = d.replace(ctx, c)
	}
	d.metrics.Reloaded(err)
	d.history.loaded(c, err)
	if err != nil {
		d.o.Log.Error("the configuration was not reloaded; the one before stays in force", "error", err)
		between := " "
		if errors.Is(err, control.ErrInvalid) {
			between = "\n" // a problem a line, each with its place first
		}
		return fmt.Errorf("the configuration was not reloaded; the one before stays in force:%s%w", between, err)
	}
	d.o.InForce(c)
	d.o.Log.Info("the configuration was reloaded", "file", c.File)
	d.warn(c)
	return nil
}

func (d *Daemon) replace(ctx context.Context, c *config.Config) error {
	if err := d.sameMark(c); err != nil {
		return err
	}
	certificates, err := d.certificates(c)
	if err != nil {
		return invalid{err}
	}
	tests, err := d.testsOf(c)
	if err != nil {
		return invalid{err}
	}
	serving, err := openListeners(d.wishes(c), d.serving)
	if err != nil {
		return err
	}
	s := d.shared
	s.own = serving.addresses()
	before := d.current()
	if s.diary, err = d.diaryOf(c); err != nil {
		serving.closeUnless(d.serving)
		return invalid{err}
	}
	g, err := build(c, s, before)
	if err != nil {
		serving.closeUnless(d.serving)
		return invalid{err}
	}
	d.moveDiary(s)
	d.metrics.SetChannels(g.names())
	g.start(d.live)
	// The old generation serves while the new channels ask their resolvers for the first time.
	patience, stop := context.WithTimeout(ctx, readyForReload)
	g.await(patience)
	stop()

	d.board.swap(g)
	d.renew(g)
	d.settle(c)
	d.resettle(tests)
	if err := d.obtain(certificates, g); err != nil {
		d.o.Log.Error("the certificates to obtain could not be changed", "error", err) // the configuration was checked
	}
	serving.serve(d.live, d.serve)
	d.serving.closeUnless(serving)
	d.setServing(serving)
	d.keeper.EndPass() // a test that is under way came in by the doors of before
	d.retiring.Go(func() {
		before.inFlight.Wait()
		before.discard(g)
	})
	return nil
}
