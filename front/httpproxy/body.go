package httpproxy

import (
	"io"
	"net/http"
	"net/textproto"
	"sync"
	"sync/atomic"
	"time"

	"watertight/httphead"
)

// clientBody is the request's body as the origin's side reads it, in a goroutine of net/http's.
type clientBody struct {
	x       *exchange
	b       *httphead.Body
	trailer http.Header // filled at the end of a chunked body
	asks    bool        // the client waits to be asked for its body

	ended  atomic.Bool // the body was read to its end
	broken atomic.Bool // the origin takes no more of it

	mu      sync.Mutex // held while the client is read
	failure error      // what reading from the client gave, but its end
}

func newClientBody(x *exchange, trailer http.Header) *clientBody {
	return &clientBody{x: x, b: x.r.Body(x.q), trailer: trailer, asks: x.expects()}
}

// Read reads from the client. The first one asks a client for its body that waits to be asked.
func (c *clientBody) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended.Load():
		return 0, io.EOF
	case c.failure != nil:
		return 0, c.failure
	case c.over():
		return 0, http.ErrBodyReadAfterClose
	case c.asks:
		c.asks = false
		if c.failure = c.x.sendContinue(); c.failure != nil {
			return 0, c.failure
		}
	}
	_ = c.x.conn.SetReadDeadline(time.Now().Add(c.x.d.o.StallTimeout))
	if c.over() {
		_ = c.x.conn.SetReadDeadline(past) // it was interrupted before that deadline was set
	}
	n, err := c.b.Read(p)
	switch {
	case err == io.EOF:
		c.end()
	case err != nil && !c.over(): // and not interrupted
		c.failure = err
	}
	return n, err
}

// end hands the trailers on and begins to watch the client, which nobody else reads now.
func (c *clientBody) end() {
	for _, f := range c.b.Trailers {
		if mayTrail(f.Name) {
			k := textproto.CanonicalMIMEHeaderKey(f.Name)
			c.trailer[k] = append(c.trailer[k], f.Value)
		}
	}
	c.x.mu.Lock()
	_ = c.x.conn.SetReadDeadline(time.Time{})
	c.ended.Store(true)
	c.x.mu.Unlock()
	c.x.watch()
}

// over says that no more of the body is wanted.
func (c *clientBody) over() bool { return c.x.over.Load() || c.broken.Load() }

// gone is what an origin's connection calls when it breaks; nil if there is no body.
func (c *clientBody) gone() *func() {
	if c == nil {
		return nil
	}
	f := c.originGone
	return &f
}

// originGone ends a Read that waits, unless the exchange is over: then others read from the client.
func (c *clientBody) originGone() {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	if c.x.over.Load() || c.ended.Load() {
		return
	}
	c.broken.Store(true)
	_ = c.x.conn.SetReadDeadline(past)
}

// Close does nothing: who reads is stopped by stop, and the connection outlives the body.
func (c *clientBody) Close() error { return nil }

// stop ends a Read that waits, when the exchange is over, and says whether the body was read to its end.
func (c *clientBody) stop() (ended bool) {
	_ = c.x.conn.SetReadDeadline(past)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended.Load()
}

// unread says whether octets of the body were not read yet; a request without a body has none.
func (c *clientBody) unread() bool { return c != nil && !c.ended.Load() }
