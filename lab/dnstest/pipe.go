package dnstest

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how many octets one direction of a pipe holds before a writer waits, as a socket's buffer does.
const window = 256 << 10

// Pipe gives the two ends of an in-memory connection. Unlike net.Pipe's, its ends hold octets in between, so that a
// side may write and close while the other does not read yet.
func Pipe(near, far netip.AddrPort) (net.Conn, net.Conn) {
	up, down := newHalf(), newHalf()
	a, b := net.TCPAddrFromAddrPort(near), net.TCPAddrFromAddrPort(far)
	return &pipeEnd{r: down, w: up, local: a, remote: b}, &pipeEnd{r: up, w: down, local: b, remote: a}
}

// half is one direction of a pipe.
type half struct {
	mu     sync.Mutex
	cond   *sync.Cond
	buf    []byte
	eof    bool // the writer closed
	reset  bool // the reader closed
	rd, wd deadline
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

// deadline wakes a half's waiters when it passes. It is guarded by the half's mutex.
type deadline struct {
	passed bool
	timer  *time.Timer
}

func (h *half) set(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.passed = false
	if !t.IsZero() {
		var timer *time.Timer
		timer = time.AfterFunc(max(0, time.Until(t)), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if d.timer == timer {
				d.passed = true
				h.cond.Broadcast()
			}
		})
		d.timer = timer
		d.passed = time.Until(t) <= 0
	}
	h.cond.Broadcast()
}

func (h *half) read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reset:
			return 0, net.ErrClosed
		case h.rd.passed:
			return 0, os.ErrDeadlineExceeded
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.cond.Broadcast()
			return n, nil
		case h.eof:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for {
		switch {
		case h.eof:
			return n, net.ErrClosed
		case h.reset:
			return n, syscall.EPIPE
		case h.wd.passed:
			return n, os.ErrDeadlineExceeded
		}
		room := min(len(b), window-len(h.buf))
		h.buf = append(h.buf, b[:room]...)
		b, n = b[room:], n+room
		h.cond.Broadcast()
		if len(b) == 0 {
			return n, nil
		}
		h.cond.Wait()
	}
}

func (h *half) close(flag *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*flag = true
	for _, d := range []*deadline{&h.rd, &h.wd} {
		if d.timer != nil {
			d.timer.Stop()
			d.timer = nil
		}
	}
	h.cond.Broadcast()
}

type pipeEnd struct {
	r, w          *half
	local, remote net.Addr
}

// Read gives what the other end wrote.
func (p *pipeEnd) Read(b []byte) (int, error) { return p.r.read(b) }

// Write waits only while the other end has a window of octets unread.
func (p *pipeEnd) Write(b []byte) (int, error) { return p.w.write(b) }

// CloseWrite ends this direction; the other goes on.
func (p *pipeEnd) CloseWrite() error {
	p.w.close(&p.w.eof)
	return nil
}

// Close ends both directions.
func (p *pipeEnd) Close() error {
	p.w.close(&p.w.eof)
	p.r.close(&p.r.reset)
	return nil
}

// LocalAddr is this end's address.
func (p *pipeEnd) LocalAddr() net.Addr { return p.local }

// RemoteAddr is the other end's address.
func (p *pipeEnd) RemoteAddr() net.Addr { return p.remote }

// SetDeadline bounds reads and writes.
func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.r.set(&p.r.rd, t)
	p.w.set(&p.w.wd, t)
	return nil
}

// SetReadDeadline bounds reads.
func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.r.set(&p.r.rd, t)
	return nil
}

// SetWriteDeadline bounds writes.
func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.w.set(&p.w.wd, t)
	return nil
}
