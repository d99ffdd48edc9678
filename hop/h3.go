package hop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/fault"
	"watertight/name"
)

// Limits of the connections to one HTTP/3 proxy.
const (
	// h3Conns is how many there may be at once.
	h3Conns = 64
	// h3Streams is how many tunnels one carries. Most proxies allow a hundred; one that allows fewer is noticed.
	h3Streams = 90
	// h3Idle is after how long one without a tunnel is closed.
	h3Idle = 90 * time.Second
)

var errH3Closed = errors.New("the way out is closed")

// h3 is the connections of one chain to one HTTP/3 proxy, on which its tunnels and flows travel. No other chain ever uses them.
type h3 struct {
	l    *link
	size uint16 // of QUIC's packets, in octets

	mu     sync.Mutex
	conns  []*h3Conn
	making *h3Attempt // of a connection, under way; nil: none is
	closed bool
}

// h3Attempt is the making of a connection, for which all wait who need one.
type h3Attempt struct {
	done chan struct{} // closed at its end
	err  error         // why it failed; nil also where whoever made it gave up
}

// openFlow opens a flow of datagrams to an address of the proxy.
type openFlow func(ctx context.Context, to name.Target) (net.Conn, error)

// way is how a proxy is reached: where it may be, and by what.
type way struct {
	places func(ctx context.Context) ([]name.Target, error)
	flow   openFlow
	via    string // for messages
}

// tunnel opens a tunnel to t.
func (h *h3) tunnel(ctx context.Context, w way, t name.Target) (net.Conn, error) {
	return h.on(ctx, w, func(ctx context.Context, c *h3Conn) (net.Conn, error) {
		return c.tunnel(ctx, t, func() { h.done(c) })
	})
}

// packets opens a flow of datagrams to t.
func (h *h3) packets(ctx context.Context, w way, t name.Target) (net.Conn, error) {
	return h.on(ctx, w, func(ctx context.Context, c *h3Conn) (net.Conn, error) {
		return c.packets(ctx, t, func() { h.done(c) })
	})
}

// on lets do ask for something on a connection that has room, or on a new one. One that breaks before the proxy has answered
// is replaced, once.
func (h *h3) on(ctx context.Context, w way, do func(context.Context, *h3Conn) (net.Conn, error)) (net.Conn, error) {
	for again := true; ; {
		c, fresh, err := h.take(ctx, w)
		if err != nil {
			return nil, err
		}
		conn, err := do(ctx, c)
		if err == nil {
			return conn, nil
		}
		var unasked *h3Unasked
		isUnasked := errors.As(err, &unasked)
		h.giveBack(c, isUnasked && unasked.full, isUnasked && !unasked.full)
		switch {
		case !isUnasked || fresh || ctx.Err() != nil:
			return nil, fault.Of(err)
		case unasked.full: // another connection may have room
		case again:
			again = false
		default:
			return nil, fault.Of(err)
		}
	}
}

// h3Unasked is a request that the proxy never looked at.
type h3Unasked struct {
	err  error
	full bool // it may be asked on another connection, and this one goes on
}

func (e *h3Unasked) Error() string { return e.err.Error() }
func (e *h3Unasked) Unwrap() error { return e.err }

// take gives a connection with a place on it that is reserved. fresh says that nothing was asked on it before.
func (h *h3) take(ctx context.Context, w way) (c *h3Conn, fresh bool, err error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, false, fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errH3Closed)
		}
		for _, c := range h.conns {
			if !c.retired && !c.full && c.tunnels < h3Streams && c.conn.Context().Err() == nil {
				c.tunnels++
				h.mu.Unlock()
				return c, false, nil
			}
		}
		if a := h.making; a != nil {
			h.mu.Unlock()
			h.l.waiting(ctx, false)
			select {
			case <-a.done:
				if a.err != nil {
					mine := *fault.Of(a.err) // each client's fault is told more by whoever it passes
					return nil, false, &mine
				}
			case <-ctx.Done():
				return nil, false, h.l.gaveUp(ctx)
			}
			continue
		}
		if len(h.conns) >= h3Conns {
			h.mu.Unlock()
			return nil, false, fault.New(fault.Limit, fmt.Sprintf("the %d connections to %s are full", h3Conns, h.l.label), nil)
		}
		a := &h3Attempt{done: make(chan struct{})}
		h.making = a
		h.mu.Unlock()
		c, err := h.connect(ctx, w, a)
		return c, true, err
	}
}

// connect makes a connection and reserves the first place on it.
func (h *h3) connect(ctx context.Context, w way, a *h3Attempt) (*h3Conn, error) {
	c, err := h.dial(ctx, w)
	h.mu.Lock()
	defer h.mu.Unlock()
	defer close(a.done)
	h.making = nil
	if err == nil && h.closed {
		go c.release() // its farewell may take a while
		err = fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errH3Closed)
	}
	if err != nil {
		if ctx.Err() == nil { // else the others' time is not over
			a.err = err
		}
		return nil, err
	}
	c.tunnels = 1
	h.conns = append(h.conns, c)
	go h.look(c)
	return c, nil
}

// dial makes a connection to the first address of the proxy where it proves who it is. The error is a [*fault.Error].
func (h *h3) dial(ctx context.Context, w way) (*h3Conn, error) {
	places, err := w.places(ctx)
	if err != nil {
		return nil, h.l.unreached(err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, h.l.reach)
	defer cancel()
	for i, at := range places {
		var c *h3Conn
		if c, err = h.dialAt(ctx, w, at, len(places)-i); err == nil {
			return c, nil
		}
		if !aboutTheFarSide(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, h.l.unreached(err, w.via)
}

// dialAt makes a connection to one address of the proxy, in its share of the time where more are left to try.
func (h *h3) dialAt(ctx context.Context, w way, at name.Target, left int) (*h3Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	below := h.l.retold(ctx, w.via)
	if fault.Watched(ctx) {
		fault.Waiting(below, func() error { return fault.New(fault.ConnectTimeout, "no answer in time", context.DeadlineExceeded) })
	}
	flow, err := w.flow(below, at)
	if err != nil {
		return nil, err
	}
	peer, ok := at.AddrPort()
	if !ok { // QUIC wants an address to call it by; whoever carries the flow knows where it goes
		peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), at.Port())
	}
	return newH3Conn(ctx, h.l, flow, net.UDPAddrFromAddrPort(peer), h.size)
}

// done gives a place back when what had it is over.
func (h *h3) done(c *h3Conn) { h.giveBack(c, false, false) }

// giveBack gives a place back. A connection that is full takes nothing until it has less to carry, or, where it carries nothing,
// any more; and so does one that is retired.
func (h *h3) giveBack(c *h3Conn, full, retired bool) {
	h.mu.Lock()
	c.tunnels--
	c.full = full && c.tunnels > 0
	c.retired = c.retired || retired || full && c.tunnels == 0
	h.mu.Unlock()
	c.look()
}

// look waits for the end of a connection's use, and closes it: when it broke, or when it has no tunnel and none will come.
func (h *h3) look(c *h3Conn) {
	idle := time.NewTimer(h3Idle)
	defer idle.Stop()
	expired := false
	for {
		h.mu.Lock()
		free := c.tunnels == 0
		over := c.conn.Context().Err() != nil || free && (expired || c.retired || h.closed)
		if over {
			h.conns = slices.DeleteFunc(h.conns, func(other *h3Conn) bool { return other == c })
		}
		h.mu.Unlock()
		if over {
			c.release()
			return
		}
		if !free || expired {
			expired = false
			idle.Reset(h3Idle)
		}
		select {
		case <-c.changed:
		case <-c.conn.Context().Done():
		case <-idle.C:
			expired = true
		}
	}
}

// close takes no more tunnels. Those that there are go on, and the last one takes its connection along.
func (h *h3) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, c := range h.conns {
		c.look()
	}
}

// forget leaves the connections to the tunnels that they have: the next one gets a new connection.
func (h *h3) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		c.retired = true
		c.look()
	}
}
