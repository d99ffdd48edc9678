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
	done     chan struct{}
	entry    *entry // set before done is closed
	prefetch bool   // nobody waited for it when it began
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
	if f := fl.entry.fault; f != nil {
		if e := r.standIn(q, f); e != nil {
			return e
		}
	}
	if !first {
		r.reportCached(fl.entry, r.now().Sub(started))
	}
	return fl.entry
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
	fl = &flight{done: make(chan struct{})}
	r.flights[q] = fl
	r.misses++
	epoch := r.cache.epoch()
	r.wg.Go(func() { r.fly(q, fl, epoch) })
	return fl, true, nil
}

// fly looks q up, keeps the outcome, and tells those who wait.
func (r *Resolver) fly(q dnswire.Question, fl *flight, epoch uint64) {
	started := r.now()
	ctx, cancel := context.WithTimeout(r.ctx, r.options.Timeout)
	defer cancel()
	said := r.ask(ctx, q)
	a, from, fail := said.answer, said.from, said.fail
	now := r.now()
	e := &entry{q: q, stored: now}
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
		e.fault = about(fail, q.Name)
		// What concerns the upstream, not the question, its own back-off remembers.
		keep = fail.Final || e.fault.Code == fault.DNSTimeout
	}
	if e.fault != nil && keep {
		e.failures = 1 + r.cache.failures(q, now)
		e.expires = now.Add(transport.Backoff(e.failures, maxBackoff))
	}
	if keep {
		r.cache.put(e, epoch)
	}
	r.report(e, text(from), r.now().Sub(started))
	fl.entry = e
	r.mu.Lock()
	if r.flights[q] == fl {
		delete(r.flights, q)
	}
	if fl.prefetch {
		r.prefetching--
	}
	r.mu.Unlock()
	close(fl.done)
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
