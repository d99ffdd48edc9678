package relay

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pipeSize = 1 << 20  // what a pipe is asked to hold: the most an unprivileged one may
	minPipe  = 64 << 10 // a pipe that holds less costs more than it saves

	maxPipes  = 512 // in all; a flow that gets none uses a buffer
	maxSpare  = 64  // kept for the next flow
	pauseTime = time.Second
)

// pipe is a kernel pipe that octets pass through without being copied.
type pipe struct {
	r, w int
	held int // octets in it
}

// pool lends pipes. The kernel lets a user without privileges have some 64 pipes of this size
// (pipe-user-pages-soft), after that it makes them too small to be of use: then the pool says no for a while, and
// flows copy instead.
type pool struct {
	mu     sync.Mutex
	spare  []*pipe
	lent   int
	paused atomic.Int64 // no new pipe is made before this time, in Unix nanoseconds
}

var pipes pool

// get gives an empty pipe, or nil if there is none to be had.
func (p *pool) get() *pipe {
	p.mu.Lock()
	if n := len(p.spare); n > 0 {
		one := p.spare[n-1]
		p.spare = p.spare[:n-1]
		p.lent++
		p.mu.Unlock()
		return one
	}
	if p.lent >= maxPipes {
		p.mu.Unlock()
		return nil
	}
	p.lent++
	p.mu.Unlock()
	one := p.open()
	if one == nil {
		p.mu.Lock()
		p.lent--
		p.mu.Unlock()
	}
	return one
}

func (p *pool) open() *pipe {
	now := time.Now().UnixNano()
	if now < p.paused.Load() {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		p.paused.Store(now + int64(pauseTime))
		return nil
	}
	one := &pipe{r: fds[0], w: fds[1]}
	for size := pipeSize; size >= minPipe; size /= 4 {
		if _, err := unix.FcntlInt(uintptr(one.w), unix.F_SETPIPE_SZ, size); err == nil {
			return one
		}
	}
	one.close()
	p.paused.Store(now + int64(pauseTime))
	return nil
}

// put takes a pipe back. One that still holds octets, of a flow that failed, is closed.
func (p *pool) put(one *pipe) {
	p.mu.Lock()
	p.lent--
	keep := one.held == 0 && len(p.spare) < maxSpare
	if keep {
		p.spare = append(p.spare, one)
	}
	p.mu.Unlock()
	if !keep {
		one.close()
	}
}

func (one *pipe) close() {
	_ = unix.Close(one.r) // a pipe of our own: there is nothing to lose in it
	_ = unix.Close(one.w)
}
