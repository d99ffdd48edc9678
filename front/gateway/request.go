package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watertight/httphead"
)

// hopByHop are the fields that are about one connection, beside those that Connection lists (RFC 9110, section 7.6.1).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// strip removes what is about the connection that a message came by.
func strip(h http.Header) {
	for _, v := range h["Connection"] {
		for part := range strings.SplitSeq(v, ",") {
			h.Del(strings.Trim(part, " \t"))
		}
	}
	for _, k := range hopByHop {
		delete(h, k)
	}
}

// outgoing makes the request for the origin: what the client sent, with the fields of the entry in place of its own.
func (x *exchange) outgoing(ctx context.Context, m match, trace *httptrace.ClientTrace) *http.Request {
	h := x.r.Header.Clone()
	delete(h, credentialsField)
	trailers := slices.ContainsFunc(h["Te"], func(v string) bool { return strings.Contains(strings.ToLower(v), "trailers") })
	strip(h)
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	if x.protocol != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{x.protocol}
	}
	x.mapFields(h, m)
	for _, f := range m.entry.Fields {
		h[textproto.CanonicalMIMEHeaderKey(f.Name)] = []string{f.Value}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // else net/http adds its own
	}
	req := &http.Request{
		Method: x.r.Method,
		URL:    &url.URL{Scheme: "https", Host: m.target.String(), Opaque: m.originForm(x.query, x.asks)},
		Host:   authority(m.target), Header: h,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: x.r.ContentLength, Body: http.NoBody,
	}
	if x.body != nil {
		req.Body, req.Trailer = x.body, x.body.announce(m.entry)
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, trace))
}

// mapFields writes what names the gateway as what names the origin: a server compares Origin and Referer with its own name.
func (x *exchange) mapFields(h http.Header, m match) {
	own := ownOrigin(x.r)
	for i, v := range h["Origin"] {
		if strings.EqualFold(v, own) {
			h["Origin"][i] = "https://" + authority(m.target)
		}
	}
	for i, v := range h["Referer"] {
		if rest, ok := cutFold(v, own+m.base); ok {
			h["Referer"][i] = "https://" + authority(m.target) + m.toBase + rest
		} else if _, ok := cutFold(v, own); ok {
			delete(h, "Referer") // it names another path of the gateway, which is none of this origin's business
			break
		} else if x.base != "" && strings.Contains(v, x.base) {
			delete(h, "Referer") // the gateway, by another of its names
			break
		}
	}
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// protocolOf gives the protocols that a client asks to switch to (RFC 9110, section 7.8), or none. HTTP is not among them:
// it would hide further requests.
func protocolOf(r *http.Request) string {
	asks := slices.ContainsFunc(r.Header["Connection"], func(v string) bool {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(part, " \t"), "upgrade") {
				return true
			}
		}
		return false
	})
	if !asks || r.ProtoMajor != 1 || r.ProtoMinor == 0 || r.ContentLength != 0 {
		return ""
	}
	var kept []string
	for _, v := range r.Header["Upgrade"] {
		for part := range strings.SplitSeq(v, ",") {
			part = strings.Trim(part, " \t")
			low := strings.ToLower(part)
			if part != "" && !strings.HasPrefix(low, "h2") && !strings.HasPrefix(low, "http/") {
				kept = append(kept, part)
			}
		}
	}
	return strings.Join(kept, ", ")
}

// clientBody is the body of a request, read by net/http for as long as the exchange lasts.
type clientBody struct {
	body io.ReadCloser
	rc   *http.ResponseController
	// bounded says that the client may not pause for long: over HTTP/1, where its end may go unnoticed.
	bounded bool

	request *http.Request
	trailer atomic.Pointer[http.Header] // of what is sent on; filled at the end

	touched atomic.Bool // some of it was asked for
	ended   atomic.Bool // it was read to its end

	mu      sync.Mutex // held while it is read
	failure error
	// interrupted says that a read under way was ended from here. Over HTTP/1 net/http takes that for the end of the client.
	interrupted bool

	overMu sync.Mutex
	over   bool
}

// errOver is what a body gives when its exchange has ended.
var errOver = errors.New("gateway: the exchange has ended")

// announce gives the fields that are to follow the body: of those that the client announced what may stand there, and nothing
// that the entry sets, since an origin may put the two together.
func (b *clientBody) announce(e *Entry) http.Header {
	var t http.Header
	for k := range b.request.Trailer {
		if !mayTrail(k) || k == credentialsField || slices.ContainsFunc(e.Fields, func(f Field) bool { return strings.EqualFold(f.Name, k) }) {
			continue
		}
		if t == nil {
			t = http.Header{}
		}
		t[k] = nil
	}
	b.trailer.Store(&t)
	return t
}

// fill is for the end of the body, where the values have come.
func (b *clientBody) fill() {
	if t := b.trailer.Load(); t != nil {
		for k := range *t {
			(*t)[k] = b.request.Trailer[k]
		}
	}
}

// lastRead bounds how long the end of an exchange waits for a read under way. It is not zero: net/http begins to watch the
// connection in the read that finds the body's end, and would take an interruption for the end of the client.
const lastRead = time.Second

func (b *clientBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.touched.Store(true)
	if !b.arm() {
		return 0, errOver
	}
	n, err := b.body.Read(p)
	if err == io.EOF {
		b.fill()
		b.ended.Store(true)
	} else if err != nil && b.isOver() {
		b.interrupted = true
	} else if err != nil && b.failure == nil {
		b.failure = err
	}
	if err == nil || err == io.EOF {
		b.rest(err == io.EOF)
	}
	return n, err
}

// rest lifts the bound: between two reads, and behind the end, it is not the client who pauses. Between two it stays where
// the exchange is over.
func (b *clientBody) rest(ended bool) {
	b.overMu.Lock()
	defer b.overMu.Unlock()
	if b.bounded && (ended || !b.over) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// arm bounds how long the client may pause, unless the exchange is over.
func (b *clientBody) arm() bool {
	b.overMu.Lock()
	defer b.overMu.Unlock()
	if !b.over && b.bounded {
		_ = b.rc.SetReadDeadline(time.Now().Add(stallTimeout))
	}
	return !b.over
}

func (b *clientBody) isOver() bool {
	b.overMu.Lock()
	defer b.overMu.Unlock()
	return b.over
}

// Close is called by net/http when it wants no more, and ends a read under way. A body of which nothing was asked for stays as
// it is: another try may begin with it.
func (b *clientBody) Close() error {
	if b.touched.Load() {
		b.leave()
	}
	return nil
}

// unwanted leaves a body alone that nothing was asked of: the answer is there, and its client waits to be asked (RFC 9110,
// section 10.1.1).
func (b *clientBody) unwanted() {
	b.overMu.Lock()
	defer b.overMu.Unlock()
	b.over = b.over || !b.touched.Load()
}

// leave ends reading: nothing more is asked of the client, and what is under way has lastRead to end.
func (b *clientBody) leave() {
	if b == nil {
		return
	}
	b.overMu.Lock()
	defer b.overMu.Unlock()
	b.over = true
	switch {
	case b.ended.Load():
	case b.bounded:
		_ = b.rc.SetReadDeadline(time.Now().Add(lastRead))
	default:
		_ = b.rc.SetReadDeadline(time.Unix(1, 0))
	}
}

// stop is leave for one who takes the connection: nothing reads the body when it returns.
func (b *clientBody) stop() {
	if b == nil {
		return
	}
	b.leave()
	b.mu.Lock()
	defer b.mu.Unlock()
}

// gone says whether a context that has ended means that the client has: of a body that was stopped.
func (b *clientBody) gone(ctx context.Context) bool {
	return ctx.Err() != nil && (b == nil || !b.interrupted)
}

// fault says what the client did wrong with a body that was stopped, empty if nothing; and whether that is that it paused for
// too long.
func (b *clientBody) fault() (message string, late bool) {
	switch {
	case b == nil || b.failure == nil:
		return "", false
	case errors.Is(b.failure, os.ErrDeadlineExceeded):
		return "nothing came of the request's body for " + stallTimeout.String(), true
	}
	return "the request's body broke off, or is malformed", false
}

// malformed says what is wrong with the names of a response's fields; empty if nothing is. net/http lets names with blanks
// through, which others may read as another field.
func malformed(h http.Header) (why string) {
	for k := range h {
		if !httphead.IsToken(k) {
			return "answered with a field whose name is not a token"
		}
	}
	return ""
}
