package http2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// response is what a handler answers with. It keeps nothing back: what was written is sent.
type response struct {
	s      *Stream
	r      *http.Request
	header http.Header

	mu    sync.Mutex // the body's reader may send an interim response
	wrote bool       // the final head
	bare  bool       // the response has no body
	taken bool       // the handler has the stream
}

// serve runs the handler, and ends the stream.
func (w *response) serve(r *http.Request, tooLong bool) {
	whole := false
	defer func() {
		if p := recover(); p != nil || !whole {
			w.s.Reset(Internal) // nobody is to take what came for all of it
			return
		}
		w.finish()
	}()
	if tooLong {
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
	} else {
		w.s.c.o.Handler.ServeHTTP(w, r)
	}
	whole = true
}

// finish ends a response that went well.
func (w *response) finish() {
	s := w.s
	if w.taken {
		s.Reset(NoError)
		return
	}
	w.WriteHeader(http.StatusOK) // if none was written
	trailers := map[string][]string{}
	for k, v := range w.header {
		if n, ok := strings.CutPrefix(k, http.TrailerPrefix); ok {
			trailers[n] = v
		}
	}
	if len(trailers) > 0 && !w.bare && s.claim() {
		_ = s.c.write(func() error { return s.c.writeFields(s.id, "", trailers, true) })
	} else {
		_ = s.CloseWrite()
	}
	s.Reset(NoError) // what the client still sends is not wanted (RFC 9113, section 8.1)
}

// claim ends our direction for a frame that says so itself.
func (s *Stream) claim() bool {
	s.writes.Lock()
	defer s.writes.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.broken != nil || s.told {
		return false
	}
	s.told = true
	s.ends()
	return true
}

// Header gives the fields of the response.
func (w *response) Header() http.Header { return w.header }

// WriteHeader sends the head of the response, or an interim one.
func (w *response) WriteHeader(status int) {
	if status >= 100 && status < 200 {
		w.interim(status, w.header)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote {
		return
	}
	w.wrote = true
	w.bare = w.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	w.s.head(status, w.header)
}

// interim sends a response that another one follows.
func (w *response) interim(status int, h http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.wrote {
		w.s.head(status, h)
	}
}

func (s *Stream) head(status int, h http.Header) {
	s.c.mu.Lock()
	broken := s.broken
	s.c.mu.Unlock()
	if broken == nil {
		_ = s.c.write(func() error { return s.c.writeFields(s.id, strconv.Itoa(status), h, false) })
	}
}

// Write sends a part of the body.
func (w *response) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.bare {
		return len(b), nil
	}
	_ = w.s.SetWriteDeadline(time.Now().Add(w.s.c.o.StallTimeout)) // a client that makes no room is not waited for
	return w.s.Write(b)
}

// Flush sends the head: all else was sent.
func (w *response) Flush() { w.WriteHeader(http.StatusOK) }

// SetReadDeadline and SetWriteDeadline are for [http.ResponseController]. They outlive the response.
func (w *response) SetReadDeadline(t time.Time) error { return w.s.SetReadDeadline(t) }

// SetWriteDeadline bounds waiting for room to send.
func (w *response) SetWriteDeadline(t time.Time) error { return w.s.SetWriteDeadline(t) }

// HTTPStream is [Streamer]'s.
func (w *response) HTTPStream() *Stream {
	w.taken = true
	return w.s
}

// writeFields writes a block of fields: a head with its status, or trailers. The caller writes.
func (c *Conn) writeFields(id uint32, status string, h map[string][]string, end bool) error {
	c.block.Reset()
	if status != "" {
		_ = c.fields.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	}
	keys := make([]string, 0, len(h))
	for k := range h {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		n := strings.ToLower(k)
		if strings.HasPrefix(k, http.TrailerPrefix) || !httpguts.ValidHeaderFieldName(n) || ofConnection[n] {
			continue
		}
		for _, v := range h[k] {
			if httpguts.ValidHeaderFieldValue(v) {
				_ = c.fields.WriteField(hpack.HeaderField{Name: n, Value: v})
			}
		}
	}
	block := c.block.Bytes()
	first := block[:min(len(block), frameSize)]
	block = block[len(first):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(block) == 0})
	for len(block) > 0 && err == nil {
		part := block[:min(len(block), frameSize)]
		block = block[len(part):]
		err = c.framer.WriteContinuation(id, len(block) == 0, part)
	}
	return err
}

var (
	_ http.Flusher = (*response)(nil)
	_ Streamer     = (*response)(nil)
)
