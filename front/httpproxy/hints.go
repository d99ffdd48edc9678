package httpproxy

import (
	"errors"
	"net/url"
	"strings"

	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
)

// badRequest is a refusal of what a client sent. An empty hint means the code's own.
func badRequest(message, hint string) *fault.Error {
	return &fault.Error{Code: fault.BadRequest, Message: message, Hint: hint}
}

// badTarget is the refusal of a target that [name.Parse] gave err for.
func badTarget(prefix, written string, err error) *fault.Error {
	return badRequest(prefix+err.Error(), targetHint(written, err))
}

// targetHint says how the target should have been written.
func targetHint(written string, err error) string {
	switch {
	case errors.Is(err, name.ErrPort):
		return "write HOST:PORT with a decimal port from 1 to 65535, as example.com:443"
	case errors.Is(err, name.ErrZone):
		return "take the zone, from the % on, out of the address; a link-local address is not reached through a proxy"
	case errors.Is(err, name.ErrUserinfo):
		return "take what stands before the @ out of the target; credentials for the origin belong in an Authorization header"
	case errors.Is(err, name.ErrEmpty):
		return "write the host that is meant, as example.com:443"
	}
	if ascii := inASCII(written); ascii != "" {
		return "write the host as " + ascii
	}
	return "write the host as a DNS name, an IPv4 address in full, or an IPv6 address in brackets"
}

// headHint says how a head should have been written that was refused with err; empty if no more is known than err
// says.
func headHint(err error) string {
	var t *httphead.TargetError
	if !errors.As(err, &t) {
		return ""
	}
	if ascii := inASCII(t.Target); ascii != "" {
		return "write the host as " + ascii
	}
	return "percent-encode the octets of the path and the query that are not ASCII"
}

// inASCII gives the name, in A-labels (RFC 5890, section 2.3.2.1), that is meant by a target whose host is written in
// other letters or percent-encoded; empty if it is neither.
func inASCII(target string) string {
	if _, rest, ok := strings.Cut(target, "://"); ok {
		target = rest
	}
	if i := strings.IndexAny(target, "/?#"); i >= 0 {
		target = target[:i]
	}
	host, _, _ := strings.Cut(target, ":")
	plain, err := url.PathUnescape(host)
	if err != nil {
		return ""
	}
	h, err := name.ParseHost(plain)
	if err != nil || strings.EqualFold(h.String(), strings.TrimSuffix(host, ".")) {
		return ""
	}
	return h.String()
}
