package httpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"watertight/event"
	"watertight/fault"
	"watertight/httphead"
	"watertight/name"
)

// plain serves every method but CONNECT: requests for http:// URLs, where the version of HTTP tells them from those for
// https://, and the two are never taken for each other.
func (v *visit) plain(w http.ResponseWriter, r *http.Request) {
	if v.origins == nil {
		v.reject(w, r, event.DoorHTTP, name.Target{}, badRequest("over HTTP/3 this proxy fetches nothing: it cannot tell http:// from https:// there",
			"reach https:// URLs by CONNECT; for http:// URLs speak HTTP/2 or HTTP/1.1 to the proxy"))
		return
	}
	if r.URL.Scheme != "http" {
		v.reject(w, r, event.DoorHTTP, name.Target{}, badRequest("this proxy fetches http:// URLs alone: those of https:// are reached by CONNECT",
			"this client does not tunnel TLS through a proxy; use one that does, or `watertight exec`"))
		return
	}
	if !isVisible(r.RequestURI) || !isVisible(r.Host) || strings.ContainsAny(r.Host, "/?#") {
		// Written into a line of HTTP/1.1 it would be read in another way.
		v.reject(w, r, event.DoorHTTP, name.Target{}, badRequest("the URL has octets that no URL has, or a host that is none",
			"percent-encode the octets of the path and the query that are not visible ASCII"))
		return
	}
	q := requestOf(r)
	f := fetch{visit: v, w: w, r: r, q: q, forwards: -1}
	var refusal *fault.Error
	if f.target, f.originForm, refusal = absolute(q); refusal == nil {
		refusal = f.check()
	}
	switch {
	case refusal != nil:
		v.reject(w, r, event.DoorHTTP, f.target, refusal)
	case f.forwards == 0 && r.Method == http.MethodTrace:
		w.Header().Set("Content-Type", "message/http")
		_, _ = io.WriteString(w, echoed(q))
	case f.forwards == 0:
		w.Header().Set("Allow", methods)
	default:
		f.serve()
	}
}

// isVisible says whether all octets are visible ASCII.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// requestOf writes a request as HTTP/1.1 has it, its fields sorted by name.
func requestOf(r *http.Request) *httphead.Request {
	path := r.RequestURI
	if path == "*" { // RFC 9112, section 3.2.4
		path = ""
	}
	q := &httphead.Request{Method: r.Method, Target: "http://" + r.Host + path, Minor: 1, ContentLength: max(r.ContentLength, 0), Chunked: r.ContentLength < 0}
	for _, k := range sortedKeys(r.Header) {
		for _, value := range r.Header[k] {
			q.Fields = append(q.Fields, httphead.Field{Name: k, Value: value})
		}
	}
	return q
}

// fetch is one request for an http:// URL on a connection with many.
type fetch struct {
	*visit
	w          http.ResponseWriter
	r          *http.Request
	q          *httphead.Request
	target     name.Target
	originForm string
	forwards   int // Max-Forwards as it came; -1 for none

	mu    sync.Mutex // held while something is written to the client before the final response
	final bool       // nothing but the final response may be written
}

func (f *fetch) check() *fault.Error {
	switch {
	case f.isSelf(f.target):
		return loop()
	case f.r.Method == http.MethodTrace && f.q.HasBody():
		return badRequest("a TRACE request has no body", "leave the body out")
	case f.r.Method == http.MethodTrace, f.r.Method == http.MethodOptions:
		var ok bool
		if f.forwards, ok = maxForwards(f.q); !ok {
			return badRequest("Max-Forwards is not one plain decimal number", "send it once, as Max-Forwards: 10, or not at all")
		}
	}
	return nil
}

// serve sends the request to the origin and the response to the client.
func (f *fetch) serve() {
	ctx, cancel := context.WithCancel(f.r.Context())
	defer cancel()
	body := &sentBody{f: f, rc: http.NewResponseController(f.w)}
	resp, err := f.origins.get(f.d, f.guest.Client, f.identity).RoundTrip(f.request(ctx, body))
	f.mu.Lock()
	f.final = true
	f.mu.Unlock()
	if err != nil {
		f.fail(ctx, body, err)
		return
	}
	defer resp.Body.Close()
	if why := unfit(resp); why != "" {
		f.origins.close() // what follows the response is as doubtful as it is
		f.originFailed(why, nil)
		return
	}
	f.respond(resp)
}

// request makes the request for the origin: what the client sent, and nothing more.
func (f *fetch) request(ctx context.Context, body *sentBody) *http.Request {
	u := &url.URL{Scheme: "http", Host: f.target.String(), Opaque: f.originForm}
	if strings.HasPrefix(f.originForm, "//") {
		u = doubleSlash(f.target, f.originForm)
	}
	h := headerOf(endToEnd(f.q.Fields))
	if f.q.Has("TE", "trailers") {
		h["Te"], h["Connection"] = []string{"trailers"}, []string{"TE"}
	}
	if f.forwards > 0 {
		h["Max-Forwards"] = []string{strconv.Itoa(f.forwards - 1)}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // else net/http adds its own
	}
	req := &http.Request{
		Method: f.r.Method, URL: u, Host: hostField(f.target), Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: f.r.ContentLength, Body: http.NoBody,
	}
	var gone *func()
	if f.q.HasBody() {
		req.Body, gone = body, new(func())
		*gone = body.originGone
		if f.q.Chunked {
			req.Trailer = announced(f.q)
			body.trailer = req.Trailer
		}
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if c, ok := i.Conn.(*originConn); ok {
				c.gone.Store(gone)
			}
			if i.Reused { // the dialer was not asked, so it did not report
				f.d.o.Sink.Request(&event.Request{Door: event.DoorHTTP, Client: f.guest.Client, Identity: f.identity, Target: f.target})
			}
		},
		Got1xxResponse: f.interim,
	}))
}

// interim sends an interim response on, but the one that the client is given when its body is asked for.
func (f *fetch) interim(code int, h textproto.MIMEHeader) error {
	if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
		return nil
	}
	fields := http.Header(h).Clone()
	if why := malformed(fields); why != "" {
		return errors.New(why)
	}
	stripResponse(fields)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.final {
		return nil
	}
	maps.Copy(f.w.Header(), fields)
	f.w.WriteHeader(code)
	clear(f.w.Header())
	return nil
}

// respond sends the response on as it comes. One that the origin breaks off ends with a reset.
func (f *fetch) respond(resp *http.Response) {
	length := resp.Header["Content-Length"]
	stripResponse(resp.Header)
	h := f.w.Header()
	maps.Copy(h, resp.Header)
	bare := f.r.Method == http.MethodHead || resp.StatusCode == http.StatusNotModified
	switch {
	case bare && len(length) > 0:
		h["Content-Length"] = length
	case resp.ContentLength >= 0 && !bare && resp.StatusCode != http.StatusNoContent:
		h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	f.w.WriteHeader(resp.StatusCode)
	buf := responseBuffers.Get().(*responseBuffer)
	defer responseBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if _, err := f.w.Write(buf[:n]); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for k, values := range resp.Trailer {
		if mayTrail(k) {
			h[http.TrailerPrefix+k] = values
		}
	}
}

// fail answers for an origin that did not.
func (f *fetch) fail(ctx context.Context, body *sentBody, err error) {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		httphead.Refusal{Fault: known, Head: f.r.Method == http.MethodHead}.Serve(f.w)
		return
	case errors.Is(err, os.ErrDeadlineExceeded) && body.stalled():
		f.reject(f.w, f.r, event.DoorHTTP, f.target,
			badRequest("nothing came of the request's body for "+f.d.o.StallTimeout.String(), "send the body without long pauses"))
		return
	case ctx.Err() != nil:
		panic(http.ErrAbortHandler) // there is nobody to answer
	}
	f.originFailed(brokeOff(err), err)
}

func (f *fetch) originFailed(why string, cause error) {
	failed := fault.New(fault.OriginFailed, f.target.Host().String()+" "+why, cause)
	failed.Target = f.target.String()
	httphead.Refusal{Fault: failed, Head: f.r.Method == http.MethodHead}.Serve(f.w)
}

// echoed is a request as it came, without the fields that may hold a secret (RFC 9110, section 9.3.8).
func echoed(q *httphead.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\n", q.Method, q.Target, q.Minor)
	for _, f := range q.Fields {
		switch strings.ToLower(f.Name) {
		case "authorization", "proxy-authorization", "cookie":
		default:
			fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	b.WriteString("\r\n")
	return b.String()
}
