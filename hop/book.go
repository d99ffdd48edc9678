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
)

// Limits of the connections to one proxy that carry several tunnels each.
const (
	// bookConns is how many there may be at once.
	bookConns = 64
	// bookIdle is after how long one without a tunnel is closed.
	bookIdle = 90 * time.Second
)

// errBookClosed is for a tunnel that is asked for after the way out was closed.
var errBookClosed = errors.New("the way out is closed")

// carrier is a connection that carries several tunnels.
type carrier interface {
	// take reserves a place where so many are taken, and says whether there is one.
	take(tunnels int) bool
	// dead is closed when the connection has ended.
	dead() <-chan struct{}
	// release ends the connection, once what was written last is sent.
	release()
}

// book is the connections of one chain to one proxy, on which its tunnels and flows travel. No other chain ever uses them.
type book[C carrier] struct {
	l *link

	mu     sync.Mutex
	conns  []*entry[C]
	made   uint64   // how many there were
	making *attempt // of a connection, under way; nil: none is
	closed bool
}

// entry is one connection. Its fields but for the first two are guarded by the book's lock.
type entry[C carrier] struct {
	conn    C
	changed chan struct{} // has a value when there may be something to look at

	seq     uint64 // 1 for the first of its book
	tunnels int
	full    bool // the proxy takes no more at the moment
	retired bool // it takes no more tunnels
}

func (e *entry[C]) look() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

func (e *entry[C]) isDead() bool {
	select {
	case <-e.conn.dead():
		return true
	default:
		return false
	}
}

// attempt is the making of a connection, for which all wait who need one.
type attempt struct {
	done chan struct{} // closed at its end
	err  error         // why it failed; nil also where whoever made it gave up
}

// unasked is a request that the proxy never looked at.
type unasked struct {
	err  error
	full bool // it may be asked on another connection, and this one goes on
}

func (e *unasked) Error() string { return e.err.Error() }
func (e *unasked) Unwrap() error { return e.err }

// on lets ask open a tunnel on a connection that has room, or on a new one, which dial makes; ask's done gives the place back.
// One that breaks before the proxy has answered is replaced, once, by one that was made since: what broke it may have broken
// others.
func (b *book[C]) on(ctx context.Context, dial func(context.Context) (C, error), ask func(context.Context, C, func()) (net.Conn, error)) (net.Conn, error) {
	b.mu.Lock()
	known := b.made
	b.mu.Unlock()
	var after uint64
	for again := true; ; {
		e, fresh, err := b.take(ctx, after, dial)
		if err != nil {
			return nil, err
		}
		conn, err := ask(ctx, e.conn, func() { b.giveBack(e, false, false) })
		if err == nil {
			return conn, nil
		}
		var why *unasked
		isUnasked := errors.As(err, &why)
		b.giveBack(e, isUnasked && why.full, isUnasked && !why.full)
		switch {
		case !isUnasked || fresh || ctx.Err() != nil:
			return nil, fault.Of(err)
		case why.full: // another connection may have room
		case again:
			again, after = false, known
		default:
			return nil, fault.Of(err)
		}
	}
}

// take gives a connection with a place on it that is reserved, made after so many others. fresh says that nothing was asked on it
// before.
func (b *book[C]) take(ctx context.Context, after uint64, dial func(context.Context) (C, error)) (e *entry[C], fresh bool, err error) {
	for {
		b.mu.Lock()
		if b.closed {
			b.mu.Unlock()
			return nil, false, fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errBookClosed)
		}
		for _, e := range b.conns {
			if e.seq > after && !e.retired && !e.full && !e.isDead() && e.conn.take(e.tunnels) {
				e.tunnels++
				b.mu.Unlock()
				return e, false, nil
			}
		}
		if a := b.making; a != nil {
			b.mu.Unlock()
			b.l.waiting(ctx, false)
			select {
			case <-a.done:
				if a.err != nil {
					mine := *fault.Of(a.err) // each client's fault is told more by whoever it passes
					return nil, false, &mine
				}
			case <-ctx.Done():
				return nil, false, b.l.gaveUp(ctx)
			}
			continue
		}
		if len(b.conns) >= bookConns {
			b.mu.Unlock()
			return nil, false, fault.New(fault.Limit, fmt.Sprintf("the %d connections to %s are full", bookConns, b.l.label), nil)
		}
		a := &attempt{done: make(chan struct{})}
		b.making = a
		b.mu.Unlock()
		e, err := b.connect(ctx, dial, a)
		return e, true, err
	}
}

// connect makes a connection and reserves the first place on it.
func (b *book[C]) connect(ctx context.Context, dial func(context.Context) (C, error), a *attempt) (*entry[C], error) {
	conn, err := dial(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	defer close(a.done)
	b.making = nil
	if err != nil {
		if ctx.Err() == nil { // else the others' time is not over
			a.err = err
		}
		return nil, err
	}
	switch {
	case b.closed:
		err = fault.New(fault.Internal, "a tunnel was asked for on a way out that is closed", errBookClosed)
	case !conn.take(0):
		err = fault.New(fault.HopRefused, b.l.label+" takes no tunnels", nil)
	}
	if err != nil {
		a.err = err
		go conn.release() // its farewell may take a while
		return nil, err
	}
	b.made++
	e := &entry[C]{conn: conn, changed: make(chan struct{}, 1), seq: b.made, tunnels: 1}
	b.conns = append(b.conns, e)
	go b.look(e)
	return e, nil
}

// giveBack gives a place back. A connection that is full takes nothing until it has less to carry, or, where it carries nothing,
// any more; and so does one that is retired.
func (b *book[C]) giveBack(e *entry[C], full, retired bool) {
	b.mu.Lock()
	e.tunnels--
	e.full = full && e.tunnels > 0
	e.retired = e.retired || retired || full && e.tunnels == 0
	b.mu.Unlock()
	e.look()
}

// look waits for the end of a connection's use, and closes it: when it broke, or when it has no tunnel and none will come.
func (b *book[C]) look(e *entry[C]) {
	idle := time.NewTimer(bookIdle)
	defer idle.Stop()
	expired := false
	for {
		b.mu.Lock()
		free := e.tunnels == 0
		over := e.isDead() || free && (expired || e.retired || b.closed)
		if over {
			b.conns = slices.DeleteFunc(b.conns, func(other *entry[C]) bool { return other == e })
		}
		b.mu.Unlock()
		if over {
			e.conn.release()
			return
		}
		if !free || expired {
			expired = false
			idle.Reset(bookIdle)
		}
		select {
		case <-e.changed:
		case <-e.conn.dead():
		case <-idle.C:
			expired = true
		}
	}
}

// close takes no more tunnels. Those that there are go on, and the last one takes its connection along.
func (b *book[C]) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, e := range b.conns {
		e.look()
	}
}

// forget leaves the connections to the tunnels that they have: the next one gets a new connection.
func (b *book[C]) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.conns {
		e.retired = true
		e.look()
	}
}
