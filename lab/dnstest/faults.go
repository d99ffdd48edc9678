package dnstest

import (
	"bytes"
	"context"
	"net/http"
	"strconv"

	"watertight/dnswire"
)

// Silent never answers.
func Silent(context.Context, *Query) Reply { return Reply{} }

// Hangup closes the connection instead of answering.
func Hangup(context.Context, *Query) Reply { return Reply{Close: true} }

// RCode answers everything with a response code and nothing else.
func RCode(rcode int, ede ...dnswire.EDE) Handler {
	return func(_ context.Context, q *Query) Reply { return q.Send(dnswire.Reply{RCode: rcode, EDE: ede}) }
}

// Changed lets h answer and changes the octets of its answer.
func Changed(h Handler, change func([]byte) []byte) Handler {
	return func(ctx context.Context, q *Query) Reply {
		r := h(ctx, q)
		r.Wire = change(bytes.Clone(r.Wire))
		return r
	}
}

// Malformed answers with a message that cannot be read: its answer section is cut off.
func Malformed(_ context.Context, q *Query) Reply {
	r := q.Send(dnswire.Reply{})
	r.Wire[7] = 9 // nine answers that are not there
	return r
}

// WrongID answers under an ID that was not asked.
func WrongID(h Handler) Handler {
	return Changed(h, func(b []byte) []byte { b[0] ^= 0x55; b[1] ^= 0xAA; return b })
}

// WrongQuestion answers a question about another name.
func WrongQuestion(_ context.Context, q *Query) Reply {
	other := *q
	other.Name = "other.example.net"
	return other.Send(dnswire.Reply{})
}

// Truncated sets the TC bit, which has no place on a stream.
func Truncated(h Handler) Handler {
	return Changed(h, func(b []byte) []byte { b[2] |= 1 << 1; return b })
}

// Oversize answers with more octets than a message may have. Over DoT the length wraps around, and what follows is
// garbage; over DoH it arrives as it is.
func Oversize(_ context.Context, q *Query) Reply {
	r := q.Send(dnswire.Reply{})
	r.Wire = append(r.Wire, make([]byte, dnswire.MaxMessage)...)
	return r
}

// Status answers over DoH with an HTTP status and a body, and over DoT not at all.
func Status(code int, contentType, body string) Handler {
	return func(context.Context, *Query) Reply {
		return Reply{Status: code, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)}
	}
}

// Captive is the page of a captive portal: HTML with status 200.
var Captive = Status(http.StatusOK, "text/html; charset=utf-8", "<html><title>Please log in</title></html>")

// Redirect answers over DoH with a redirect.
func Redirect(to string) Handler {
	return func(context.Context, *Query) Reply {
		return Reply{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {to}}}
	}
}

// Age lets h answer and says that a cache kept the answer for so many seconds (RFC 9111, section 5.1).
func Age(h Handler, seconds int) Handler {
	return func(ctx context.Context, q *Query) Reply {
		r := h(ctx, q)
		r.Header = http.Header{"Age": {strconv.Itoa(seconds)}}
		return r
	}
}

// Held lets h answer only after release is closed.
func Held(h Handler, release <-chan struct{}) Handler {
	return func(ctx context.Context, q *Query) Reply {
		select {
		case <-release:
			return h(ctx, q)
		case <-ctx.Done():
			return Reply{}
		}
	}
}
