package httpproxy

import (
	"context"
	"errors"
	"net"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

// established is the success of a CONNECT: no Content-Length, no Transfer-Encoding (RFC 9110, section 9.3.6).
var established = []byte("HTTP/1.1 200 Connection established\r\n\r\n")

// connect serves CONNECT (RFC 9110, section 9.3.6). Only the target counts; Host is not looked at.
func (s *session) connect(ctx context.Context, q *httphead.Request) (more bool) {
	target, err := name.Parse(q.Target)
	switch {
	case err != nil:
		return s.reject(q, event.DoorCONNECT, target,
			badTarget("CONNECT asks for a host and a port: ", q.Target, err))
	case q.HasBody():
		return s.reject(q, event.DoorCONNECT, target,
			badRequest("a CONNECT request has no body", "send what is for the far side after the answer 200"))
	case s.isSelf(target):
		return s.reject(q, event.DoorCONNECT, target, loop())
	}
	server, gone, err := s.dialTunnel(ctx, target)
	switch {
	case gone:
		return false
	case err != nil:
		return s.refuse(q, fault.Of(err))
	}
	if err := s.write(established); err != nil {
		_ = server.Close() // the client is gone
		return false
	}
	s.tunnel(ctx, event.DoorCONNECT, server)
	return false
}

// dialTunnel connects to the far side of a tunnel, unless the client hangs up before. gone says that it did, and that
// there is nobody to answer.
func (s *session) dialTunnel(ctx context.Context, t name.Target) (server net.Conn, gone bool, err error) {
	r := route.Request{Door: event.DoorCONNECT, Client: s.client, Identity: s.identity, Target: t}
	if s.r.HasAhead() {
		server, err = s.d.o.Dialer.Dial(ctx, r)
		return server, false, err
	}
	watched, stop := s.guest.WatchHangUp(ctx)
	server, err = s.d.o.Dialer.Dial(watched, r)
	stop()
	return server, err != nil && errors.Is(context.Cause(watched), wire.ErrHungUp), err
}

// tunnel relays between the client, with what it sent already, and server.
func (s *session) tunnel(ctx context.Context, door event.Door, server net.Conn) {
	_ = s.conn.SetDeadline(time.Time{})
	client := wire.WithHead(s.conn, s.r.Ahead())
	s.r.Release()
	started := time.Now()
	up, down, _ := s.d.o.Relay(ctx, client, server) // how a tunnel ends is for its two ends to judge
	s.d.o.Sink.Tunnel(&event.Tunnel{Door: door, Up: up, Down: down, Took: time.Since(started)})
}
