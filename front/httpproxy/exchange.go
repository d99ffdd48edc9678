package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
)

// exchange is one request for an http:// URL and its response.
type exchange struct {
	*session
	q          *httphead.Request
	target     name.Target
	originForm string
	forwards   int         // Max-Forwards to send on, negative for none
	old        bool        // the client speaks HTTP/1.0
	body       *clientBody // nil if the request has none
	cancel     context.CancelFunc

	mu    sync.Mutex // held while something is written to the client before the final response
	final bool       // nothing but the final response may be written

	over     atomic.Bool   // nothing more is read from the client for this exchange
	gone     atomic.Bool   // the client ended its connection before
	watching chan struct{} // closed when the watch for the client's end is over; nil if it was not begun
}

// forward sends the request to the origin and the response to the client.
func (x *exchange) forward(ctx context.Context) (more bool) {
	asked, cancel := context.WithCancel(ctx)
	x.cancel = cancel
	defer cancel()
	_ = x.conn.SetReadDeadline(time.Time{})
	req := x.request(asked)
	if x.q.HasBody() {
		x.body = newClientBody(x, req.Trailer)
		req.Body = x.body
	} else {
		x.watch()
	}
	resp, err := x.origin.get(x.d, x.client, x.identity).RoundTrip(req)
	if err != nil {
		x.settle()
		return x.fail(ctx, err)
	}
	return x.respond(resp)
}

// request makes the request for the origin: what the client sent, and nothing more.
func (x *exchange) request(ctx context.Context) *http.Request {
	u := &url.URL{Scheme: "http", Host: x.target.String(), Opaque: x.originForm}
	if strings.HasPrefix(x.originForm, "//") {
		u = doubleSlash(x.target, x.originForm)
	}
	h := headerOf(endToEnd(x.q.Fields))
	if x.q.Has("TE", "trailers") {
		h["Te"], h["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if x.forwards >= 0 {
		h["Max-Forwards"] = []string{strconv.Itoa(x.forwards)}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // else net/http adds its own
	}
	req := &http.Request{
		Method: x.q.Method, URL: u, Host: hostField(x.target), Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: x.q.ContentLength, Body: http.NoBody,
	}
	if x.q.Chunked {
		req.Trailer = announced(x.q)
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if c, ok := i.Conn.(*originConn); ok {
				c.gone.Store(x.body.gone())
			}
			if i.Reused { // the dialer was not asked, so it did not report
				x.d.o.Sink.Request(&event.Request{Door: event.DoorHTTP, Client: x.client, Identity: x.identity, Target: x.target})
			}
		},
		Got1xxResponse: x.interim,
	}))
}

// doubleSlash gives the URL of a target whose path begins with two slashes: as an opaque part it would be read as an
// authority. Its octets stay as they are. Where net/http would escape some of them anew, the origin is asked in
// absolute form, which every server must understand (RFC 9112, section 3.2.2).
func doubleSlash(t name.Target, originForm string) *url.URL {
	path, query, asked := strings.Cut(originForm, "?")
	u := &url.URL{Scheme: "http", Host: t.String(), RawPath: path, RawQuery: query, ForceQuery: asked}
	if p, err := url.PathUnescape(path); err == nil {
		u.Path = p
	}
	if u.EscapedPath() != path {
		return &url.URL{Scheme: "http", Host: t.String(), Opaque: "//" + hostField(t) + originForm}
	}
	return u
}

// announced gives the trailer fields that the client says it will send. It is never nil: others may come too.
func announced(q *httphead.Request) http.Header {
	t := http.Header{}
	for _, f := range q.Fields {
		if !strings.EqualFold(f.Name, "Trailer") {
			continue
		}
		for part := range strings.SplitSeq(f.Value, ",") {
			if k := strings.Trim(part, " \t"); httphead.IsToken(k) && mayTrail(k) {
				t[textproto.CanonicalMIMEHeaderKey(k)] = nil
			}
		}
	}
	return t
}

// expects says that the client waits to be asked for its body (RFC 9110, section 10.1.1).
func (x *exchange) expects() bool {
	return !x.old && x.q.HasBody() && x.q.Has("Expect", "100-continue")
}

// interim sends an interim response on (RFC 9110, section 15.2). 100 is not where the client waits for it: it gets
// one when its body is asked for.
func (x *exchange) interim(code int, h textproto.MIMEHeader) error {
	if x.old || code == http.StatusContinue && x.expects() {
		return nil
	}
	fields := http.Header(h).Clone()
	if why := malformed(fields); why != "" {
		return errors.New(why)
	}
	stripResponse(fields)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return nil
	}
	b := appendFields(fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", code, http.StatusText(code)), fields)
	return x.write(append(b, "\r\n"...))
}

// watch ends the exchange when the client ends its connection. It is begun when all of the request was read.
func (x *exchange) watch() {
	x.watching = make(chan struct{})
	go func() {
		defer close(x.watching)
		if x.r.Peek() != nil && !x.over.Load() {
			x.gone.Store(true)
			x.cancel()
		}
	}()
}

// sendContinue tells the client that its body is wanted (RFC 9110, section 10.1.1).
func (x *exchange) sendContinue() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.final {
		return http.ErrBodyReadAfterClose
	}
	return x.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
}

// begin takes the connection for the final response.
func (x *exchange) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.final = true
}

// settle ends what reads from the client, and says whether the request was read to its end.
func (x *exchange) settle() (ended bool) {
	x.mu.Lock()
	x.final = true
	x.over.Store(true)
	x.mu.Unlock()
	ended = x.body == nil || x.body.stop()
	if x.watching != nil {
		_ = x.conn.SetReadDeadline(past)
		<-x.watching
	}
	return ended
}

// fail answers for an origin that did not.
func (x *exchange) fail(ctx context.Context, err error) (more bool) {
	if x.body != nil && x.body.failure != nil { // settled: nobody writes it any more
		switch failure := x.body.failure; {
		case httphead.IsMalformed(failure):
			return x.reject(x.q, event.DoorHTTP, x.target, badRequest(failure.Error(), ""))
		case errors.Is(failure, os.ErrDeadlineExceeded):
			return x.reject(x.q, event.DoorHTTP, x.target,
				badRequest("nothing came of the request's body for "+x.d.o.StallTimeout.String(), "send the body without long pauses"))
		}
		return false // the client is gone
	}
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return x.refuse(x.q, f)
	case x.gone.Load() || ctx.Err() != nil:
		return false // there is nobody to answer
	}
	return x.originFailed(brokeOff(err), err)
}

// brokeOff says what an origin did that was reached and gave no response.
func brokeOff(err error) (why string) {
	why = "broke off, or did not answer in HTTP/1.1"
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			why = "broke off before it answered"
		}
	}
	return why
}

// originFailed answers for an origin that was reached and did not do its part.
func (x *exchange) originFailed(why string, cause error) (more bool) {
	f := fault.New(fault.OriginFailed, x.target.Host().String()+" "+why, cause)
	f.Target = x.target.String()
	return x.refuse(x.q, f)
}
