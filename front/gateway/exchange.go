package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
	"watertight/route"
)

// exchange is one request of a client and its response.
type exchange struct {
	g      *Gateway
	w      http.ResponseWriter
	rc     *http.ResponseController
	r      *http.Request
	client netip.AddrPort

	path, query string // as the client wrote them, but for base
	asks        bool   // there is a question mark between them
	base        string // what stood before the path to say who the client is, with a slash before and none at its end
	m           match  // where it was sent
	guest       *guest
	identity    client.Identity // who the client is
	protocol    string          // that the client asks to switch to; empty: none
	body        *clientBody

	mu    sync.Mutex // held while an interim response is written
	final bool       // no interim response may be written any more
}

// serve answers a request.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	x := &exchange{g: g, w: w, rc: http.NewResponseController(w), r: r, protocol: protocolOf(r)}
	x.client, _ = netip.ParseAddrPort(r.RemoteAddr)
	x.path, x.query, x.asks = strings.Cut(r.RequestURI, "?")
	if r.ProtoMajor == 1 {
		x.bound()                   // for what net/http writes by itself, when the body is asked for
		_ = x.rc.EnableFullDuplex() // what the origin answers before it has read all is passed on at once
	}
	if r.ContentLength != 0 {
		x.body = &clientBody{body: r.Body, request: r, rc: x.rc, bounded: r.ProtoMajor == 1}
	}
	defer g.requests.Add(-1)
	if g.requests.Add(1) > g.connections.Load() {
		x.reject(name.Target{}, fault.New(fault.Limit, "the gateway has as many requests as it may", nil))
		return
	}
	x.guest = guestOf(r)
	if f := guard(r, x.guest.terms()); f != nil {
		x.reject(name.Target{}, f)
		return
	}
	leave, f := x.enter(r.Context())
	if f != nil {
		x.reject(name.Target{}, f)
		return
	}
	defer leave()
	x.carry(r.Context())
}

// carry sends the request to the origin and the response to the client.
//
// A request is sent a second time, once and on a new connection, where the connection had carried others before, nothing of
// a response came, nothing of the request's body had been asked for, and either nothing of the request was written or it
// may be repeated: see mayRepeat. A body is never sent twice.
func (x *exchange) carry(ctx context.Context) {
	for second := false; ; second = true {
		t, release := x.g.o.Current()
		m, f := x.match(t)
		if f != nil {
			release()
			x.reject(m.target, f)
			return
		}
		if x.protocol != "" {
			x.upgrade(ctx, t, m, release)
			return
		}
		p := t.pool(m)
		c, again, err := p.get(ctx, x.request(m), second)
		release()
		if again && ctx.Err() == nil { // no dial reported it
			e := event.Request{Door: event.DoorGateway, Client: x.client, Identity: m.identity, Target: m.target, Channel: m.entry.Channel}
			if err != nil {
				e.Code = fault.Of(err).Code
			}
			x.g.o.Sink.Request(&e)
		}
		if err != nil {
			x.fail(ctx, p.origin, err)
			return
		}
		x.m = m
		if c.under != nil {
			c.under.user.Store(x.body)
		}
		var wrote, came bool // by goroutines of the connection, before RoundTrip returns
		var seen sync.Mutex
		see := func(what *bool) func() {
			return func() { seen.Lock(); *what = true; seen.Unlock() }
		}
		sawHead, sawOctet := see(&wrote), see(&came)
		resp, err := c.RoundTrip(x.outgoing(ctx, m, &httptrace.ClientTrace{
			WroteHeaderField: func(string, []string) { sawHead() }, WroteHeaders: sawHead,
			GotFirstResponseByte: sawOctet, Got1xxResponse: x.interim,
		}))
		if err == nil {
			p.heed(c, resp)
			x.respond(ctx, m, resp)
			return
		}
		seen.Lock()
		repeat := again && !second && ctx.Err() == nil && !came && (!wrote || mayRepeat(x.r)) && (x.body == nil || !x.body.touched.Load())
		seen.Unlock()
		if !repeat {
			x.fail(ctx, p.origin, err)
			return
		}
	}
}

// mayRepeat says whether a request may be sent twice: its method is idempotent (RFC 9110, section 9.2.2), or the client says
// that the origin knows it by a key.
func mayRepeat(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return len(r.Header["Idempotency-Key"]) > 0 || len(r.Header["X-Idempotency-Key"]) > 0
}

// request is what the way to the origin is asked for.
func (x *exchange) request(m match) route.Request {
	return route.Request{Door: event.DoorGateway, Client: x.client, Identity: m.identity, Target: m.target}
}

// interim sends an interim response on (RFC 9110, section 15.2). net/http sends 100 itself, when the body is asked for.
func (x *exchange) interim(code int, h textproto.MIMEHeader) error {
	if code == http.StatusContinue || code == http.StatusSwitchingProtocols || x.r.ProtoMajor == 1 && x.r.ProtoMinor == 0 {
		return nil
	}
	fields := http.Header(h)
	if why := malformed(fields); why != "" {
		return errors.New(why)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return nil
	}
	out := x.w.Header()
	x.passFields(out, x.m, fields.Clone())
	x.bound()
	x.w.WriteHeader(code)
	x.unbound()
	clear(out)
	return nil
}

// begin takes the response for the final one.
func (x *exchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.final = true
}

// fail answers for an origin that did not.
func (x *exchange) fail(ctx context.Context, o *origin, err error) {
	x.body.stop()
	// For net/http a client that sends nothing is one that is gone.
	if why, late := x.body.fault(); why != "" && (late || ctx.Err() == nil) {
		x.reject(o.target, &fault.Error{Code: fault.BadRequest, Message: why, Hint: "send the body whole, and without long pauses"})
		return
	}
	if x.body.gone(ctx) {
		panic(http.ErrAbortHandler) // the client is gone: else net/http would answer with an empty success
	}
	var f *fault.Error
	switch {
	case errors.As(err, &f):
	case brokeOff(err):
		f = o.failure("broke off before it answered", err)
	default:
		f = o.failure("broke off, or did not answer in HTTP", err)
	}
	x.refuse(f)
}

// reject refuses a request that no dial reported, and reports it.
func (x *exchange) reject(t name.Target, f *fault.Error) {
	if t.IsValid() && f.Target == "" {
		f.Target = t.String()
	}
	x.g.o.Sink.Request(&event.Request{Door: event.DoorGateway, Client: x.client, Identity: x.identity, Target: t, Code: f.Code})
	x.refuse(f)
}

// linger bounds the time in which what a refused client still sends is thrown away, so that it reads the refusal.
const linger = 2 * time.Second

// refuse tells the client of a fault. Over HTTP/1 the status line has a reason with the code in it, which is what most
// programs print; net/http writes none, and so the connection is taken from it, and ends.
func (x *exchange) refuse(f *fault.Error) {
	x.body.stop()
	x.begin()
	if x.r.ProtoMajor == 1 {
		if conn, buffered, err := x.rc.Hijack(); err == nil {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(linger))
			refusal := httphead.Refusal{Fault: f, Close: true, Head: x.r.Method == http.MethodHead, Origin: true}
			if _, err := conn.Write(refusal.Append(nil)); err != nil {
				return
			}
			if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
				_, _ = io.CopyN(io.Discard, buffered, maxFromClient) // it ends with the client, the time or the limit
			}
			return
		}
	}
	clear(x.w.Header())
	x.bound()
	if x.guest.isOver() {
		x.w.Header()["Connection"] = []string{"close"} // net/http ends a connection of HTTP/2 then, when its requests have
	}
	httphead.Refusal{Fault: f, Head: x.r.Method == http.MethodHead, Origin: true}.Serve(x.w)
}
