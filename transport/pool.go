package transport

import (
	"context"
	"slices"
	"sync"
	"time"

	"watertight/fault"
)

// Limits of an upstream's connections.
const (
	maxLinks    = 4   // connections at once
	maxInFlight = 128 // questions at once on one connection
)

// slot is a link with what the pool knows of it.
type slot struct {
	link
	seq       uint64
	inFlight  int
	lastReply time.Time
	idle      *time.Timer
	leaving   bool // out of use: closed with its last question
}

// links keeps the connections of one upstream. One dial at a time serves all who wait for a connection.
type links struct {
	c *Client

	mu      sync.Mutex
	closed  bool
	era     uint64 // counts flushes
	seq     uint64
	slots   []*slot
	left    []*slot // out of use, with questions under way
	dialing *dialing
	freed   chan struct{} // closed when a question ended or a connection came or went
}

type dialing struct {
	done  chan struct{}
	fail  *Failure
	watch *fault.Watch
}

// enter books a question, unless the client is closed.
func (p *links) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.c.wg.Add(1)
	return true
}

// take gives a connection that is younger than the one numbered after, and books a question on it.
func (p *links) take(ctx context.Context, after uint64) (*slot, *Failure) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, closed()
		}
		if s := p.pick(after); s != nil {
			s.inFlight++
			s.idle.Stop()
			p.mu.Unlock()
			return s, nil
		}
		if p.dialing == nil && len(p.slots) < maxLinks {
			d := &dialing{done: make(chan struct{})}
			var watched context.Context
			watched, d.watch = fault.WithWatch(p.c.ctx)
			p.dialing = d
			p.c.wg.Go(func() { p.dial(watched, d) })
		}
		d, freed := p.dialing, p.freed
		p.mu.Unlock()
		var dialed <-chan struct{}
		if d != nil {
			dialed = d.done
		}
		select {
		case <-dialed:
			if d.fail != nil {
				return nil, d.fail
			}
		case <-freed:
		case <-ctx.Done():
			return nil, p.c.late(ctx, d)
		}
	}
}

// late is what a question fails with whose time is over before it has a connection: the fault of what the dial under
// way waits for, where that is known.
func (c *Client) late(ctx context.Context, d *dialing) *Failure {
	if d != nil && ctx.Err() == context.DeadlineExceeded {
		if err := d.watch.Err(); err != nil {
			return c.dialFailure(ctx, err)
		}
	}
	return c.timeout(ctx.Err())
}

func (p *links) pick(after uint64) *slot {
	for _, s := range p.slots {
		if s.seq > after && s.inFlight < maxInFlight && s.room() {
			return s
		}
	}
	return nil
}

// dial opens a connection for whoever waits. It does not depend on any of them.
func (p *links) dial(ctx context.Context, d *dialing) {
	ctx, cancel := context.WithTimeout(ctx, p.c.options.Timeout)
	defer cancel()
	started := p.c.now()
	p.mu.Lock()
	era := p.era
	p.mu.Unlock()
	l, fail := p.c.open(ctx)
	if fail != nil && p.c.ctx.Err() == nil {
		p.c.health.failed(started, p.c.now(), fail)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d.fail = fail
	p.dialing = nil
	switch {
	case fail != nil:
	case p.closed:
		l.close()
		d.fail = closed()
	case p.era != era:
		l.close() // those who wait dial again
	default:
		p.add(l)
	}
	close(d.done)
}

func (p *links) add(l link) {
	p.seq++
	s := &slot{link: l, seq: p.seq, lastReply: p.c.now()}
	s.idle = time.AfterFunc(p.c.options.IdleTimeout, func() { p.expire(s) })
	p.slots = append(p.slots, s)
	p.c.wg.Go(func() {
		<-l.done()
		p.retire(s)
	})
}

// give books the end of a question.
func (p *links) give(s *slot, replied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.inFlight--
	if replied {
		s.lastReply = p.c.now()
	}
	if s.leaving && s.inFlight == 0 {
		p.left = slices.DeleteFunc(p.left, func(other *slot) bool { return other == s })
		p.c.wg.Go(s.close)
	}
	if s.inFlight == 0 && slices.Contains(p.slots, s) {
		s.idle.Reset(p.c.options.IdleTimeout)
	}
	p.wake()
}

// wake lets everyone who waits look again.
func (p *links) wake() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// silentSince says that no reply came over s since then.
func (p *links) silentSince(s *slot, then time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !s.lastReply.After(then)
}

// expire closes a connection that nobody used for long (RFC 7858, section 3.4).
func (p *links) expire(s *slot) {
	p.mu.Lock()
	busy := s.inFlight > 0
	p.mu.Unlock()
	if !busy {
		p.retire(s)
	}
}

// retire takes a connection out of use and closes it.
func (p *links) retire(s *slot) {
	p.mu.Lock()
	if i := slices.Index(p.slots, s); i >= 0 {
		p.slots = slices.Delete(p.slots, i, i+1)
		p.wake()
	}
	s.idle.Stop()
	p.mu.Unlock()
	s.close()
}

// flush takes every connection out of use; one that has questions under way is closed with the last of them.
func (p *links) flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.era++
	p.leave()
	p.wake()
}

// leave takes every connection out of use: each is closed with the last question on it. The caller holds mu.
func (p *links) leave() {
	for _, s := range p.slots {
		s.idle.Stop()
		if s.inFlight == 0 {
			p.c.wg.Go(s.close)
		} else {
			p.left = append(p.left, s)
		}
		s.leaving = true
	}
	p.slots = nil
}

func (p *links) close() {
	p.mu.Lock()
	p.closed = true
	slots := append(p.slots, p.left...)
	p.slots, p.left = nil, nil
	p.wake()
	p.mu.Unlock()
	for _, s := range slots {
		s.idle.Stop()
		s.close()
	}
}

func (p *links) load() (conns, inFlight int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.slots {
		inFlight += s.inFlight
	}
	return len(p.slots), inFlight
}
