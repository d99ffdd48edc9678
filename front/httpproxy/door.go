// Package httpproxy is the door for HTTP/1.1, HTTP/2 and HTTP/3: CONNECT, connect-udp, and requests for http:// URLs.
//
// It promises that success is said only after the far side is connected, that a request which could be read in two
// ways is refused, and that whatever is refused is said in a status line, a Proxy-Status and a JSON body. Connections
// to origins belong to one client connection and are never shared with another. It adds nothing to what it forwards,
// keeps no content, and never opens a socket or looks up a name: it asks its dialer.
package httpproxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/gate"
	"watertight/http2"
	"watertight/httphead"
	"watertight/name"
	"watertight/route"
)

// Dialer connects to what a client asked for, if it may. Its error is a [*fault.Error], and it reports the request.
type Dialer interface {
	Dial(ctx context.Context, r route.Request) (net.Conn, error)
}

// Relay carries bytes between two connections until both ways have ended, and closes both.
type Relay func(ctx context.Context, client, server net.Conn) (up, down int64, err error)

// Options are what a door is made of.
type Options struct {
	Dialer  Dialer
	Packets PacketDialer
	Relay   Relay
	// Sink is told of the requests that the door refuses by itself, of those that went over a connection which was
	// there already, and of the end of each tunnel.
	Sink event.Sink
	// Logger is told of faults of the program, without names.
	Logger *slog.Logger
	// HeadTimeout bounds the time for a request's head. Zero means 10 seconds.
	HeadTimeout time.Duration
	// IdleTimeout bounds the time between two requests. Zero means 90 seconds.
	IdleTimeout time.Duration
	// StallTimeout bounds the time in which a client sends nothing of a body, or takes nothing of a response.
	// Zero means 2 minutes.
	StallTimeout time.Duration
}

func (o *Options) validate() error {
	switch {
	case o.Dialer == nil:
		return errors.New("httpproxy: a door needs a dialer")
	case o.Packets == nil:
		return errors.New("httpproxy: a door needs a dialer for datagrams")
	case o.Relay == nil:
		return errors.New("httpproxy: a door needs a relay")
	case o.Sink == nil:
		return errors.New("httpproxy: a door needs an event sink")
	case o.Logger == nil:
		return errors.New("httpproxy: a door needs a logger")
	case o.HeadTimeout < 0 || o.IdleTimeout < 0 || o.StallTimeout < 0:
		return errors.New("httpproxy: a time is negative")
	}
	for t, d := range map[*time.Duration]time.Duration{
		&o.HeadTimeout: 10 * time.Second, &o.IdleTimeout: 90 * time.Second, &o.StallTimeout: 2 * time.Minute,
	} {
		if *t == 0 {
			*t = d
		}
	}
	return nil
}

// Door serves client connections that speak HTTP.
type Door struct {
	o     Options
	epoch atomic.Uint64 // counts the changes of routes
	flows *flow.Budget

	mu       sync.Mutex
	draining bool
	idle     map[gate.Conn]struct{} // between two requests
	streams  map[*http2.Conn]struct{}
}

// New makes a door.
func New(o Options) (*Door, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Door{o: o, idle: make(map[gate.Conn]struct{}), streams: make(map[*http2.Conn]struct{}), flows: flow.NewBudget(maxFlows)}, nil
}

// RoutesChanged makes every request from now on ask the dialer: connections to origins that stand open are not used
// for new requests.
func (d *Door) RoutesChanged() { d.epoch.Add(1) }

// Drain closes the connections that wait for another request, and lets no other wait. Requests and tunnels in
// progress go on.
func (d *Door) Drain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = true
	for c := range d.idle {
		_ = c.SetReadDeadline(past) // it fails on a connection that is gone already
	}
	for c := range d.streams {
		c.Drain()
	}
}

// past is a deadline that interrupts.
var past = time.Unix(1, 0)

// linger bounds the time in which what a refused client still sends is thrown away, so that it reads the refusal.
const linger = 2 * time.Second

// maxLinger bounds the octets of it.
const maxLinger = 1 << 20

// session is one client connection.
type session struct {
	d        *Door
	guest    *gate.Guest
	conn     gate.Conn // the guest's
	r        *httphead.Reader
	client   netip.AddrPort
	self     netip.AddrPort  // the address that the client connected to
	identity client.Identity // for whom the request is that is being served
	last     bool            // no other request is taken
	origin   origins
}

// ServeConn serves a client of which head was read ahead, until it ends, and closes its connection. Ending ctx ends dials,
// exchanges and tunnels; a client that is silent is ended by closing the connection.
func (d *Door) ServeConn(ctx context.Context, guest *gate.Guest, head []byte) {
	conn := guest.Conn
	defer conn.Close()
	s := &session{d: d, guest: guest, conn: conn, r: httphead.NewReader(conn, head), client: guest.Client, self: guest.Self}
	defer s.r.Release()
	defer s.origin.close()
	for s.request(ctx) && ctx.Err() == nil && s.awaitRequest() {
	}
}

// awaitRequest waits for the first octet of another request.
func (s *session) awaitRequest() bool {
	if s.r.HasAhead() {
		return true
	}
	d := s.d
	d.mu.Lock()
	if d.draining {
		d.mu.Unlock()
		return false
	}
	d.idle[s.conn] = struct{}{}
	_ = s.conn.SetReadDeadline(time.Now().Add(d.o.IdleTimeout))
	d.mu.Unlock()
	err := s.r.Peek()
	d.mu.Lock()
	delete(d.idle, s.conn)
	d.mu.Unlock()
	return err == nil
}

// isDraining says that no response should promise another request.
func (d *Door) isDraining() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.draining
}

// request reads and serves one request, and says whether another may follow.
func (s *session) request(ctx context.Context) (more bool) {
	_ = s.conn.SetReadDeadline(time.Now().Add(s.d.o.HeadTimeout))
	q, err := s.r.Next()
	switch {
	case err == nil:
	case httphead.IsMalformed(err):
		return s.refuseHead(err.Error(), headHint(err))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return s.refuseHead("the request's head did not come within "+s.d.o.HeadTimeout.String(), "send the head at once, and end it with an empty line")
	default:
		return false // the client is gone
	}
	door, serve := event.DoorHTTP, s.plain
	if q.Method == "CONNECT" {
		door, serve = event.DoorCONNECT, s.connect
	}
	s.identity = client.Identity{}
	if f := s.admit(ctx, q); f != nil {
		return s.reject(q, door, name.Target{}, f)
	}
	leave, err := s.guest.Enter(s.identity)
	if err != nil {
		return s.reject(q, door, name.Target{}, fault.Of(err))
	}
	defer leave()
	return serve(ctx, q)
}

// refuseHead answers what is not a request. Where the next one would begin is unknown: the connection ends.
func (s *session) refuseHead(message, hint string) bool {
	f := badRequest(message, hint)
	s.report(event.DoorHTTP, name.Target{}, f)
	_ = s.write(httphead.Refusal{Fault: f, Close: true}.Append(nil)) // the connection ends either way
	s.lingerClose()
	return false
}

// refuse answers a request, and keeps the connection where it is certain where the next request begins.
func (s *session) refuse(q *httphead.Request, f *fault.Error) (more bool) {
	more = q.KeepAlive() && !q.HasBody() && !s.last && !s.d.isDraining()
	if q.Method == "CONNECT" && s.r.HasAhead() {
		more = false // the client began to use a tunnel that it did not get
	}
	r := httphead.Refusal{Fault: f, Close: !more, Head: q.Method == "HEAD"}
	if err := s.write(r.Append(nil)); err != nil {
		return false
	}
	if !more {
		s.lingerClose()
	}
	return more
}

// reject refuses a request that was not given to the dialer, and reports it.
func (s *session) reject(q *httphead.Request, door event.Door, t name.Target, f *fault.Error) (more bool) {
	if t.IsValid() {
		f.Target = t.String()
	}
	s.report(door, t, f)
	return s.refuse(q, f)
}

func (s *session) report(door event.Door, t name.Target, f *fault.Error) {
	s.d.o.Sink.Request(&event.Request{Door: door, Client: s.client, Identity: s.identity, Target: t, Code: f.Code})
}

// write sends to the client, who must take it in time.
func (s *session) write(b []byte) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(s.d.o.StallTimeout))
	_, err := s.conn.Write(b)
	return err
}

// lingerClose ends the connection such that the client can read what was written to it, though it still sends.
func (s *session) lingerClose() {
	if err := s.conn.CloseWrite(); err != nil {
		return
	}
	_ = s.conn.SetReadDeadline(time.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, s.conn, maxLinger) // it ends with the client, the time or the limit
}

// isSelf says whether the target is the very address that the client connected to.
func (s *session) isSelf(t name.Target) bool {
	ap, ok := t.AddrPort()
	return ok && ap == s.self
}

// loop is the refusal of a request that would go round in a circle.
func loop() *fault.Error {
	return &fault.Error{
		Code: fault.BadRequest, Message: "the target is this proxy itself",
		Hint: "take the proxy's own address out of the request; add it to NO_PROXY",
	}
}
