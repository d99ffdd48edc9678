package dns

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"watertight/dnswire"
)

// ServeTCP answers queries on the connections of l until ctx ends, and closes l. It gives nil then, or the error that
// ended the listener.
func (d *Door) ServeTCP(ctx context.Context, l *net.TCPListener) error {
	return d.serveStreams(ctx, l, TCP, func() bool { return isHome(l.Addr()) }, func(s *serving, conn net.Conn, c Client) { s.newStream(conn, c).serve() })
}

// serveStreams accepts until ctx ends, lets queries under way end, and closes l. Where proven says so, clients prove later
// who they are, or are known to be on this host, and any may connect.
func (d *Door) serveStreams(ctx context.Context, l net.Listener, p Proto, proven func() bool, serve func(*serving, net.Conn, Client)) error {
	defer l.Close()
	s := d.newServing(ctx)
	defer s.end()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	return s.accept(l, p, proven, func(conn net.Conn, c Client) {
		defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
		serve(s, conn, c)
	})
}

// stream is one connection on which queries and replies have their length in front (RFC 1035, section 4.2.2). Replies
// go out in the order in which they are there (RFC 7766, section 7).
type stream struct {
	s      *serving
	conn   net.Conn
	client Client
	r      *bufio.Reader

	ctx    context.Context // the queries'; it ends when the connection is of no use any more
	cancel context.CancelFunc
	slots  chan struct{} // one for each query under way
	wg     sync.WaitGroup
	under  atomic.Int64 // queries under way

	write sync.Mutex // held while a reply is written
}

// readAhead is the buffer of a connection in octets: some queries.
const readAhead = 1024

func (s *serving) newStream(conn net.Conn, c Client) *stream {
	t := &stream{s: s, conn: conn, client: c, r: bufio.NewReaderSize(conn, readAhead)}
	t.slots = make(chan struct{}, s.d.o.Pipeline)
	t.ctx, t.cancel = context.WithCancel(s.ctx)
	return t
}

// serve reads queries until the client or the door has had enough, and ends when the last one is answered. A client that
// ends its own side only gets what it asked for.
func (t *stream) serve() {
	defer t.cancel()
	defer context.AfterFunc(t.s.draining, func() { _ = t.conn.SetReadDeadline(past) })()
	for t.await() {
		job := jobs.Get().(*job)
		if !t.read(job) || !t.handle(job) {
			job.free()
			break
		}
	}
	t.wg.Wait()
}

// job is a query on a stream with its buffers.
type job struct {
	asking
	in, out []byte
}

var jobs = sync.Pool{New: func() any { return &job{in: make([]byte, 512), out: make([]byte, 0, 2048)} }}

// maxKept is how large a buffer may be that is used again.
const maxKept = 4096

func (j *job) free() {
	if cap(j.in) <= maxKept && cap(j.out) <= maxKept {
		jobs.Put(j)
	}
}

// await waits for the first octet of another query, as long as a client may be idle; the time begins anew while queries
// are under way (RFC 7766, section 6.2.3).
func (t *stream) await() bool {
	for {
		if err := t.conn.SetReadDeadline(time.Now().Add(t.s.d.o.Idle)); err != nil || t.s.draining.Err() != nil {
			return false
		}
		_, err := t.r.Peek(1)
		switch {
		case err == nil:
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded):
			if !errors.Is(err, io.EOF) {
				t.cancel() // reset: nobody reads the replies
			}
			return false
		case t.under.Load() == 0:
			return false
		}
	}
}

// read reads a message that has begun.
func (t *stream) read(j *job) bool {
	_ = t.conn.SetReadDeadline(time.Now().Add(t.s.d.o.Stall))
	if t.s.draining.Err() != nil {
		return false
	}
	var length [2]byte
	if _, err := io.ReadFull(t.r, length[:]); err != nil {
		t.s.d.stats.cutOff.Add(1)
		return false
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > cap(j.in) {
		j.in = make([]byte, n)
	}
	j.in = j.in[:n]
	if _, err := io.ReadFull(t.r, j.in); err != nil {
		t.s.d.stats.cutOff.Add(1)
		return false
	}
	return true
}

// handle answers a query, or has it answered. It says false where the connection is to end.
func (t *stream) handle(j *job) (more bool) {
	j.keepAlive = t.patience()
	out, next := t.s.d.begin(append(j.out[:0], 0, 0), j.in, t.client, &j.asking)
	switch next {
	case silence: // neither is an answer to a reply, nor what comes after it to be trusted
		return false
	case wait:
	default:
		j.out = out
		if !t.send(j.out) {
			return false
		}
		j.free()
		return true
	}
	select {
	case t.slots <- struct{}{}: // where there is none, the client is not read on
	case <-t.ctx.Done():
		t.s.d.stats.waiting.Add(-1)
		return false
	}
	t.under.Add(1)
	t.wg.Go(func() {
		defer j.free()
		defer t.under.Add(-1)
		defer func() { <-t.slots }()
		j.out = t.s.d.finish(t.ctx, append(j.out[:0], 0, 0), &j.asking)
		if len(j.out) > 2 { // else nothing is to be said
			t.send(j.out)
		}
	})
	return true
}

// patience is how long the connection may be idle, as the client is told: not at all once the door is draining
// (RFC 7828, section 3.4).
func (t *stream) patience() uint16 {
	if t.s.draining.Err() != nil {
		return 0
	}
	return uint16(min(t.s.d.o.Idle/(100*time.Millisecond), math.MaxUint16))
}

// send writes a reply with its length, in one piece. A client that does not take it in time is cut off.
func (t *stream) send(b []byte) bool {
	if len(b)-2 > dnswire.MaxMessage {
		return false
	}
	binary.BigEndian.PutUint16(b, uint16(len(b)-2))
	t.write.Lock()
	defer t.write.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	_ = t.conn.SetWriteDeadline(time.Now().Add(t.s.d.o.Stall))
	if _, err := t.conn.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.s.d.stats.cutOff.Add(1)
		}
		t.cancel()
		_ = t.conn.Close()
		return false
	}
	return true
}
