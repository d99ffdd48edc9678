package httpproxy

import (
	"context"
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
			fault.New(fault.BadRequest, "CONNECT asks for a host and a port: "+err.Error(), nil))
	case q.HasBody():
		return s.reject(q, event.DoorCONNECT, target,
			fault.New(fault.BadRequest, "a CONNECT request has no body", nil))
	case s.isSelf(target):
		return s.reject(q, event.DoorCONNECT, target, loop())
	}
	server, err := s.d.o.Dialer.Dial(ctx, route.Request{Door: event.DoorCONNECT, Client: s.client, Target: target})
	if err != nil {
		return s.refuse(q, fault.Of(err))
	}
	if err := s.write(established); err != nil {
		_ = server.Close() // the client is gone
		return false
	}
	s.tunnel(ctx, event.DoorCONNECT, server)
	return false
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
