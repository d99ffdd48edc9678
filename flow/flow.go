// Package flow carries datagrams between a client and many far sides, each by a flow of its own.
//
// It promises that whoever brings datagrams is never made to wait, that all it holds is bounded in number, octets and
// time, and that a client hears from those alone whom it has sent something. It opens no socket and looks nothing up: a
// flow is opened by a function that it is given.
package flow

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits of a table.
const (
	DefaultFlows = 64              // at a time
	DefaultIdle  = 2 * time.Minute // without a datagram either way (RFC 4787, REQ-5)
	refusedFor   = 5 * time.Second // how long a far side that was refused is not asked for again
	freshFor     = 5 * time.Second // a flow used since is not given up for another
	queued       = 32              // datagrams that wait for a flow to be opened, or for its way out
	queuedOctets = 1 << 20         // of all flows of a table
	MaxDatagram  = 65535           // octets; what is longer cannot be
)

// Leg is an open flow: Far is where its datagrams go, and Reply brings what comes from there to the client. Far is closed
// at the end of the flow. Reply keeps nothing of its argument.
type Leg struct {
	Far   net.Conn
	Reply func(b []byte)
}

// Options is what a table is made of.
type Options[K comparable] struct {
	// Open opens the flow for a key. next waits for one more of the client's datagrams and shows it, the first one first;
	// it says false where none comes before ctx ends, or too many have been shown. What was shown is sent all the same.
	Open func(ctx context.Context, key K, next func(ctx context.Context) ([]byte, bool)) (Leg, error)
	// Ended hears of the end of a flow that was open, with the octets it carried to the far side and back.
	Ended func(key K, up, down int64, took time.Duration)
	// Refused hears of each datagram that was dropped because its flow was refused: of those that waited for it, and of those
	// that come in the moment afterwards in which it is not asked for again; and of each time the far side says that nobody is
	// there. Nil tells nobody.
	Refused func(key K)
	// Budget is shared by the tables of one door.
	Budget *Budget
	// Client says whose a flow is, for its share of the budget.
	Client func(key K) string
	Flows  int           // zero means DefaultFlows; more than the budget leaves the limit to that
	Idle   time.Duration // zero means DefaultIdle
}

// Table is the flows of one client, or of many. Its methods may be called from many goroutines.
type Table[K comparable] struct {
	o     Options[K]
	began time.Time
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	flows  map[K]*flow[K]
	octets int // that wait
}

// flow is one key's. One goroutine owns it.
type flow[K comparable] struct {
	key      K
	queue    chan []byte
	used     atomic.Int64 // when, in nanoseconds since the table began; long ago for one that was refused
	ctx      context.Context
	end      context.CancelFunc
	place    *Place
	held     [][]byte // shown before the flow was open; they wait still
	up, down atomic.Int64
}

// wasRefused stands for when a refused flow was used: it makes room for any other.
const wasRefused = -1 << 62

func (f *flow[K]) isRefused() bool { return f.used.Load() == wasRefused }

// NewTable checks the options. The table ends with ctx; the caller calls Close all the same.
func NewTable[K comparable](ctx context.Context, o Options[K]) (*Table[K], error) {
	switch {
	case o.Open == nil, o.Ended == nil:
		return nil, errors.New("flow: a table needs functions that open a flow and hear of its end")
	case o.Budget == nil, o.Client == nil:
		return nil, errors.New("flow: a table needs a budget, and who has a share of it")
	case o.Flows < 0, o.Idle < 0:
		return nil, errors.New("flow: a limit is negative")
	}
	if o.Flows == 0 {
		o.Flows = DefaultFlows
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	t := &Table[K]{o: o, began: time.Now(), flows: map[K]*flow[K]{}}
	t.ctx, t.end = context.WithCancel(ctx)
	return t, nil
}

// Close ends every flow, and waits for it.
func (t *Table[K]) Close() {
	t.mu.Lock()
	t.end() // under the lock: no flow begins afterwards
	t.mu.Unlock()
	t.wg.Wait()
}

// Len is how many flows there are.
func (t *Table[K]) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.flows)
}

// Send takes a client's datagram, which it copies. It says false where the datagram is dropped: there are too many
// flows, or too much waits.
func (t *Table[K]) Send(key K, b []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[key]
	if f == nil {
		if f = t.begin(key); f == nil {
			return false
		}
	}
	if !f.isRefused() {
		f.used.Store(t.now())
	}
	if t.octets+len(b) > queuedOctets {
		return false
	}
	select {
	case f.queue <- append([]byte(nil), b...):
		t.octets += len(b)
		return true
	default:
		return false
	}
}

// begin makes a flow, or gives nil where there is no room. The caller holds t.mu.
func (t *Table[K]) begin(key K) *flow[K] {
	if t.ctx.Err() != nil || len(t.flows) >= t.o.Flows && !t.giveUpOldest() {
		return nil
	}
	f := &flow[K]{key: key, queue: make(chan []byte, queued)}
	f.ctx, f.end = context.WithCancel(t.ctx)
	f.used.Store(t.now())
	if f.place = t.o.Budget.Take(t.o.Client(key), f.end, func() time.Time { return t.began.Add(time.Duration(f.used.Load())) }); f.place == nil {
		f.end()
		return nil
	}
	t.flows[key] = f
	t.wg.Go(func() { t.run(f) })
	return f
}

// giveUpOldest makes room for a flow where one has not been used for a while. The caller holds t.mu.
func (t *Table[K]) giveUpOldest() bool {
	var oldest *flow[K]
	for _, f := range t.flows {
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
	}
	if t.now()-oldest.used.Load() < int64(freshFor) {
		return false
	}
	delete(t.flows, oldest.key)
	oldest.end()
	return true
}

func (t *Table[K]) now() int64 { return int64(time.Since(t.began)) }

// took books that something waits no longer.
func (t *Table[K]) took(b []byte) {
	t.mu.Lock()
	t.octets -= len(b)
	t.mu.Unlock()
}

// leave takes a flow that has ended out of the table, with what still waits for it.
func (t *Table[K]) leave(f *flow[K]) {
	f.end()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows[f.key] == f {
		delete(t.flows, f.key)
	}
	for _, b := range f.held {
		t.octets -= len(b)
	}
	for {
		select {
		case b := <-f.queue:
			t.octets -= len(b)
		default:
			t.o.Budget.GiveBack(f.place)
			return
		}
	}
}

// run opens a flow and carries what is sent to it. One that is refused stays for a moment and drops what comes, so that a
// client which goes on sending does not ask again with each datagram.
func (t *Table[K]) run(f *flow[K]) {
	defer t.leave(f)
	leg, err := t.o.Open(f.ctx, f.key, func(ctx context.Context) ([]byte, bool) { return t.next(ctx, f) })
	if err != nil {
		t.refused(f)
		return
	}
	opened := time.Now()
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer f.end()
		t.read(f, leg)
	}()
	t.write(f, leg)
	f.end()
	leg.Far.Close()
	<-read
	t.o.Ended(f.key, f.up.Load(), f.down.Load(), time.Since(opened))
}

// next shows one more datagram to whoever opens the flow.
func (t *Table[K]) next(ctx context.Context, f *flow[K]) ([]byte, bool) {
	if len(f.held) >= queued {
		return nil, false
	}
	select {
	case b := <-f.queue:
		f.held = append(f.held, b)
		return b, true
	case <-ctx.Done():
	case <-f.ctx.Done():
	}
	return nil, false
}

// refused drops what is sent to a far side that was refused, for a while.
func (t *Table[K]) refused(f *flow[K]) {
	f.used.Store(wasRefused)
	for _, b := range f.held {
		t.drop(f, b)
	}
	f.held = nil
	over := time.NewTimer(refusedFor)
	defer over.Stop()
	for {
		select {
		case b := <-f.queue:
			t.drop(f, b)
		case <-over.C:
			return
		case <-f.ctx.Done():
			return
		}
	}
}

// drop is the end of a datagram whose flow was refused.
func (t *Table[K]) drop(f *flow[K], b []byte) {
	t.took(b)
	if t.o.Refused != nil {
		t.o.Refused(f.key)
	}
}

// write sends what the client has sent, until the flow ends or nothing has gone either way for too long.
func (t *Table[K]) write(f *flow[K], leg Leg) {
	for len(f.held) > 0 {
		b := f.held[0]
		f.held = f.held[1:]
		t.took(b)
		if !send(f, leg, b) {
			return
		}
	}
	f.held = nil
	idle := time.NewTimer(t.o.Idle)
	defer idle.Stop()
	for {
		select {
		case b := <-f.queue:
			t.took(b)
			if !send(f, leg, b) {
				return
			}
		case <-idle.C:
			rest := t.o.Idle - time.Duration(t.now()-f.used.Load())
			if rest <= 0 {
				return
			}
			idle.Reset(rest)
		case <-f.ctx.Done():
			return
		}
	}
}

// send gives false where the flow carries no more. A datagram may be lost without that.
func send[K comparable](f *flow[K], leg Leg, b []byte) bool {
	_, err := leg.Far.Write(b)
	if err == nil {
		f.up.Add(int64(len(b)))
	}
	return err == nil || IsLoss(err)
}

// IsLoss says whether an error is about one datagram, or about one that went before.
func IsLoss(err error) bool {
	for _, e := range []error{syscall.ECONNREFUSED, syscall.EMSGSIZE, syscall.ENOBUFS, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var buffers = sync.Pool{New: func() any { return new([MaxDatagram]byte) }}

// read brings the client what the far side sends, until the flow ends.
func (t *Table[K]) read(f *flow[K], leg Leg) {
	buf := buffers.Get().(*[MaxDatagram]byte)
	defer buffers.Put(buf)
	for {
		n, err := leg.Far.Read(buf[:])
		if err != nil {
			if f.ctx.Err() == nil && IsLoss(err) {
				if t.o.Refused != nil && errors.Is(err, syscall.ECONNREFUSED) {
					t.o.Refused(f.key)
				}
				continue
			}
			return
		}
		f.used.Store(t.now())
		f.down.Add(int64(n))
		leg.Reply(buf[:n])
	}
}
