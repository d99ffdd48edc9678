package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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
	resp, err := x.origin.get(x.session).RoundTrip(req)
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
		// As an opaque part it would be read as an authority.
		path, query, _ := strings.Cut(x.originForm, "?")
		u.Opaque, u.RawPath, u.RawQuery = "", path, query
		u.Path, _ = url.PathUnescape(path) // a path that cannot be unescaped is escaped anew
		if u.Path == "" {
			u.Path = path
		}
	}
	h := headerOf(endToEnd(x.q))
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
			if i.Reused { // the dialer was not asked, so it did not report
				x.d.o.Sink.Request(&event.Request{Door: event.DoorHTTP, Client: x.client, Target: x.target})
			}
		},
		Got1xxResponse: x.interim,
	}))
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

// interim sends an interim response on. 100 is not: the client gets it when its body is asked for.
func (x *exchange) interim(code int, h textproto.MIMEHeader) error {
	if code == http.StatusContinue || x.old {
		return nil
	}
	fields := http.Header(h).Clone()
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
	x.begin()
	x.over.Store(true)
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
		if !httphead.IsMalformed(x.body.failure) {
			return false // the client is gone
		}
		return x.reject(x.q, event.DoorHTTP, x.target, fault.New(fault.BadRequest, x.body.failure.Error(), nil))
	}
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return x.refuse(x.q, f)
	case x.gone.Load() || ctx.Err() != nil:
		return false // there is nobody to answer
	}
	f = fault.New(fault.OriginFailed, x.target.Host().String()+" broke off before it answered", err)
	f.Target = x.target.String()
	return x.refuse(x.q, f)
}
