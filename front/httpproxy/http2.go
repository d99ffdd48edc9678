package httpproxy

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/gate"
	"watertight/http2"
	"watertight/httphead"
	"watertight/httpserve"
	"watertight/masque"
	"watertight/name"
	"watertight/route"
)

// Limits of one connection of HTTP/2.
const (
	maxStreams = 256
	// streamBuffer is what may come of one stream that its far side does not take yet, in octets. The connection has room
	// for that of every stream, so that none keeps the others waiting.
	streamBuffer = 128 << 10
	// pingAfter and pingTimeout end a connection whose client has gone without a word.
	pingAfter, pingTimeout = 45 * time.Second, 15 * time.Second
)

// Streams serves client connections that speak HTTP/2 inside TLS (RFC 9113): a tunnel is a stream of CONNECT (section 8.5), and
// a flow of datagrams one of extended CONNECT (RFC 8441, RFC 9298).
type Streams struct{ d *Door }

// HTTP2 gives the handler of connections that agreed on HTTP/2.
func (d *Door) HTTP2() Streams { return Streams{d} }

// ServeConn serves a client until its connection ends. Ending ctx ends dials and tunnels; a client that is silent is ended
// by closing the connection.
func (s Streams) ServeConn(ctx context.Context, guest *gate.Guest, _ []byte) {
	defer guest.Conn.Close()
	secure, ok := guest.Conn.(*gate.Secure)
	if !ok {
		return
	}
	origins := new(sharedOrigins)
	defer origins.close()
	var c *http2.Conn
	c, err := http2.New(secure.Conn, http2.Options{
		Handler: httpserve.Contain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := &visit{d: s.d, guest: guest, origins: origins, exhausted: c.Drain}
			v.tunnel = func(w http.ResponseWriter, r *http.Request) (tunnelStream, context.Context, error) {
				return &stream2{Stream: w.(http2.Streamer).HTTPStream()}, r.Context(), nil
			}
			v.packets = func(w http.ResponseWriter, r *http.Request) (packetStream, context.Context, error) {
				return newCapsules(&stream2{Stream: w.(http2.Streamer).HTTPStream()}), r.Context(), nil
			}
			v.serve(w, r)
		}), s.d.o.Logger),
		MaxStreams: maxStreams, StreamBuffer: streamBuffer, MaxHeader: httphead.MaxHead,
		HeadTimeout: s.d.o.HeadTimeout, IdleTimeout: s.d.o.IdleTimeout, StallTimeout: s.d.o.StallTimeout,
		PingAfter: pingAfter, PingTimeout: pingTimeout,
	})
	if err != nil || !s.d.enter(c) {
		return
	}
	defer s.d.leave(c)
	c.Serve(ctx)
}

// enter notes a connection of HTTP/2, unless no new requests are taken.
func (d *Door) enter(c *http2.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		return false
	}
	d.streams[c] = struct{}{}
	return true
}

func (d *Door) leave(c *http2.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, c)
}

// visit is one request of a connection with many.
type visit struct {
	d        *Door
	guest    *gate.Guest
	identity client.Identity
	// tunnel gives the stream when success was said, and how long it may live.
	tunnel func(http.ResponseWriter, *http.Request) (tunnelStream, context.Context, error)
	// packets is tunnel for a flow of datagrams.
	packets func(http.ResponseWriter, *http.Request) (packetStream, context.Context, error)
	// origins are the connection's, where a request says whether it is for an http:// URL; nil where it does not.
	origins *sharedOrigins
	// exhausted sees to it that the connection ends.
	exhausted func()
}

// tunnelStream is the client's end of a tunnel.
type tunnelStream interface {
	net.Conn
	finish() // when nothing more is done with it
}

func (v *visit) serve(w http.ResponseWriter, r *http.Request) {
	door, serve := event.DoorHTTP, v.plain
	switch {
	case r.Method == http.MethodConnect && r.Proto == masque.Protocol:
		door, serve = event.DoorConnectUDP, v.connectUDP
	case r.Method == http.MethodConnect:
		door, serve = event.DoorCONNECT, v.connect
	}
	if f := v.admit(r); f != nil {
		if v.guest.Exhausted() || v.guest.Outdated() && r.ProtoMajor == 2 { // HTTP/3 ends with its socket, when its tunnels have had their time
			v.exhausted()
		}
		v.reject(w, r, door, name.Target{}, f)
		return
	}
	leave, err := v.guest.Enter(v.identity)
	if err != nil {
		v.reject(w, r, door, name.Target{}, fault.Of(err))
		return
	}
	defer leave()
	serve(w, r)
}

func (v *visit) admit(r *http.Request) *fault.Error {
	fields := make([]httphead.Field, 0, 1)
	for _, value := range r.Header["Proxy-Authorization"] {
		fields = append(fields, httphead.Field{Name: "Proxy-Authorization", Value: value})
	}
	c, f := credentials(fields, v.guest.NeedsPassword())
	if f != nil {
		return f
	}
	var err error
	v.identity, err = v.guest.Admit(r.Context(), c)
	return fault.Of(err)
}

// connect serves CONNECT: the authority is the target.
func (v *visit) connect(w http.ResponseWriter, r *http.Request) {
	target, err := name.Parse(r.Host)
	switch {
	case isExtended(r):
		v.reject(w, r, event.DoorCONNECT, name.Target{}, badRequest("of extended CONNECT connect-udp alone is served here: the authority of another is not where a tunnel leads",
			"send CONNECT without :protocol, :scheme and :path"))
		return
	case err != nil:
		v.reject(w, r, event.DoorCONNECT, target, badTarget("CONNECT asks for a host and a port: ", r.Host, err))
		return
	case v.isSelf(target):
		v.reject(w, r, event.DoorCONNECT, target, loop())
		return
	}
	server, err := v.d.o.Dialer.Dial(r.Context(), route.Request{Door: event.DoorCONNECT, Client: v.guest.Client, Identity: v.identity, Target: target})
	if err != nil {
		httphead.Refusal{Fault: fault.Of(err)}.Serve(w)
		return
	}
	w.WriteHeader(http.StatusOK)
	stream, ctx, err := v.tunnel(w, r)
	if stream != nil {
		defer stream.finish()
	}
	if err != nil {
		_ = server.Close() // the client is gone
		return
	}
	started := time.Now()
	up, down, _ := v.d.o.Relay(ctx, stream, server) // how a tunnel ends is for its two ends to judge
	v.d.o.Sink.Tunnel(&event.Tunnel{Door: event.DoorCONNECT, Up: up, Down: down, Took: time.Since(started)})
}

// isExtended says whether a CONNECT has a :protocol (RFC 8441, section 4; RFC 9220), with which it has a path too.
func isExtended(r *http.Request) bool { return r.URL.Path != "" || len(r.Header[":protocol"]) > 0 }

func (v *visit) isSelf(t name.Target) bool {
	ap, ok := t.AddrPort()
	return ok && ap == netip.AddrPortFrom(v.guest.Self.Addr(), v.guest.Self.Port())
}

// reject refuses a request that was not given to the dialer, and reports it.
func (v *visit) reject(w http.ResponseWriter, r *http.Request, door event.Door, t name.Target, f *fault.Error) {
	if t.IsValid() {
		f.Target = t.String()
	}
	v.d.o.Sink.Request(&event.Request{Door: door, Client: v.guest.Client, Identity: v.identity, Target: t, Code: f.Code})
	httphead.Refusal{Fault: f, Head: r.Method == http.MethodHead}.Serve(w)
}
