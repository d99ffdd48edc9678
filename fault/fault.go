// Package fault is what went wrong, said once and shown in every language a client speaks: an HTTP status with a
// reason phrase, a SOCKS reply, a DNS response code, an exit code.
//
// It promises that a code is stable, and that a fault's text carries no secret. It never decides what to do next:
// there is nothing to do next, a fault is final.
package fault

import (
	"errors"
	"strings"
)

// Code is a stable name for a kind of failure. Scripts compare it; it never changes meaning.
type Code string

// The codes. interface order: DNS, resolver, connection, policy, the rest.
const (
	DNSNXDomain           Code = "DNS_NXDOMAIN"
	DNSNoData             Code = "DNS_NODATA"
	DNSTimeout            Code = "DNS_TIMEOUT"
	DNSServFail           Code = "DNS_SERVFAIL"
	DNSBogus              Code = "DNS_BOGUS"
	ResolverUnreachable   Code = "RESOLVER_UNREACHABLE"
	ResolverUntrusted     Code = "RESOLVER_UNTRUSTED"
	NotReady              Code = "NOT_READY"
	ConnectRefused        Code = "CONNECT_REFUSED"
	ConnectTimeout        Code = "CONNECT_TIMEOUT"
	ConnectUnreachable    Code = "CONNECT_UNREACHABLE"
	HopRefused            Code = "HOP_REFUSED"
	HopAuth               Code = "HOP_AUTH"
	OriginFailed          Code = "ORIGIN_FAILED"
	PolicyPlainHTTP       Code = "POLICY_PLAIN_HTTP"
	PolicyForeignResolver Code = "POLICY_FOREIGN_RESOLVER"
	PolicyPrivateTarget   Code = "POLICY_PRIVATE_TARGET"
	PolicyClientResolved  Code = "POLICY_CLIENT_RESOLVED"
	PolicyRoute           Code = "POLICY_ROUTE"
	Limit                 Code = "LIMIT"
	AuthRequired          Code = "AUTH_REQUIRED"
	BadRequest            Code = "BAD_REQUEST"
	Internal              Code = "INTERNAL"
)

// face is how a code looks to each kind of client.
type face struct {
	status int    // HTTP status code (RFC 9110)
	proxy  string // Proxy-Status error type (RFC 9209, section 2.3)
	socks  byte   // SOCKS5 reply (RFC 1928, section 6)
	rcode  int    // DNS response code (RFC 1035, section 4.1.1)
	ede    uint16 // Extended DNS Error (RFC 8914, section 4); meaningless where rcode is 0 or 3
	hint   string // what to do next, where nothing better is known
}

// SOCKS5 replies (RFC 1928, section 6).
const (
	socksGeneral     = 1
	socksPolicy      = 2
	socksNetwork     = 3
	socksHost        = 4
	socksRefused     = 5
	socksTTL         = 6
	socksUnsupported = 7
)

var faces = map[Code]face{
	DNSNXDomain:           {502, "dns_error", socksHost, 3, 0, "check the spelling of the name"},
	DNSNoData:             {502, "dns_error", socksHost, 0, 0, "the name exists but has no address record"},
	DNSTimeout:            {504, "dns_timeout", socksHost, 2, 22, "the resolver did not answer in time; `watertight status` shows its health"},
	DNSServFail:           {502, "dns_error", socksHost, 2, 0, "the resolver could not find the answer; nothing else was asked"},
	DNSBogus:              {502, "dns_error", socksHost, 2, 6, "the answer failed validation and was thrown away"},
	ResolverUnreachable:   {502, "dns_error", socksHost, 2, 22, "check the resolver's address and that the channel reaches it"},
	ResolverUntrusted:     {502, "dns_error", socksHost, 2, 22, "the resolver did not prove who it is: check its name, its CA (`ca:`) and its pins"},
	NotReady:              {503, "proxy_internal_response", socksGeneral, 2, 14, "the channel's resolver has not answered yet; try again in a moment"},
	ConnectRefused:        {502, "connection_refused", socksRefused, 2, 0, "nothing listens there"},
	ConnectTimeout:        {504, "connection_timeout", socksHost, 2, 0, "the destination did not answer in time"},
	ConnectUnreachable:    {502, "destination_ip_unroutable", socksNetwork, 2, 0, "no route leads there from the end of the channel"},
	HopRefused:            {502, "destination_unavailable", socksGeneral, 2, 0, "the upstream proxy of the channel refused or failed"},
	HopAuth:               {502, "destination_unavailable", socksGeneral, 2, 0, "check user and password of the channel's upstream proxy"},
	OriginFailed:          {502, "connection_terminated", socksGeneral, 2, 0, "the origin was reached, and then broke off or did not speak HTTP/1.1"},
	PolicyPlainHTTP:       {403, "http_request_denied", socksPolicy, 5, 15, "use https://, or set `policy.plain_http: allow`"},
	PolicyForeignResolver: {403, "http_request_denied", socksPolicy, 5, 15, "let Watertight resolve names, or set `policy.foreign_resolvers: allow`"},
	PolicyPrivateTarget:   {403, "destination_ip_prohibited", socksPolicy, 5, 15, "list the network under `policy.private_targets` if it may be reached"},
	PolicyClientResolved:  {403, "http_request_denied", socksPolicy, 5, 15, "the client resolved the name by itself: give the proxy the name (`socks5h://`, not `socks5://`)"},
	PolicyRoute:           {403, "http_request_denied", socksPolicy, 5, 15, "no route leads there: add one under `routes`"},
	Limit:                 {503, "connection_limit_reached", socksGeneral, 2, 14, "a limit is reached; see `limits` in the configuration"},
	AuthRequired:          {407, "http_request_denied", socksPolicy, 5, 15, "give the proxy's user and password"},
	BadRequest:            {400, "http_request_error", socksGeneral, 1, 0, "mend the client's request as the message says; `curl -v -x` shows one that is well formed"},
	Internal:              {500, "proxy_internal_error", socksGeneral, 2, 0, "this is a fault of Watertight; please report it"},
}

// Codes gives every code, for tests and documentation.
func Codes() []Code {
	codes := make([]Code, 0, len(faces))
	for c := range faces {
		codes = append(codes, c)
	}
	return codes
}

func (c Code) face() face {
	if f, ok := faces[c]; ok {
		return f
	}
	return faces[Internal]
}

// HTTPStatus is the status of the refusal: 403 for policy, 502 for a failure, 504 for a time-out, 503 not ready.
func (c Code) HTTPStatus() int { return c.face().status }

// ProxyError is the Proxy-Status error type (RFC 9209, section 2.3).
func (c Code) ProxyError() string { return c.face().proxy }

// SOCKSReply is the reply of SOCKS5 (RFC 1928, section 6).
func (c Code) SOCKSReply() byte { return c.face().socks }

// RCode is the DNS response code (RFC 1035, section 4.1.1).
func (c Code) RCode() int { return c.face().rcode }

// EDE is the Extended DNS Error info code (RFC 8914, section 4). Zero means "other".
func (c Code) EDE() uint16 { return c.face().ede }

// IsPolicy says that a rule refused, not that something broke.
func (c Code) IsPolicy() bool { return strings.HasPrefix(string(c), "POLICY_") }

// Error is a failure with its code, a sentence for people, and where it happened.
type Error struct {
	Code    Code
	Message string // one line, without secret, shown to the client
	Channel string // the channel's name, empty if none was chosen
	Hop     string // HOST:PORT of the upstream proxy that was asked last, where nobody can tell its silence from the target's
	Target  string // the client's target in text, empty if unknown
	Hint    string // what to do next; empty means the code's own
	EDE     uint16 // an Extended DNS Error that says more than the code's (RFC 8914); zero means the code's own
	RCode   string // the response code of the resolver's answer, as REFUSED, where it gave another than the code says by itself; empty otherwise
	Err     error  // the cause, for logs only
}

// New makes a fault; cause may be nil.
func New(code Code, message string, cause error) *Error {
	return &Error{Code: code, Message: message, Err: cause}
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Message + " (" + string(e.Code) + ")"
	}
	return e.Message + " (" + string(e.Code) + "): " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExtendedError is the Extended DNS Error info code (RFC 8914, section 4): the fault's own, or the code's.
func (e *Error) ExtendedError() uint16 {
	if e.EDE != 0 {
		return e.EDE
	}
	return e.Code.EDE()
}

// NextStep is what to do next: the fault's own hint, or the code's.
func (e *Error) NextStep() string {
	if e.Hint != "" {
		return e.Hint
	}
	return e.Code.face().hint
}

// Of gives the fault in err's chain, or wraps err as [Internal]. It gives nil for nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return New(Internal, "an unexpected error", err)
}

// MaxReason is the length in octets that a reason phrase is cut to: what clients print on one line.
const MaxReason = 120

// Reason is the reason phrase of an HTTP status line: printable ASCII, with the code at its end in parentheses.
func (e *Error) Reason() string {
	tail := " (" + string(e.Code) + ")"
	text := ascii(e.Message)
	if room := MaxReason - len(tail); len(text) > room {
		text = text[:room-3] + "..."
	}
	return text + tail
}

// OneLine makes a text of the far side or of a client fit into a message: printable ASCII, at most 60 octets.
func OneLine(s string) string {
	s = ascii(s)
	return s[:min(len(s), 60)]
}

// ascii replaces what may not stand in a status line (RFC 9112, section 4) or would break it in two.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
