package gateway

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"watertight/route"
)

const (
	// idle1 is how long a connection of HTTP/1.1 to an origin waits for another request. It is short: a connection that the
	// origin is about to close does not swallow a request that cannot be repeated.
	idle1 = 2 * time.Second
	// idle2 is the same for HTTP/2, whose end is told in time for a request to be sent elsewhere.
	idle2 = 90 * time.Second
)

// pool is the connections to one origin.
type pool struct {
	*origin
	onEmpty func()

	mu      sync.Mutex
	conns   []*conn
	asking  int           // requests that look for a connection
	first   chan struct{} // closed at the end of the dial that all wait for, where nothing is known of the origin yet; nil: none is under way
	failed  error         // why that dial failed
	plain   bool          // the origin chose HTTP/1.1 of late: one connection carries one request, and nobody waits
	closed  bool
	emptied bool
}

// carrier is what [http.ClientConn] is, and a connection of HTTP/3.
type carrier interface {
	http.RoundTripper
	Reserve() error
	Release()
	Err() error
	InFlight() int
	Close() error
}

// conn is one connection to an origin.
type conn struct {
	carrier
	pool  *pool
	under *watched // nil with HTTP/2 and HTTP/3
	own   bool     // it leads to the origin's own name and port
	three bool     // HTTP/3
	idle  time.Duration
	timer *time.Timer // runs while it carries nothing; guarded by pool.mu
}

// get gives a connection with room for one request, which the caller sends or gives back by Release. It is a new one where
// fresh says so, or there is none. again says that no dial of this request's own was made, so that none was reported: the
// connection carried others before, or the dial of another failed.
func (p *pool) get(ctx context.Context, r route.Request, fresh bool) (c *conn, again bool, err error) {
	p.mu.Lock()
	p.asking++
	p.mu.Unlock()
	defer p.asked()
	for {
		better := !p.entry.NoHTTP3 && p.known.port(time.Now()) != 0 && p.entry.Way.CarriesPackets(r)
		p.mu.Lock()
		if !fresh {
			if c := p.take(better); c != nil {
				p.mu.Unlock()
				return c, true, nil
			}
		}
		if wait := p.first; wait != nil && !fresh && !p.plain {
			p.mu.Unlock()
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, false, ctx.Err()
			}
			p.mu.Lock()
			err := p.failed
			p.mu.Unlock()
			if err != nil {
				return nil, true, err
			}
			continue
		}
		leads := p.first == nil && !fresh && !p.plain
		if leads {
			p.first, p.failed = make(chan struct{}), nil
		}
		p.mu.Unlock()
		c, err := p.open(ctx, r)
		if leads {
			p.mu.Lock()
			if ctx.Err() == nil { // else it says nothing of the origin: the next who waits tries
				p.failed = err
			}
			close(p.first)
			p.first = nil
			p.mu.Unlock()
		}
		return c, false, err
	}
}

// take gives a connection that has room; where three says so, one of HTTP/3. p.mu is held.
func (p *pool) take(three bool) *conn {
	for _, c := range p.conns {
		if three && !c.three && c.own {
			continue // the origin has said since that it speaks HTTP/3
		}
		if c.Err() == nil && c.Reserve() == nil {
			c.stopTimer()
			return c
		}
	}
	return nil
}

// open makes a connection, and reserves it for the caller.
func (p *pool) open(ctx context.Context, r route.Request) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	f, err := p.find(ctx, r)
	if err != nil {
		return nil, err
	}
	c, err := p.race(ctx, r, f)
	if err != nil {
		return nil, err
	}
	if err := c.Reserve(); err != nil {
		_ = c.Close()
		return nil, p.failure("ended the connection at once", err)
	}
	p.mu.Lock()
	p.plain = c.idle == idle1
	p.add(c)
	p.mu.Unlock()
	c.listen()
	return c, nil
}

// add takes a connection in; one of HTTP/3 goes before the others. p.mu is held.
func (p *pool) add(c *conn) {
	if c.three {
		p.conns = slices.Insert(p.conns, 0, c)
		return
	}
	p.conns = append(p.conns, c)
}

// adopt takes in a connection of HTTP/3 that came about after another one.
func (p *pool) adopt(c *conn) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.add(c)
		c.timer = time.AfterFunc(c.idle, c.expired)
	}
	p.mu.Unlock()
	if closed {
		_ = c.Close()
		return
	}
	c.listen()
}

// listen has the connection tell of its changes. It may do so in Reserve, under p.mu.
func (c *conn) listen() {
	switch of := c.carrier.(type) {
	case *http.ClientConn:
		of.SetStateHook(func(*http.ClientConn) { go c.changed() })
	case *conn3:
		of.setStateHook(func() { go c.changed() })
	}
}

// overTCP makes a connection of HTTP/2 or HTTP/1.1.
func (p *pool) overTCP(ctx context.Context, r route.Request, f *found) (*conn, error) {
	defer f.drop()
	secure, at, err := p.connectTo(ctx, r, f, []string{"h2", "http/1.1"})
	if err != nil {
		return nil, err
	}
	cc, under, err := clientConn(ctx, secure)
	if err != nil {
		return nil, p.failure("does not speak HTTP", err)
	}
	c := &conn{carrier: cc, pool: p, under: under, own: at.at == p.target, idle: idle2}
	if under != nil {
		c.idle = idle1
	}
	return c, nil
}

// changed is called when a request of the connection has ended, or the connection has.
func (c *conn) changed() {
	p := c.pool
	p.mu.Lock()
	over := false
	switch {
	case c.Err() != nil:
		p.remove(c)
		over = c.three && c.InFlight() == 0 // one that takes no more is there until it is closed
	case c.InFlight() > 0:
	case p.closed:
		p.remove(c)
		over = true
	case c.timer == nil:
		c.timer = time.AfterFunc(c.idle, c.expired)
	}
	p.mu.Unlock()
	if over {
		_ = c.Close()
	}
	p.tell()
}

// expired ends a connection that carried nothing for long.
func (c *conn) expired() {
	p := c.pool
	p.mu.Lock()
	over := c.timer != nil && c.InFlight() == 0
	c.timer = nil
	if over {
		p.remove(c)
	}
	p.mu.Unlock()
	if over {
		_ = c.Close()
	}
	p.tell()
}

// stopTimer is for a connection that carries something again. The pool's mu is held.
func (c *conn) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// remove takes a connection out of the pool. p.mu is held.
func (p *pool) remove(c *conn) {
	c.stopTimer()
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	if len(p.conns) == 0 {
		p.emptied = true
	}
}

// asked is the end of get.
func (p *pool) asked() {
	p.mu.Lock()
	p.asking--
	p.emptied = p.emptied || len(p.conns) == 0
	p.mu.Unlock()
	p.tell()
}

// tell says that the pool has become empty, once, without its lock.
func (p *pool) tell() {
	p.mu.Lock()
	said := p.emptied && p.asking == 0
	p.emptied = p.emptied && !said
	p.mu.Unlock()
	if said {
		p.onEmpty()
	}
}

// unused says that nobody would miss the pool.
func (p *pool) unused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) == 0 && p.asking == 0
}

// close ends connections that carry nothing, and the others when they carry nothing any more.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var idle []*conn
	for _, c := range slices.Clone(p.conns) {
		if c.InFlight() == 0 {
			p.remove(c)
			idle = append(idle, c)
		}
	}
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}
