package http2

import (
	"errors"
	"os"
	"sync"
	"time"
)

// deadline is a time after which waiting ends; it may be moved meanwhile.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  chan struct{} // closed when the time is over
}

func (d *deadline) channel() chan struct{} {
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

// set moves the deadline; the zero time is none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.channel() // it is being closed
	}
	d.timer = nil
	over := d.channel()
	passed := isClosed(over)
	if passed && (t.IsZero() || time.Until(t) > 0) {
		d.over = make(chan struct{})
		over, passed = d.over, false
	}
	switch left := time.Until(t); {
	case t.IsZero(), passed:
	case left <= 0:
		close(over)
	default:
		d.timer = time.AfterFunc(left, func() { close(over) })
	}
}

// wait gives a channel that is closed when the time is over.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.channel()
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// patient reads from the connection, and asks a client that is silent whether it is still there.
type patient struct{ c *Conn }

func (p *patient) Read(b []byte) (int, error) {
	c := p.c
	for asked := false; ; asked = true {
		wait := c.o.PingAfter
		if asked {
			wait = c.o.PingTimeout
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(wait))
		n, err := c.conn.Read(b)
		if n > 0 || asked || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if err := c.write(func() error { return c.framer.WritePing(false, [8]byte{}) }); err != nil {
			return 0, err
		}
	}
}
