package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"watertight/fault"
	"watertight/name"
)

// Limits of the connections to one HTTP/2 proxy.
const (
	// muxConns is how many there may be at once. How many tunnels each carries, the proxy says (RFC 9113, section 5.1.2).
	muxConns = 64
	// muxIdle is after how long one without a tunnel is closed.
	muxIdle = 90 * time.Second
)

// errMuxClosed is for a tunnel that is asked for after the way out was closed.
var errMuxClosed = errors.New("the way out is closed")

// mux is the connections of one chain to one HTTP/2 proxy, on which its tunnels travel. No other chain ever uses them.
type mux struct {
	l *link

	mu     sync.Mutex
	conns  []*muxConn
	made   uint64   // how many there were
	making *attempt // of a connection, under way; nil: none is
	closed bool
}

// attempt is the making of a connection, for which all wait who need one.
type attempt struct {
	done chan struct{} // closed at its end
	err  error         // why it failed; nil also where whoever made it gave up
}

// tunnel opens a tunnel to t, on a connection that has room or on a new one, which reach begins. A connection that breaks
// before the proxy has answered is replaced, once, by one that was made since: what broke it may have broken others.
func (m *mux) tunnel(ctx context.Context, t name.Target, reach func() (net.Conn, error)) (net.Conn, error) {
	m.mu.Lock()
	known := m.made
	m.mu.Unlock()
	var after uint64
	for again := true; ; again = false {
		c, fresh, err := m.take(ctx, after, reach)
		if err != nil {
			return nil, err
		}
		conn, lost, err := c.open(ctx, t)
		if err == nil {
			return conn, nil
		}
		if lost {
			m.retire(c)
		}
		if !lost || fresh || !again || ctx.Err() != nil {
			return nil, err
		}
		after = known
	}
}

// take gives a connection with a place for one tunnel that is reserved on it, made after so many others. fresh says that
// nothing was asked on it before.
func (m *mux) take(ctx context.Context, after uint64, reach func() (net.Conn, error)) (c *muxConn, fresh bool, err error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, false, fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errMuxClosed)
		}
		for _, c := range m.conns {
			if c.seq > after && !c.retired && c.http.Reserve() == nil {
				m.mu.Unlock()
				return c, false, nil
			}
		}
		if a := m.making; a != nil {
			m.mu.Unlock()
			m.l.waiting(ctx, false)
			select {
			case <-a.done:
				if a.err != nil {
					mine := *fault.Of(a.err) // each client's fault is told more by whoever it passes
					return nil, false, &mine
				}
			case <-ctx.Done():
				return nil, false, m.l.gaveUp(ctx)
			}
			continue
		}
		if len(m.conns) >= muxConns {
			m.mu.Unlock()
			return nil, false, fault.New(fault.Limit, fmt.Sprintf("the %d connections to %s are full", muxConns, m.l.label), nil)
		}
		a := &attempt{done: make(chan struct{})}
		m.making = a
		m.mu.Unlock()
		c, err := m.connect(ctx, reach, a)
		return c, true, err
	}
}

// connect makes a connection and reserves the first place on it.
func (m *mux) connect(ctx context.Context, reach func() (net.Conn, error), a *attempt) (*muxConn, error) {
	c, err := m.dial(ctx, reach)
	m.mu.Lock()
	defer m.mu.Unlock()
	defer close(a.done)
	m.making = nil
	switch {
	case err != nil:
		if ctx.Err() == nil { // else the others' time is not over
			a.err = err
		}
		return nil, err
	case m.closed:
		err = fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errMuxClosed)
	default:
		if reserved := c.http.Reserve(); reserved != nil {
			err = m.l.lost(reserved, false)
			a.err = err
		}
	}
	if err != nil {
		go c.http.Close() // its farewell over TLS may take a while
		return nil, err
	}
	m.made++
	c.seq = m.made
	m.conns = append(m.conns, c)
	go m.look(c)
	return c, nil
}

// dial reaches the proxy and speaks with it until both know that it is HTTP/2.
func (m *mux) dial(ctx context.Context, reach func() (net.Conn, error)) (*muxConn, error) {
	raw, err := reach()
	if err != nil {
		return nil, err
	}
	var c *muxConn
	err = m.l.handshake(ctx, raw, func() error {
		m.l.waiting(ctx, false)
		conn, err := m.l.encrypt(raw)
		if err != nil {
			return err
		}
		c, err = newMuxConn(ctx, m.l, conn)
		return err
	})
	if err != nil && c != nil {
		c.http.Close()
	}
	return c, err
}

// retire takes no more tunnels on a connection. Those that it has go on.
func (m *mux) retire(c *muxConn) {
	m.mu.Lock()
	c.retired = true
	m.mu.Unlock()
	c.look()
}

// look waits for the end of a connection's use, and closes it: when it broke, or when it has no tunnel and none will come.
func (m *mux) look(c *muxConn) {
	idle := time.NewTimer(muxIdle)
	defer idle.Stop()
	expired := false
	for {
		m.mu.Lock()
		free := c.http.InFlight() == 0
		over := c.http.Err() != nil || free && (expired || c.retired || m.closed)
		if over {
			m.conns = slices.DeleteFunc(m.conns, func(other *muxConn) bool { return other == c })
		}
		m.mu.Unlock()
		if over {
			c.http.Close()
			return
		}
		if !free || expired {
			expired = false
			idle.Reset(muxIdle)
		}
		select {
		case <-c.changed:
		case <-idle.C:
			expired = true
		}
	}
}

// close takes no more tunnels. Those that there are go on, and the last one takes its connection along.
func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, c := range m.conns {
		c.look()
	}
}

// forget leaves the connections to the tunnels that they have: the next one gets a new connection.
func (m *mux) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.conns {
		c.retired = true
		c.look()
	}
}
