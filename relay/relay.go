// Package relay carries bytes between two connections, both ways, until both ways have ended.
//
// It promises that an end of one way reaches the other side as an end of that way only (half-close), that a reset is
// seen as a reset and never as a clean end, and that a relay which carries nothing holds no buffer and no pipe. On
// Linux, bytes between two kernel sockets do not pass through the program's memory while they flow in bulk. It never
// reads what it carries, and it never opens a connection.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"watertight/wire"
)

// linger is how long what a client still sends is read and thrown away after the far side refused it, so that the
// client reads the answer instead of a reset.
const linger = 2 * time.Second

// ErrNilConn is returned where one of the two connections is missing.
var ErrNilConn = errors.New("relay: two connections are needed")

// Pipe carries bytes from client to server and back until both ways have ended, and closes both connections. It
// gives the octets carried each way. A [wire.Headed] gives its head first and is then used as the bare socket it is.
//
// The end of one way is passed on (CloseWrite) and the other way goes on. A connection without CloseWrite is closed
// whole instead. Where reading fails, both ways end at once and the other side sees a reset. Where writing fails,
// what the far side had sent before is still carried back. A side that is reset after its clean end ends the other way
// too, after a short term. Cancelling ctx ends both ways; the error is then ctx's.
func Pipe(ctx context.Context, client, server net.Conn) (up, down int64, err error) {
	if client == nil || server == nil {
		return 0, 0, ErrNilConn
	}
	r := &relay{}
	var upHead, downHead []byte
	r.client, upHead = bare(client)
	r.server, downHead = bare(server)
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, r.cancel)
		defer stop()
	}
	defer r.close()

	r.up = flow{relay: r, src: r.client, dst: r.server, head: upHead}
	r.down = flow{relay: r, src: r.server, dst: r.client, head: downHead}
	r.up.other, r.down.other = &r.down, &r.up
	r.both.Add(1)
	go r.up.runAndTell()
	r.down.run()
	r.both.Wait()

	up, down = r.up.carried, r.down.carried
	switch {
	case r.err == nil:
		return up, down, nil
	case ctx.Err() != nil:
		return up, down, ctx.Err()
	case r.failed == &r.up:
		return up, down, fmt.Errorf("relay: from the client: %w", r.err)
	default:
		return up, down, fmt.Errorf("relay: to the client: %w", r.err)
	}
}

// bare gives the socket under a connection that was read ahead, and what was read.
func bare(c net.Conn) (net.Conn, []byte) {
	if h, ok := c.(*wire.Headed); ok {
		return h.TCPConn, h.TakeHead()
	}
	return c, nil
}

// relay is two flows between the same two connections.
type relay struct {
	client, server net.Conn
	up, down       flow
	both           sync.WaitGroup // the flow that runs in a goroutine of its own

	mu     sync.Mutex
	failed *flow // the flow that failed first
	err    error // why it failed
}

// flow is one way of a relay.
type flow struct {
	*relay
	other    *flow
	src, dst net.Conn
	head     []byte // read ahead from src
	carried  int64
	socket   // the system's part; empty where there is none

	ended   bool  // src ended cleanly; guarded by mu
	refused bool  // dst takes no more; guarded by mu
	lost    error // why src, which had ended, is gone; guarded by mu
}

func (f *flow) runAndTell() {
	defer f.both.Done()
	f.run()
}

// run carries the flow to its end and settles what that means for the other way.
func (f *flow) run() {
	err := f.writeHead()
	if err == nil {
		err = f.carry()
	}
	if err == nil {
		f.end()
		f.watch()
		return
	}
	var w *writeError
	refused := errors.As(err, &w)
	if refused {
		err = w.err
	}
	f.mu.Lock()
	lost := f.other.lost
	switch {
	case f.failed != nil:
	case lost != nil && !refused:
		f.failed, f.err = f.other, lost
	default:
		f.failed, f.err = f, err
	}
	f.mu.Unlock()
	if refused {
		f.discard()
		return
	}
	if lost != nil && taken(f.src) {
		resetOnClose(f.src)
	}
	f.abort()
}

// writeError marks an error of the writing side.
type writeError struct{ err error }

func (w *writeError) Error() string { return w.err.Error() }
func (w *writeError) Unwrap() error { return w.err }

func (f *flow) writeHead() error {
	if len(f.head) == 0 {
		return nil
	}
	n, err := f.dst.Write(f.head)
	f.head = nil
	f.carried += int64(n)
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// end passes a clean end of src on to dst. If the other way only waits for src to fall silent, it gets its term; if it
// has ended before, its watch is over.
func (f *flow) end() {
	f.mu.Lock()
	f.ended = true
	switch {
	case f.other.refused:
		f.endSoon()
	case f.other.ended: // the watch would see the end below too, but later, by way of the poller
		_ = f.dst.SetReadDeadline(time.Unix(1, 0))
	}
	f.mu.Unlock()
	if c, ok := f.dst.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite() // it fails where dst is gone, and then the other way ends too
	} else {
		_ = f.dst.Close()
	}
}

// endSoon lets the other way read for a short term, and no longer.
func (f *flow) endSoon() { _ = f.dst.SetReadDeadline(time.Now().Add(linger)) }

// discard is the end of a flow whose destination takes no more. What the source sends is thrown away, so that it is
// not blocked in sending while the answer comes back, until the other way has ended and a term after it.
func (f *flow) discard() {
	f.mu.Lock()
	f.refused = true
	if f.other.ended {
		f.other.endSoon()
	}
	f.mu.Unlock()
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for {
		if _, err := f.src.Read(b[:]); err != nil {
			return
		}
	}
}

// abort ends both ways at once, with a reset for dst.
func (f *flow) abort() {
	resetOnClose(f.dst)
	f.close()
}

// cancel ends both ways at once, with a reset for both sides.
func (r *relay) cancel() {
	resetOnClose(r.client)
	resetOnClose(r.server)
	r.close()
}

// resetOnClose makes the far side of a kernel socket see a reset, so that it does not take what it has for all.
func resetOnClose(c net.Conn) {
	switch c := c.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0) // it fails where the socket is gone already
	case interface{ Abort() }:
		c.Abort()
	}
}

func (r *relay) close() {
	_ = r.client.Close()
	_ = r.server.Close()
}

// buffer is what a flow moves through the program's memory at once.
type buffer [32 << 10]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// copyAll carries the flow through a buffer that is held until the end: for connections that are no kernel sockets.
func (f *flow) copyAll() error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	for {
		n, err := f.src.Read(b[:])
		if n > 0 {
			if err := f.write(b[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f *flow) write(b []byte) error {
	n, err := f.dst.Write(b)
	f.carried += int64(n)
	if err != nil {
		return &writeError{err}
	}
	return nil
}
