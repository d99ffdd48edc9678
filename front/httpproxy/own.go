package httpproxy

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"watertight/event"
	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
)

// methods is what an OPTIONS of the proxy itself gives.
const methods = "CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE"

// plain serves every method but CONNECT.
func (s *session) plain(ctx context.Context, q *httphead.Request) (more bool) {
	if q.Target == "*" && q.Method == "OPTIONS" {
		return s.options(q)
	}
	if path, ok := s.asksUDP(q); ok {
		return s.connectUDP(ctx, q, path)
	}
	if q.Target[0] == '/' || q.Target == "*" {
		return s.reject(q, event.DoorHTTP, name.Target{}, s.notAServer())
	}
	target, origin, refusal := absolute(q)
	switch {
	case refusal != nil:
		return s.reject(q, event.DoorHTTP, target, refusal)
	case s.isSelf(target):
		return s.reject(q, event.DoorHTTP, target, loop())
	case q.Method == "TRACE" && q.HasBody():
		return s.reject(q, event.DoorHTTP, target, badRequest("a TRACE request has no body", "leave the body out"))
	}
	forwards := -1
	if q.Method == "TRACE" || q.Method == "OPTIONS" {
		var ok bool
		if forwards, ok = maxForwards(q); !ok {
			return s.reject(q, event.DoorHTTP, target,
				badRequest("Max-Forwards is not one plain decimal number", "send it once, as Max-Forwards: 10, or not at all"))
		}
	}
	switch {
	case forwards == 0 && q.Method == "TRACE":
		return s.trace(q)
	case forwards == 0:
		return s.options(q)
	}
	x := &exchange{session: s, q: q, target: target, originForm: origin, forwards: forwards - 1, old: q.Minor == 0}
	if protocol, ok := upgrade(q); ok {
		return x.upgrade(ctx, protocol)
	}
	return x.forward(ctx)
}

// notAServer is the refusal of a request that names no host: someone opened the proxy's address in a browser, or
// gave it as a base URL.
func (s *session) notAServer() *fault.Error {
	return &fault.Error{
		Code: fault.BadRequest, Message: "this is a proxy, not a web server: the request names no host",
		Hint: fmt.Sprintf("use it as a proxy, HTTPS_PROXY=http://%v and HTTP_PROXY=http://%v; `watertight env` prints all variables", s.self, s.self),
	}
}

// maxForwards gives the value of Max-Forwards (RFC 9110, section 7.6.2), -1 if there is none.
func maxForwards(q *httphead.Request) (int, bool) {
	found := -1
	for _, f := range q.Fields {
		if !strings.EqualFold(f.Name, "Max-Forwards") {
			continue
		}
		n, err := strconv.ParseUint(f.Value, 10, 31)
		if err != nil || found >= 0 {
			return 0, false
		}
		found = int(n)
	}
	return found, true
}

// options answers for the proxy itself (RFC 9110, section 9.3.7).
func (s *session) options(q *httphead.Request) (more bool) {
	return s.answer(q, "Allow: "+methods+"\r\n", "")
}

// trace answers for the proxy itself with the request as it came (RFC 9110, section 9.3.8), without the fields that
// may hold a secret.
func (s *session) trace(q *httphead.Request) (more bool) {
	return s.answer(q, "Content-Type: message/http\r\n", echoed(q))
}

// answer sends 200 with the given field lines and body.
func (s *session) answer(q *httphead.Request, fields, body string) (more bool) {
	more = q.KeepAlive() && !q.HasBody() && !s.d.isDraining()
	if !more {
		fields += "Connection: close\r\n"
	}
	err := s.write(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", fields, len(body), body))
	if !more && err == nil {
		s.lingerClose()
	}
	return more && err == nil
}
