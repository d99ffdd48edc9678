package httpproxy

import (
	"strings"

	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
)

// httpPort is the port of an http:// URL without one.
const httpPort = "80"

// absolute reads an absolute-form target (RFC 9112, section 3.2.2). It gives whom to connect to, and the target in
// origin form with its octets as they are. The error is a fault for the client.
func absolute(q *httphead.Request) (t name.Target, origin string, err *fault.Error) {
	scheme, rest, ok := strings.Cut(q.Target, "://")
	switch {
	case !ok:
		return t, "", badRequest("the target is neither HOST:PORT after CONNECT nor an http:// URL", "write the whole URL, as GET http://example.com/ HTTP/1.1")
	case strings.EqualFold(scheme, "https"):
		return t, "", &fault.Error{
			Code: fault.BadRequest, Message: "an https:// URL is not sent to a proxy in clear text: the client must use CONNECT",
			Hint: "this client does not tunnel TLS through a proxy; use one that does, or `watertight exec`",
		}
	case !strings.EqualFold(scheme, "http"):
		return t, "", badRequest("a URL is fetched over http:// only", "reach other schemes through CONNECT or SOCKS")
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, origin = rest[:i], rest[i:]
	}
	if strings.IndexByte(origin, '#') >= 0 {
		return t, "", badRequest("a fragment is not part of a request's target", "take the # and what follows out of the URL")
	}
	t, cause := parseAuthority(authority)
	if cause != nil {
		return t, "", badTarget("the URL's host: ", authority, cause)
	}
	switch {
	case origin == "" && q.Method == "OPTIONS":
		origin = "*" // RFC 9112, section 3.2.4
	case origin == "" || origin[0] == '?':
		origin = "/" + origin
	}
	if q.HasHost {
		// A parser behind us that believed the Host would see another request than we do: so the two must agree.
		if h, cause := parseAuthority(q.Host); cause != nil || h != t {
			return t, "", badRequest("the Host header does not name the host of the URL", "send a Host header with the URL's host and port, "+hostField(t))
		}
	}
	return t, origin, nil
}

// parseAuthority reads HOST or HOST:PORT.
func parseAuthority(s string) (name.Target, error) {
	if strings.IndexByte(s, '@') >= 0 {
		return name.Target{}, name.ErrUserinfo
	}
	if i := strings.LastIndexByte(s, ':'); i < 0 || strings.HasSuffix(s, "]") {
		s += ":" + httpPort
	}
	return name.Parse(s)
}

// hostField is the value of Host for a target: the port only where it is not the scheme's own.
func hostField(t name.Target) string { return strings.TrimSuffix(t.String(), ":"+httpPort) }
