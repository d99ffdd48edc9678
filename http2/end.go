package http2

import (
	"io"
	"time"

	"golang.org/x/net/http2"
)

// farewell is how long a client has to take what was said last, once nothing more is served.
const farewell = time.Second

// lingerOctets is how much of what it still sends is thrown away meanwhile.
const lingerOctets = 1 << 20

// linger lets a client that still sends read why nothing of it is taken.
func (c *Conn) linger() {
	if half, ok := c.conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(farewell))
	_, _ = io.CopyN(io.Discard, c.conn, lingerOctets) // it ends with the client, the time or the limit
}

// goAway tells the client which streams were taken (RFC 9113, section 6.8).
func (c *Conn) goAway(code http2.ErrCode) error {
	c.mu.Lock()
	last := c.last
	c.said = true
	c.mu.Unlock()
	return c.write(func() error { return c.framer.WriteGoAway(last, code, nil) })
}

// Drain takes no further request: the client is told, and the connection ends with the last one that there is.
func (c *Conn) Drain() {
	c.mu.Lock()
	begin := !c.draining && c.ended == nil
	c.draining = true
	c.mu.Unlock()
	if !begin {
		return
	}
	// What the client began before it heard of this is taken still: it is told once more when it has answered.
	time.AfterFunc(farewell, c.turnAway)
	go func() {
		_ = c.write(func() error {
			if err := c.framer.WriteGoAway(maxWindow, http2.ErrCodeNo, nil); err != nil {
				return err
			}
			return c.framer.WritePing(false, drained)
		})
	}()
}

// drained is the ping after which no new stream is taken.
var drained = [8]byte{'d', 'r', 'a', 'i', 'n', 'e', 'd'}

func (c *Conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// turnAway takes no new stream from now on.
func (c *Conn) turnAway() {
	c.mu.Lock()
	if c.said || c.ended != nil {
		c.mu.Unlock()
		return
	}
	c.said = true
	c.mu.Unlock()
	_ = c.goAway(http2.ErrCodeNo)
	c.calm()
}

// calm sees to the end of a connection on which nothing goes on.
func (c *Conn) calm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle.Stop()
	switch {
	case len(c.streams) > 0, c.serving > 0, c.ended != nil, c.draining && !c.said:
	case c.draining:
		c.idle = time.AfterFunc(farewell, func() { c.end(ErrEnded) })
	default:
		c.idle = time.AfterFunc(c.o.IdleTimeout, c.Drain)
	}
}

// end ends the connection, and all that goes on over it.
func (c *Conn) end(why error) {
	c.mu.Lock()
	if c.ended != nil {
		c.mu.Unlock()
		return
	}
	c.ended = why
	c.idle.Stop()
	streams := make([]*Stream, 0, len(c.streams))
	for _, s := range c.streams {
		streams = append(streams, s)
	}
	c.mu.Unlock()
	for _, s := range streams {
		s.fail(ErrEnded)
	}
	// Its farewell over TLS may take a while, and whoever writes may hold the lock of it.
	go c.conn.Close()
}
