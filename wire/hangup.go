package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// hangUpAfter is how long something is done for a client before anyone looks whether it is still there: most dials
// are over sooner, and cost a timer only.
const hangUpAfter = 250 * time.Millisecond

// ErrHungUp is the cause of a context that ended because the client did.
var ErrHungUp = errors.New("the client hung up")

// WatchHangUp gives a context that ends, with [ErrHungUp] as its cause, when the client ends its connection. It takes
// no octets from conn; the first that comes ends the watch, since a client which has sent something for the far side
// may end its own side and still wait for the answer.
//
// stop ends the watch and the context. It is called once, before anything else reads from conn. If the watch had
// begun, conn has no read deadline afterwards.
func WatchHangUp(ctx context.Context, conn *net.TCPConn) (watched context.Context, stop func()) {
	return watchHangUp(ctx, conn, hangUpAfter)
}

func watchHangUp(ctx context.Context, conn *net.TCPConn, after time.Duration) (watched context.Context, stop func()) {
	h := &hangUp{conn: conn}
	watched, h.end = context.WithCancelCause(ctx)
	h.running.Add(1)
	h.timer = time.AfterFunc(after, h.run)
	return watched, h.stop
}

// hangUp is one watch.
type hangUp struct {
	conn    *net.TCPConn
	end     context.CancelCauseFunc
	timer   *time.Timer
	running sync.WaitGroup

	mu      sync.Mutex
	stopped bool
}

func (h *hangUp) run() {
	defer h.running.Done()
	h.mu.Lock()
	if h.stopped {
		h.mu.Unlock()
		return
	}
	_ = h.conn.SetReadDeadline(time.Time{}) // it fails where the connection is closed, and then the wait does too
	h.mu.Unlock()
	if awaitHangUp(h.conn) {
		h.end(ErrHungUp)
	}
}

// past is a deadline that interrupts.
var past = time.Unix(1, 0)

func (h *hangUp) stop() {
	defer h.end(nil)
	if h.timer.Stop() {
		return
	}
	h.mu.Lock()
	h.stopped = true
	_ = h.conn.SetReadDeadline(past)
	h.mu.Unlock()
	h.running.Wait()
	_ = h.conn.SetReadDeadline(time.Time{})
}
