package http2

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// refusals bounds how many streams a client may begin one after the other of which none is taken.
const refusals = 1024

// ofConnection are the fields that a request of HTTP/2 does not have (RFC 9113, section 8.2.2).
var ofConnection = map[string]bool{
	"connection": true, "proxy-connection": true, "keep-alive": true, "transfer-encoding": true, "upgrade": true,
}

// takeFields begins a stream, or takes the trailers of one.
func (c *Conn) takeFields(ctx context.Context, f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	if id <= c.highest {
		s := c.streams[id]
		c.mu.Unlock()
		return c.takeTrailers(s, f)
	}
	if id%2 == 0 {
		c.mu.Unlock()
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.highest = id
	if c.draining && c.said {
		c.mu.Unlock()
		return nil // the client reads in our GOAWAY that it was not taken
	}
	c.last = id
	if len(c.streams) >= int(c.o.MaxStreams) || c.serving >= 2*int(c.o.MaxStreams) { // one may end a moment after its stream
		c.refused++
		many := c.refused > refusals
		c.mu.Unlock()
		if many {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	initial := c.initial
	c.mu.Unlock()

	r, ok := request(f)
	if !ok {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Stream{
		c: c, id: id, cancel: cancel, moved: make(chan struct{}, 1), arrived: make(chan struct{}, 1),
		window: initial, room: c.o.StreamBuffer, declared: r.ContentLength, heard: f.StreamEnded(),
	}
	if f.StreamEnded() && r.ContentLength > 0 {
		cancel()
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	r.RemoteAddr = c.conn.RemoteAddr().String()
	w := &response{s: s, r: r, header: http.Header{}}
	if r.Body = http.NoBody; s.heard {
		r.ContentLength = 0
	} else {
		b := &body{s: s, r: r, w: w, asks: strings.EqualFold(r.Header.Get("Expect"), "100-continue")}
		r.Body, r.Trailer = b, http.Header{}
	}
	c.mu.Lock()
	c.refused = 0
	c.streams[id] = s
	c.serving++
	c.idle.Stop()
	ended := c.ended
	c.mu.Unlock()
	if ended != nil {
		s.fail(ErrEnded)
	}
	c.handlers.Go(func() {
		defer func() {
			s.fail(ErrEnded) // nobody reads what is left of it, and the connection gets its room back
			c.mu.Lock()
			c.serving--
			c.mu.Unlock()
			c.calm()
		}()
		w.serve(r.WithContext(ctx), f.Truncated)
	})
	return nil
}

// takeTrailers takes the end of a stream's body.
func (c *Conn) takeTrailers(s *Stream, f *http2.MetaHeadersFrame) error {
	wrong := http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
	if s == nil {
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.heard:
		return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeStreamClosed}
	case !f.StreamEnded(), len(f.PseudoFields()) > 0, f.Truncated, s.declared > 0:
		return wrong
	}
	s.trailer = http.Header{}
	for _, field := range f.RegularFields() {
		if !ofConnection[field.Name] {
			s.trailer.Add(field.Name, field.Value)
		}
	}
	s.heard = true
	s.ends()
	signal(s.arrived)
	return nil
}

// request makes a request of its fields; false where they are malformed (RFC 9113, section 8.3.1; RFC 8441, section 4). What is
// too long to be read whole is a request of which nothing is known.
func request(f *http2.MetaHeadersFrame) (*http.Request, bool) {
	r := &http.Request{Header: http.Header{}, Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: -1}
	if f.Truncated {
		r.URL = &url.URL{}
		return r, true
	}
	method, scheme := f.PseudoValue("method"), strings.ToLower(f.PseudoValue("scheme"))
	authority, path, protocol := f.PseudoValue("authority"), f.PseudoValue("path"), f.PseudoValue("protocol")
	if !fieldsOf(r, f) || !httpguts.ValidHeaderFieldName(method) {
		return nil, false
	}
	if hosts := r.Header["Host"]; len(hosts) > 0 {
		if len(hosts) > 1 || authority != "" && authority != hosts[0] {
			return nil, false
		}
		if method != http.MethodConnect {
			authority = hosts[0]
		}
		delete(r.Header, "Host")
	}
	r.Method, r.Host = method, authority
	switch {
	case method == http.MethodConnect && protocol == "":
		if scheme != "" || path != "" || authority == "" {
			return nil, false
		}
		r.URL, r.RequestURI = &url.URL{Host: authority}, authority
		r.ContentLength = -1 // a tunnel has none
		return r, true
	case protocol != "" && (method != http.MethodConnect || !httpguts.ValidHeaderFieldName(protocol)):
		return nil, false
	case scheme != "http" && scheme != "https", path == "":
		return nil, false
	case path[0] != '/' && (path != "*" || method != http.MethodOptions):
		return nil, false
	}
	if protocol != "" {
		r.Proto, r.ContentLength = protocol, -1
	}
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, false
	}
	u.Scheme = scheme
	r.URL, r.RequestURI = u, path
	return r, true
}

// fieldsOf takes the fields of a request, in which none is about the connection.
func fieldsOf(r *http.Request, f *http2.MetaHeadersFrame) bool {
	for _, field := range f.RegularFields() {
		switch {
		case ofConnection[field.Name], field.Name == "te" && !strings.EqualFold(field.Value, "trailers"):
			return false
		case field.Name == "content-length":
			n, err := strconv.ParseUint(field.Value, 10, 63)
			if err != nil || r.ContentLength >= 0 && r.ContentLength != int64(n) {
				return false
			}
			r.ContentLength = int64(n)
		default:
			r.Header.Add(field.Name, field.Value)
		}
	}
	if crumbs := r.Header["Cookie"]; len(crumbs) > 1 {
		r.Header["Cookie"] = []string{strings.Join(crumbs, "; ")} // RFC 9113, section 8.2.3
	}
	return true
}

// body is what the client sends, as net/http has it.
type body struct {
	s    *Stream
	r    *http.Request
	w    *response
	asks bool // the client waits to be asked for it
}

func (b *body) Read(p []byte) (int, error) {
	if b.asks {
		b.asks = false
		b.w.interim(http.StatusContinue, nil)
	}
	n, err := b.s.Read(p)
	if err == io.EOF {
		b.s.c.mu.Lock()
		for k, v := range b.s.trailer {
			b.r.Trailer[k] = v
		}
		b.s.trailer = nil
		b.s.c.mu.Unlock()
	}
	return n, err
}

// Close does nothing: the stream ends with its handler.
func (b *body) Close() error { return nil }
