// Package mixed is the one port on which every proxy protocol is spoken: it accepts connections, tells the protocol by
// its first octet and hands each connection to the handler for it.
//
// It promises that a connection which has sent nothing holds no buffer, that their number and the time they may stay
// silent are bounded, and that a handler that fails takes down its own connection only. It never reads more than what
// came with the first octet, and never writes but to turn a client away.
package mixed

import (
	"context"
	"crypto/tls"
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

	"watertight/gate"
	"watertight/wire"
)

// Handler serves connections of one protocol.
//
//  1. head are the octets read already, at least one. The handler owns them.
//  2. The handler closes the guest's connection before it returns. No deadline is set on it.
//  3. When ctx ends the handler ends what it waits for; its client connection is closed under it.
type Handler interface {
	ServeConn(ctx context.Context, guest *gate.Guest, head []byte)
}

// Drainer is a handler with connections that wait for another request. Drain tells it to let them wait no longer.
type Drainer interface{ Drain() }

// Handlers are the handlers of a port. All of them are needed.
type Handlers struct {
	HTTP   Handler // an ASCII letter: the method of a request
	SOCKS4 Handler // 0x04
	SOCKS5 Handler // 0x05
	HTTP2  Handler // agreed on inside TLS; nothing is read ahead
}

// Options are what a port is made of.
type Options struct {
	Handlers Handlers
	Keeper   *gate.Keeper
	Logger   *slog.Logger // told of faults of the program and of the host, never of names
	// Connections bounds the connections at one time, over all listeners. Zero means 20,000.
	Connections int
	// FirstOctet bounds the time until a client says something. Zero means 30 seconds.
	FirstOctet time.Duration
	// DrainLimit bounds the time that connections get to end by themselves when Serve is told to end. Zero means
	// that they get none.
	DrainLimit time.Duration
}

func (o *Options) validate() error {
	switch {
	case o.Handlers.HTTP == nil || o.Handlers.SOCKS4 == nil || o.Handlers.SOCKS5 == nil || o.Handlers.HTTP2 == nil:
		return errors.New("mixed: a port needs a handler for each protocol")
	case o.Keeper == nil:
		return errors.New("mixed: a port needs someone who keeps the gate")
	case o.Logger == nil:
		return errors.New("mixed: a port needs a logger")
	case o.Connections < 0 || o.FirstOctet < 0 || o.DrainLimit < 0:
		return errors.New("mixed: a limit is negative")
	}
	if o.Connections == 0 {
		o.Connections = 20000
	}
	if o.FirstOctet == 0 {
		o.FirstOctet = 30 * time.Second
	}
	return nil
}

// Stats counts what happened on a port since it was made.
type Stats struct {
	Open     int64 // connections at this time
	Accepted uint64
	Refused  uint64 // over the limit
	Unknown  uint64 // a first octet of no protocol spoken here
	// Handshakes counts those of TLS that failed.
	Handshakes uint64
	Panics     uint64
}

// Port serves listeners. A connection belongs to the port, not to the listener that it came by.
type Port struct {
	o           Options
	connections atomic.Int64 // Options.Connections, unless changed since
	drainLimit  atomic.Int64 // Options.DrainLimit, unless changed since

	stats struct {
		open                                           atomic.Int64
		accepted, refused, unknown, handshakes, panics atomic.Uint64
	}
	turning atomic.Int64 // connections that are being turned away

	ctx      context.Context // the handlers', which ends where the drain's limit is reached
	end      context.CancelFunc
	handlers sync.WaitGroup

	mu       sync.Mutex
	draining bool
	conns    map[*net.TCPConn]bool // all connections; true for those that have said nothing
}

// New makes a port.
func New(o Options) (*Port, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p := &Port{o: o, conns: make(map[*net.TCPConn]bool)}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.connections.Store(int64(o.Connections))
	p.drainLimit.Store(int64(o.DrainLimit))
	return p, nil
}

// SetLimits changes the limits from now on; what is open stays open. They mean what they mean in [Options].
func (p *Port) SetLimits(connections int, drain time.Duration) error {
	o := p.o
	o.Connections, o.DrainLimit = connections, drain
	if err := o.validate(); err != nil {
		return err
	}
	p.connections.Store(int64(o.Connections))
	p.drainLimit.Store(int64(o.DrainLimit))
	return nil
}

// Take counts a connection that came by another way than a listener of the port, until leave is called. It gives false
// where there are as many as may be.
func (p *Port) Take() (leave func(), ok bool) {
	if p.stats.open.Add(1) > p.connections.Load() {
		p.stats.open.Add(-1)
		p.stats.refused.Add(1)
		return nil, false
	}
	p.stats.accepted.Add(1)
	return sync.OnceFunc(func() { p.stats.open.Add(-1) }), true
}

// Crowded says that a quarter of the connections that may be there is, so that forged ones could keep others out.
func (p *Port) Crowded() bool { return p.stats.open.Load() >= p.connections.Load()/4 }

// Stats gives the counts.
func (p *Port) Stats() Stats {
	return Stats{
		Open:       p.stats.open.Load(),
		Accepted:   p.stats.accepted.Load(),
		Refused:    p.stats.refused.Load(),
		Unknown:    p.stats.unknown.Load(),
		Handshakes: p.stats.handshakes.Load(),
		Panics:     p.stats.panics.Load(),
	}
}

// Way is what a listener asks of those who come by it.
type Way struct {
	// Rules say who is let in.
	Rules *gate.Rules
	// TLS is what is spoken there; nil: the port is in clear, and no client that begins TLS is served.
	TLS *tls.Config
	// Balancers are the networks of those who begin each connection with a header of the PROXY protocol. From others it is
	// rubbish.
	Balancers []netip.Prefix
}

// Serve accepts connections on l until ctx ends, and closes l. It gives nil then, or the error that ended the listener.
// The connections stay until [Port.Drain]. It may be called for several listeners at once. way gives what is in force for
// the listener; it is called for each connection and for each request, and never gives nil.
func (p *Port) Serve(ctx context.Context, l *net.TCPListener, way func() *Way) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	err := p.accept(ctx, l, way)
	_ = l.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Drain ends the port, whose listeners have ended or are about to. Connections that have said nothing or wait for
// another request are closed, the others get the drain limit, and what is left is closed. It returns when the last
// handler has.
func (p *Port) Drain() {
	p.mu.Lock()
	p.draining = true
	for conn, silent := range p.conns {
		if silent {
			_ = conn.Close()
		}
	}
	p.mu.Unlock()
	for _, h := range []Handler{p.o.Handlers.HTTP, p.o.Handlers.SOCKS4, p.o.Handlers.SOCKS5} {
		if d, ok := h.(Drainer); ok {
			d.Drain()
		}
	}
	done := make(chan struct{})
	go func() {
		p.handlers.Wait()
		close(done)
	}()
	limit := time.NewTimer(time.Duration(p.drainLimit.Load()))
	defer limit.Stop()
	select {
	case <-done:
		p.end()
		return
	case <-limit.C:
	}
	p.end()
	p.mu.Lock()
	for conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	<-done
}

// accept takes connections until the listener is closed.
func (p *Port) accept(ctx context.Context, l *net.TCPListener, way func() *Way) error {
	short := func(err error) { p.o.Logger.Warn("cannot accept connections for now", "error", err) }
	for {
		conn, err := wire.Accept(ctx, l.AcceptTCP, short)
		if err != nil {
			return fmt.Errorf("mixed: accept: %w", err)
		}
		p.stats.accepted.Add(1)
		if !p.enter(conn) {
			_ = conn.Close()
			continue
		}
		if p.stats.open.Add(1) > p.connections.Load() {
			p.stats.open.Add(-1)
			p.stats.refused.Add(1)
			go p.turnAway(conn)
			continue
		}
		go p.serveConn(conn, way)
	}
}

// enter books a connection and its handler, unless it is too late.
func (p *Port) enter(conn *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.draining {
		return false
	}
	p.conns[conn] = true
	p.handlers.Add(1)
	return true
}

// leave is the end of a connection that was entered.
func (p *Port) leave(conn *net.TCPConn) {
	p.mu.Lock()
	delete(p.conns, conn)
	p.mu.Unlock()
	p.handlers.Done()
}

// serveConn waits for the first octet and hands the connection on.
func (p *Port) serveConn(conn *net.TCPConn, way func() *Way) {
	defer p.leave(conn)
	defer p.stats.open.Add(-1)
	defer p.contain(conn)
	_ = conn.SetReadDeadline(time.Now().Add(p.o.FirstOctet))
	head, err := firstOctets(conn)
	if err != nil || !p.speaks(conn) {
		_ = conn.Close() // silent, gone or too late
		return
	}
	w := way()
	guest := gate.NewGuest(conn, p.o.Keeper, func() *gate.Rules { return way().Rules })
	if isBalancer(w.Balancers, guest.Client.Addr()) {
		var from netip.AddrPort
		var ok bool
		if head, from, ok = p.behind(conn, head); ok && len(head) == 0 {
			head, err = firstOctets(conn)
		}
		if !ok || err != nil {
			if !ok {
				p.stats.unknown.Add(1)
				p.o.Logger.Info("a client was turned away", "reason", "it is listed under `proxy_protocol`, and did not begin with a header of the PROXY protocol")
			}
			_ = conn.Close()
			return
		}
		if from.IsValid() {
			guest.Client = from
		}
	}
	_ = conn.SetReadDeadline(time.Time{})
	if w.TLS != nil {
		var ok bool
		if head, ok = p.secure(guest, conn, head, w.TLS); !ok {
			return
		}
		if head == nil {
			p.o.Handlers.HTTP2.ServeConn(p.ctx, guest, nil)
			return
		}
	}
	h, why := p.o.Handlers.choose(head[0])
	if h == nil {
		p.stats.unknown.Add(1)
		p.o.Logger.Info("a client was turned away", "reason", why)
		if head[0] == tlsHandshake && w.TLS == nil {
			p.tell(conn, noTLS)
		}
		_ = guest.Conn.Close()
		return
	}
	h.ServeConn(p.ctx, guest, head)
}

// tlsHandshake is the first octet of a client that speaks TLS: the type of the record (RFC 8446, section 5.1).
const tlsHandshake = 0x16

// choose gives the handler for a first octet, or the reason why there is none.
func (h Handlers) choose(first byte) (Handler, string) {
	switch {
	case first == 4:
		return h.SOCKS4, ""
	case first == 5:
		return h.SOCKS5, ""
	case first >= 'A' && first <= 'Z', first >= 'a' && first <= 'z':
		return h.HTTP, ""
	case first == tlsHandshake:
		return nil, "it speaks TLS, and this port does not: give the proxy as http://, not https://"
	default:
		return nil, fmt.Sprintf("its first octet, 0x%02x, begins no protocol spoken here", first)
	}
}

// contain keeps a panic to its connection. The log gets the stack, which holds no names, and of the panic's value
// only the type, unless the runtime made it.
func (p *Port) contain(conn *net.TCPConn) {
	v := recover()
	if v == nil {
		return
	}
	_ = conn.Close()
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	p.o.Logger.Error("a connection failed by a fault of this program", "panic", what, "stack", string(debug.Stack()))
	p.stats.panics.Add(1)
}

// speaks marks a connection as one that has said something. It gives false where it is too late.
func (p *Port) speaks(conn *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = false
	return !p.draining
}
