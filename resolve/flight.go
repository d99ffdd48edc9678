package resolve

import (
	"context"
	"fmt"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/transport"
)

// flight is one look-up under way and those who wait for it. It has a deadline of its own.
type flight struct {
	q        dnswire.Question
	epoch    uint64 // of the cache, when it began
	started  time.Time
	done     chan struct{}
	entry    *entry       // set before done is closed
	prefetch bool         // nobody waited for it when it began
	then     func(*entry) // of the one who began it and does not wait; nil where all do
}

// known gives what the cache knows of q, or nil. It asks for it again where that is due.
func (r *Resolver) known(q dnswire.Question) *entry {
	e, refresh := r.cache.get(q, r.now())
	if e == nil {
		return nil
	}
	if e.fault != nil {
		if old := r.standIn(q, e.fault); old != nil {
			return old
		}
	}
	if refresh {
		r.refresh(e.q)
	}
	r.reportHit(e)
	return e
}

// entry gives what is known of q, asking for it if need be. It never gives nil.
func (r *Resolver) entry(ctx context.Context, q dnswire.Question) *entry {
	if e := r.known(q); e != nil {
		return e
	}
	if e := r.special(q); e != nil {
		return e
	}
	started := r.now()
	fl, first, fail := r.join(q)
	if fail != nil {
		return &entry{q: q, fault: fail}
	}
	var impatient <-chan time.Time // never, unless there is something to give
	if r.cache.standIn(q, started) != nil {
		timer := time.NewTimer(stalePatience)
		defer timer.Stop()
		impatient = timer.C
	}
	for {
		select {
		case <-impatient:
			if e := r.givenStale(q); e != nil {
				return e
			}
			impatient = nil // the cache was emptied
			continue
		case <-fl.done:
		case <-ctx.Done():
			return &entry{q: q, fault: givenUp(ctx, q.Name)}
		}
		break
	}
	if e := r.insteadOf(fl.entry); e != nil {
		return e
	}
	if !first {
		r.reportCached(fl.entry, r.now().Sub(started))
	}
	return fl.entry
}

// insteadOf gives what stands in for the outcome of a look-up that failed, or nil.
func (r *Resolver) insteadOf(e *entry) *entry {
	if e.fault == nil {
		return nil
	}
	return r.standIn(e.q, e.fault)
}

// special answers for names that are not looked up.
func (r *Resolver) special(q dnswire.Question) *entry {
	l, ok := special(q)
	if !ok || r.forwards(q.Name) {
		return nil
	}
	e := &entry{q: q, stored: r.now()}
	a, err := l.answer(q)
	if err != nil {
		e.fault = badQuestion(q, err)
		return e
	}
	e.answer, e.addrs = a, a.Addrs()
	r.mu.Lock()
	r.local++
	r.mu.Unlock()
	r.reportCached(e, 0)
	return e
}

// join gives the look-up for q that is under way, or starts one.
func (r *Resolver) join(q dnswire.Question) (fl *flight, first bool, refusal *fault.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, false, closed()
	}
	if fl := r.flights[q]; fl != nil {
		r.joined++
		return fl, false, nil
	}
	if len(r.flights) >= maxFlights {
		return nil, false, fault.New(fault.Limit, fmt.Sprintf("%d names are being looked up already", maxFlights), nil)
	}
	fl = r.newFlight(q)
	r.misses++
	r.wg.Go(func() { r.fly(fl) })
	return fl, true, nil
}

// newFlight makes a look-up for q, which nobody has under way. The caller holds mu, and begins it.
func (r *Resolver) newFlight(q dnswire.Question) *flight {
	fl := &flight{q: q, epoch: r.cache.epoch(), started: r.now(), done: make(chan struct{})}
	r.flights[q] = fl
	return fl
}

// fly looks up what a flight is for.
func (r *Resolver) fly(fl *flight) {
	ctx, cancel := context.WithTimeout(r.ctx, r.options.Timeout)
	defer cancel()
	r.land(ctx, fl, r.ask(ctx, fl.q))
}

// land keeps the outcome of a look-up, and tells those who wait.
func (r *Resolver) land(ctx context.Context, fl *flight, said reply) {
	a, from, fail := said.answer, said.from, said.fail
	now := r.now()
	e := &entry{q: fl.q, stored: now}
	keep := true
	switch {
	case fail == nil:
		if e.fault = unanswered(a, from.Upstream().Host); e.fault == nil {
			a, e.fault = r.judge(ctx, a)
		}
		switch {
		case e.fault == nil:
			e.answer, e.addrs = a, a.Addrs()
			e.expires = now.Add(a.TTL)
		case r.ctx.Err() != nil:
			e.fault, keep = closed(), false
		}
	case r.ctx.Err() != nil:
		e.fault, keep = closed(), false
	default:
		e.fault = about(fail, fl.q.Name)
		// What concerns the upstream, not the question, its own back-off remembers.
		keep = fail.Final || e.fault.Code == fault.DNSTimeout
	}
	if e.fault != nil && keep {
		e.failures = 1 + r.cache.failures(fl.q, now)
		e.expires = now.Add(transport.Backoff(e.failures, maxBackoff))
	}
	if keep {
		r.cache.put(e, fl.epoch)
	}
	r.report(e, text(from), r.now().Sub(fl.started))
	fl.entry = e
	r.mu.Lock()
	if r.flights[fl.q] == fl {
		delete(r.flights, fl.q)
	}
	if fl.prefetch {
		r.prefetching--
	}
	r.mu.Unlock()
	close(fl.done)
	if fl.then != nil {
		fl.then(e)
	}
}

// text is what events call an upstream; empty for none.
func text(u *transport.Client) string {
	if u == nil {
		return ""
	}
	return u.Upstream().Text
}

// reportHit tells of a question that the cache answered.
func (r *Resolver) reportHit(e *entry) {
	ev := event.Lookup{
		Channel: r.options.Channel, Type: e.q.Type.String(), Cached: true,
		Hit: true, Age: max(0, r.now().Sub(e.stored)), Stale: e.stale,
	}
	describe(&ev, e)
	r.options.Sink.Lookup(&ev)
}

// reportCached tells of a question that no upstream was asked for.
func (r *Resolver) reportCached(e *entry, took time.Duration) {
	ev := event.Lookup{Channel: r.options.Channel, Type: e.q.Type.String(), Took: took, Cached: true}
	describe(&ev, e)
	r.options.Sink.Lookup(&ev)
}

func (r *Resolver) report(e *entry, from string, took time.Duration) {
	ev := event.Lookup{Channel: r.options.Channel, Upstream: from, Type: e.q.Type.String(), Took: took}
	describe(&ev, e)
	r.options.Sink.Lookup(&ev)
}

func describe(ev *event.Lookup, e *entry) {
	if e.fault != nil {
		ev.Code = e.fault.Code
		return
	}
	ev.RCode = dnswire.RCodeText(e.rcode())
}
