package resolve

import (
	"context"
	"time"

	"watertight/dnswire"
	"watertight/transport"
)

// Begin is Exchange for one who does not wait: where an upstream can be asked at once, it is, and then is called once with the
// outcome, perhaps before Begin returns. It runs in a goroutine that must not wait for anything, by the time given. Begin says
// false where it did nothing and Exchange is to be asked: because the answer is known, or somebody asks for it already, or there
// is more to do than to ask one upstream.
func (r *Resolver) Begin(until time.Time, q dnswire.Question, then func(*dnswire.Answer, error)) bool {
	q.Name = dnswire.CanonicalName(q.Name)
	deadline := time.Now().Add(r.options.Timeout)
	if deadline.After(until) || r.options.Strategy.Race > 0 || r.validation != nil {
		return false
	}
	if _, local := special(q); local && !r.forwards(q.Name) {
		return false
	}
	b := begun{r: r, deadline: deadline}
	list := r.upstreams
	if r.options.Strategy.Random {
		list = r.drawn(q.Name)
	}
	if b.able, b.waiting = r.able(list); len(b.able) == 0 {
		return false
	}
	if b.flight = r.takeOff(q, func(e *entry) {
		if instead := r.insteadOf(e); instead != nil {
			e = instead
		}
		then(r.told(e))
	}); b.flight == nil {
		return false
	}
	patience := deadline
	if attempt := time.Now().Add(r.options.AttemptTimeout); len(b.able) > 1 && attempt.Before(deadline) {
		patience = attempt
	}
	if !b.able[0].Begin(patience, q, b.replied) {
		go func() {
			defer r.wg.Done()
			r.fly(b.flight)
		}()
	}
	return true
}

// takeOff books a look-up, and a goroutine for it; nil where it cannot be, or nobody should be asked.
func (r *Resolver) takeOff(q dnswire.Question, then func(*entry)) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.flights[q] != nil || len(r.flights) >= maxFlights || r.cache.has(q, r.now()) {
		return nil
	}
	fl := r.newFlight(q)
	fl.then = then
	r.misses++
	r.wg.Add(1)
	return fl
}

// begun is a look-up that nobody waits for while its first upstream is asked.
type begun struct {
	r        *Resolver
	flight   *flight
	deadline time.Time
	able     []*transport.Client // the first of them was asked
	waiting  *transport.Failure  // of those in back-off
}

// replied goes on with what the first upstream said: to the end of the look-up, or to the upstreams that are left.
func (b *begun) replied(a *dnswire.Answer, fail *transport.Failure, broke bool) {
	said := reply{answer: a, from: b.able[0], fail: fail}
	left := b.able[1:]
	if broke {
		left = b.able
	}
	if said.final() || len(left) == 0 {
		b.land(b.r.ctx, said)
		return
	}
	go func() {
		ctx, cancel := context.WithDeadline(b.r.ctx, b.deadline)
		defer cancel()
		last := b.r.askEach(ctx, b.flight.q, left)
		if !last.final() && !broke {
			last.fail = transport.Worse(fail, last.fail)
		}
		b.land(ctx, last)
	}()
}

func (b *begun) land(ctx context.Context, said reply) {
	defer b.r.wg.Done()
	if !said.final() {
		said.fail = transport.Worse(said.fail, b.waiting)
	}
	b.r.land(ctx, b.flight, said)
}
