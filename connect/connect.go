// Package connect is the client's side of HTTP's CONNECT in octets (RFC 9110, section 9.3.6, over HTTP/1.1).
//
// It promises that a response is parsed strictly and to a limit, and that each octet read beyond its head is handed
// back. It never dials, and never looks at what the tunnel carries.
package connect

import (
	"encoding/base64"
	"errors"
	"strconv"

	"watertight/name"
)

// Limits of what a proxy may send before the tunnel.
const (
	// MaxHead bounds the heads of all responses to one request together, in octets.
	MaxHead = 16 << 10
	// maxInterim bounds the 1xx responses before the final one.
	maxInterim = 8
)

// Errors of [Read].
var (
	ErrNotHTTP   = errors.New("connect: the server does not speak HTTP/1.1")
	ErrMalformed = errors.New("connect: the response is malformed")
	ErrTooLong   = errors.New("connect: the response's head is too long")
	ErrInterim   = errors.New("connect: too many interim responses")
)

// Response is what a proxy answers.
type Response struct {
	Status int
	Reason string // the reason phrase as sent; it may be empty and hold any octet but controls
	// Error is the error type of the Proxy-Status field (RFC 9209, section 2.3), of the member nearest to the origin
	// that has one; RCode is that member's DNS response code in text, if it has one (section 2.3.2).
	Error, RCode string
	// Rest is what followed the head, a part of Read's buffer. After a success it is the tunnel's first octets.
	Rest []byte
}

// OK says that the tunnel stands: the status is 2xx, whatever Content-Length or Transfer-Encoding say.
func (r Response) OK() bool { return r.Status/100 == 2 }

// Credentials gives the value of Proxy-Authorization for a user and a password (RFC 7617). No part of it may be
// printed.
func Credentials(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// AppendRequest appends the request for a tunnel to t: a name as a name, an address as an address. credentials is
// empty, or the value of Proxy-Authorization.
func AppendRequest(dst []byte, t name.Target, credentials string) []byte {
	dst = append(dst, "CONNECT "...)
	dst = appendAuthority(dst, t)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = appendAuthority(dst, t)
	if credentials != "" {
		dst = append(dst, "\r\nProxy-Authorization: "...)
		dst = append(dst, credentials...)
	}
	return append(dst, "\r\n\r\n"...)
}

func appendAuthority(dst []byte, t name.Target) []byte {
	if ap, ok := t.AddrPort(); ok {
		return ap.AppendTo(dst)
	}
	host, _ := t.Host().Name()
	dst = append(append(dst, host...), ':')
	return strconv.AppendUint(dst, uint64(t.Port()), 10)
}
