package httpproxy

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/gate"
	"watertight/httphead"
	"watertight/masque"
	"watertight/name"
	"watertight/route"
	"watertight/wire"
)

// switched is the success of connect-udp over HTTP/1.1 (RFC 9298, section 3.3).
var switched = []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + masque.Protocol + "\r\n" +
	masque.CapsuleProtocol + ": " + masque.CapsuleProtocolTrue + "\r\n\r\n")

// asksUDP says whether a request asks for connect-udp over HTTP/1.1 (RFC 9298, section 3.2), and gives its path. In clear it is
// not taken: datagrams travel inside TLS.
func (s *session) asksUDP(q *httphead.Request) (path string, ok bool) {
	if _, secure := s.conn.(*gate.Secure); !secure || q.Method != "GET" || q.Minor == 0 || !q.Has("Connection", "upgrade") || !q.Has("Upgrade", masque.Protocol) {
		return "", false
	}
	path = q.Target
	if scheme, rest, absolute := strings.Cut(path, "://"); absolute {
		i := strings.IndexByte(rest, '/')
		if !strings.EqualFold(scheme, "https") || i < 0 { // the template is of https alone
			return "", false
		}
		path = rest[i:]
	}
	return path, path[0] == '/'
}

// connectUDP serves a request for connect-udp.
func (s *session) connectUDP(ctx context.Context, q *httphead.Request, path string) (more bool) {
	target, err := masque.ParsePath(path)
	switch {
	case err != nil:
		return s.reject(q, event.DoorConnectUDP, name.Target{}, badFlow())
	case q.HasBody():
		return s.reject(q, event.DoorConnectUDP, target, badRequest("a request for connect-udp has no body", "send capsules after the answer 101"))
	case s.isSelf(target):
		return s.reject(q, event.DoorConnectUDP, target, loop())
	}
	r := route.Request{Door: event.DoorConnectUDP, Client: s.client, Identity: s.identity, Target: target}
	watched, stop := ctx, func() {}
	if !s.r.HasAhead() {
		watched, stop = s.guest.WatchHangUp(ctx)
	}
	far, err := s.d.dialFlow(ctx, watched, r)
	stop()
	switch {
	case err != nil && errors.Is(context.Cause(watched), wire.ErrHungUp):
		return false
	case err != nil:
		return s.refuse(q, fault.Of(err))
	}
	defer far.giveBack()
	if err := s.write(switched); err != nil {
		_ = far.far.Close() // the client is gone
		return false
	}
	_ = s.conn.SetDeadline(time.Time{})
	client := wire.WithHead(s.conn, s.r.Ahead())
	s.r.Release()
	s.d.carry(ctx, newCapsules(stream1{client}), far)
	return false
}

// stream1 is a connection that carries capsules and nothing else any more.
type stream1 struct{ net.Conn }

func (s stream1) finish() { _ = s.Close() }
