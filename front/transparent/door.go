// Package transparent is the door for connections and datagrams that the firewall hands over, of programs that know of no
// proxy: by REDIRECT or by TPROXY of Linux.
//
// It promises that a connection is taken for the name that our own resolver gave its address out for, or for the one that
// the client says itself (see [choose] for what holds when they differ); that what it read to find out is passed on; and
// that nothing which was meant for this program, or comes from it, goes round in a circle. It never resolves or dials by
// itself. A client that is refused gets a reset.
package transparent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

// Dialer connects to a request's target, or opens a flow of datagrams to it, and reports the request. The errors are
// [*fault.Error].
type Dialer interface {
	Dial(ctx context.Context, r route.Request) (net.Conn, error)
	DialPacket(ctx context.Context, r route.Request) (net.Conn, error)
	// GivenFor gives the names for which an address was given out to a client that asked from an address of its own.
	GivenFor(from, addr netip.Addr) []route.Given
	// Leads gives the name of the channel to a host, or "".
	Leads(h name.Host) string
	// RefusesUngiven says whether what is asked for by an address that was given out to nobody is refused at a door.
	RefusesUngiven(door event.Door) bool
}

// Relay carries octets between client and server until both directions have ended, and gives how many went up and down.
type Relay func(ctx context.Context, client, server net.Conn) (up, down int64, err error)

// Options is what a door is made of.
type Options struct {
	Dialer      Dialer
	Relay       Relay
	Sink        event.Sink
	Logger      *slog.Logger // told of faults of the program and of the host, never of names
	Connections int          // at one time
	Together    *Share       // a limit on them that other doors have too; nil where there is none
	Flows       int          // of datagrams, at one time
	// Own says whether a connection or a datagram from one address to another is this program's own.
	Own func(from, to netip.AddrPort) bool
	// Stands says true for an address that is not looked at as one of the network, and gives the name that it stands for alone; of
	// one that stands for none nothing is carried. See [StandsForNone].
	Stands func(netip.Addr) (name.Host, bool)
	// Refused hears of each datagram that will not be carried, and by whom to whom it was sent; nil tells nobody. It does not wait.
	Refused func(client, meant netip.AddrPort)
	// Full hears of each connection for which there was no room; nil tells nobody. It does not wait.
	Full func()
	// Door and PacketDoor are what connections and datagrams come by, in what is reported.
	Door, PacketDoor event.Door
}

// StandsForNone is [Options.Stands] where every address is one of the network.
func StandsForNone(netip.Addr) (name.Host, bool) { return name.Host{}, false }

func (o Options) validate() error {
	switch {
	case o.Dialer == nil:
		return errors.New("transparent: a door needs a dialer")
	case o.Relay == nil:
		return errors.New("transparent: a door needs a relay")
	case o.Sink == nil:
		return errors.New("transparent: a door needs an event sink")
	case o.Logger == nil:
		return errors.New("transparent: a door needs a logger")
	case o.Own == nil:
		return errors.New("transparent: a door needs to know what is its own")
	case o.Stands == nil:
		return errors.New("transparent: a door needs to know what stands for a name")
	case o.Door == "" || o.PacketDoor == "":
		return errors.New("transparent: a door needs names for what is reported")
	case o.Connections <= 0 || o.Flows <= 0:
		return errors.New("transparent: a door needs limits")
	}
	return nil
}

// Meant gives the address that a connection was made to, before the firewall handed it over.
type Meant func(*net.TCPConn) (netip.AddrPort, error)

// Here is [Meant] for TPROXY: the address is the one at this end, unless that is the listener's own.
func Here(listener netip.AddrPort) Meant {
	return func(conn *net.TCPConn) (netip.AddrPort, error) {
		local, ok := conn.LocalAddr().(*net.TCPAddr)
		if !ok || plain(local.AddrPort()) == plain(listener) {
			return netip.AddrPort{}, wire.ErrNotRedirected
		}
		return plain(local.AddrPort()), nil
	}
}

func plain(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }

// Door serves listeners. A connection belongs to the door, not to the listener that it came by.
type Door struct {
	o           Options
	connections atomic.Int64 // Options.Connections, unless changed since
	open        atomic.Int64
	flows       *flow.Budget
	dropped     atomic.Uint64

	ctx  context.Context // of the connections
	end  context.CancelFunc
	busy sync.WaitGroup

	mu       sync.Mutex
	draining bool
	conns    map[*net.TCPConn]netip.AddrPort // where each was meant for; not valid before that is known
}

// New checks the options.
func New(o Options) (*Door, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	d := &Door{o: o, conns: map[*net.TCPConn]netip.AddrPort{}, flows: flow.NewBudget(o.Flows)}
	d.connections.Store(int64(o.Connections))
	d.ctx, d.end = context.WithCancel(context.Background())
	return d, nil
}

// SetConnections changes the limit from now on.
func (d *Door) SetConnections(n int) { d.connections.Store(int64(n)) }

// Open is how many connections there are.
func (d *Door) Open() int64 { return d.open.Load() }

// Flows is how many flows of datagrams there are.
func (d *Door) Flows() int { return d.flows.Used() }

// Dropped counts datagrams that were not sent on: over a limit, or to a far side that was refused a moment ago.
func (d *Door) Dropped() uint64 { return d.dropped.Load() }

// Drain ends the door, whose listeners have ended: open connections get so much time to end by themselves.
func (d *Door) Drain(limit time.Duration) {
	d.mu.Lock()
	d.draining = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.busy.Wait()
		close(done)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	d.end()
	d.mu.Lock()
	for conn := range d.conns {
		_ = conn.Close()
	}
	d.mu.Unlock()
	<-done
}

// Serve accepts connections on l until ctx ends, and closes l. It gives nil then, or the error that ended the listener.
// The connections stay until [Door.Drain].
func (d *Door) Serve(ctx context.Context, l *net.TCPListener, meant Meant) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer l.Close()
	short := func(err error) { d.o.Logger.Warn("cannot accept connections for now", "error", err) }
	for {
		conn, err := wire.Accept(ctx, l.AcceptTCP, short)
		if ctx.Err() != nil && err != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("transparent: accept: %w", err)
		}
		if !d.enter(conn) {
			if d.o.Full != nil { // first: who is told by the reset may ask at once why
				d.o.Full()
			}
			reset(conn)
			continue
		}
		go func() {
			defer d.leave(conn)
			defer d.contain()
			d.serve(d.ctx, conn, meant)
		}()
	}
}

func (d *Door) enter(conn *net.TCPConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining || d.open.Load() >= d.connections.Load() || !d.o.Together.take(d.open.Load()) {
		return false
	}
	d.open.Add(1)
	d.conns[conn] = netip.AddrPort{}
	d.busy.Add(1)
	return true
}

func (d *Door) leave(conn *net.TCPConn) {
	_ = conn.Close()
	d.mu.Lock()
	delete(d.conns, conn)
	d.mu.Unlock()
	d.open.Add(-1)
	d.o.Together.give()
	d.busy.Done()
}

// learn remembers where a connection was meant for.
func (d *Door) learn(conn *net.TCPConn, meant netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.conns[conn]; ok {
		d.conns[conn] = meant
	}
}

// Has says whether the door has a connection that a client made from one address to another: it was handed over.
func (d *Door) Has(from, meant netip.AddrPort) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for conn, to := range d.conns {
		client, ok := conn.RemoteAddr().(*net.TCPAddr)
		if ok && to == plain(meant) && plain(client.AddrPort()) == plain(from) {
			return true
		}
	}
	return false
}

// contain keeps a panic to its connection or flow.
func (d *Door) contain() {
	v := recover()
	if v == nil {
		return
	}
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	d.o.Logger.Error("a connection failed by a fault of this program", "panic", what, "stack", string(debug.Stack()))
}

// reset ends a connection so that the client does not take it for one that the far side ended.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// serve serves one connection.
func (d *Door) serve(ctx context.Context, conn *net.TCPConn, meant Meant) {
	began := time.Now()
	client, _ := conn.RemoteAddr().(*net.TCPAddr)
	to, err := meant(conn)
	r := route.Request{Door: d.o.Door, Client: plain(client.AddrPort()), Original: to.Addr()}
	if err != nil {
		d.report(r, fault.BadRequest, began)
		d.o.Logger.Info("a connection was turned away that was not redirected", "error", err)
		reset(conn)
		return
	}
	d.learn(conn, to)
	var h heard
	known, err := d.known(&r, to)
	if err == nil && !known {
		if h, err = hear(ctx, conn, to.Port()); err != nil {
			reset(conn)
			return
		}
		r.Target, err = d.target(r.Client, to, h.said, h.state)
	}
	if err != nil {
		d.report(r, fault.Of(err).Code, began)
		reset(conn)
		return
	}
	server, err := d.dial(ctx, conn, r, h.head)
	if err != nil {
		reset(conn)
		return
	}
	defer server.Close()
	began = time.Now()
	up, down, _ := d.o.Relay(ctx, wire.WithHead(conn, h.head), server)
	d.o.Sink.Tunnel(&event.Tunnel{Door: r.Door, Up: up, Down: down, Took: time.Since(began)})
}

// dial connects to the far side, unless the client hangs up before.
func (d *Door) dial(ctx context.Context, conn *net.TCPConn, r route.Request, head []byte) (net.Conn, error) {
	if len(head) > 0 {
		return d.o.Dialer.Dial(ctx, r)
	}
	watched, stop := wire.WatchHangUp(ctx, conn)
	defer stop()
	return d.o.Dialer.Dial(watched, r)
}

// report tells the sink of a request that never came as far as the dialer.
func (d *Door) report(r route.Request, code fault.Code, began time.Time) {
	d.o.Sink.Request(&event.Request{
		Door: r.Door, Client: r.Client, Target: r.Target, Code: code, Took: time.Since(began),
		ClientResolved: code == fault.PolicyClientResolved,
	})
}
