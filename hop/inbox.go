package hop

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// inboxRoom is how many datagrams wait for their reader; those over it are lost, as with a socket of the kernel.
const inboxRoom = 256

// inboxOctets is how much that may be together. What is sent in capsules may be far longer than what a network carries.
const inboxOctets = 1 << 20

// inbox is where datagrams wait that came inside of something else.
type inbox struct {
	in    chan []byte
	held  atomic.Int64 // octets in it
	ended chan struct{}

	mu    sync.Mutex
	why   error // once ended is closed
	until time.Time
	moved chan struct{} // closed when until changes; nil where nobody reads
}

func newInbox() *inbox {
	return &inbox{in: make(chan []byte, inboxRoom), ended: make(chan struct{})}
}

// put leaves a datagram, which is not copied.
func (i *inbox) put(b []byte) {
	if i.held.Add(int64(len(b))) > inboxOctets {
		i.held.Add(-int64(len(b)))
		return
	}
	select {
	case i.in <- b:
	default:
		i.held.Add(-int64(len(b)))
	}
}

// end lets reading fail from now on. The first reason counts; it says whether this is it.
func (i *inbox) end(why error) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.why != nil {
		return false
	}
	i.why = why
	close(i.ended)
	return true
}

// failure is why the inbox ended; nil where it has not.
func (i *inbox) failure() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.why
}

// Read gives the next datagram. What has no room in b is dropped.
func (i *inbox) Read(b []byte) (int, error) {
	for {
		i.mu.Lock()
		if i.moved == nil {
			i.moved = make(chan struct{})
		}
		until, moved, why := i.until, i.moved, i.why
		i.mu.Unlock()
		if why != nil {
			return 0, why
		}
		if n, ok, err := i.wait(b, until, moved); ok || err != nil {
			return n, err
		}
	}
}

func (i *inbox) wait(b []byte, until time.Time, moved <-chan struct{}) (n int, ok bool, err error) {
	var late <-chan time.Time
	if !until.IsZero() {
		left := time.Until(until)
		if left <= 0 {
			return 0, false, os.ErrDeadlineExceeded
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case d := <-i.in:
		i.held.Add(-int64(len(d)))
		if len(d) > len(b) {
			return 0, false, nil
		}
		return copy(b, d), true, nil
	case <-late:
		return 0, false, os.ErrDeadlineExceeded
	case <-moved:
	case <-i.ended:
	}
	return 0, false, nil
}

// SetReadDeadline bounds the waiting for a datagram, also of a Read under way.
func (i *inbox) SetReadDeadline(t time.Time) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.why != nil {
		return net.ErrClosed
	}
	i.until = t
	if i.moved != nil {
		close(i.moved)
		i.moved = nil
	}
	return nil
}
