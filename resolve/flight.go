package resolve

import (
	"context"
	"fmt"
	"math"
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
	a, from, fail := r.askInOrder(ctx, q, false)
	now := r.now()
	e := &entry{q: q, stored: now}
	keep := true
	switch {
	case fail == nil:
		if e.fault = unanswered(a, from.Upstream().Host); e.fault == nil {
			e.answer, e.addrs = a, a.Addrs()
			e.expires = now.Add(a.TTL)
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
	r.report(e, text(from), now.Sub(started))
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

// askInOrder asks the upstreams in order. The next one is asked only where the one before could not be reached or
// gave no reply: a reply is final, whatever it says. An upstream in back-off is passed over, unless force. It gives
// the upstream that replied or was asked last, nil if none was.
func (r *Resolver) askInOrder(ctx context.Context, q dnswire.Question, force bool) (*dnswire.Answer, *transport.Client, *transport.Failure) {
	var worst *transport.Failure
	var from *transport.Client
	wait := time.Duration(math.MaxInt64)
	asked := false
	for i, u := range r.upstreams {
		if !force {
			if old, left := u.Blocked(r.now()); old != nil {
				worst, wait = transport.Worse(worst, old), min(wait, left)
				continue
			}
		}
		asked = true
		from = u
		a, fail := r.attempt(ctx, u, q, i == len(r.upstreams)-1)
		if fail == nil || fail.Final {
			return a, from, fail
		}
		worst = transport.Worse(worst, fail)
		if ctx.Err() != nil {
			break
		}
	}
	if !asked {
		waiting := *worst
		waiting.Fault = copied(worst.Fault)
		waiting.Fault.Hint = fmt.Sprintf("%s; it is tried again in %v", worst.Fault.NextStep(), wait.Round(time.Second)+time.Second)
		return nil, from, &waiting
	}
	return nil, from, worst
}

// attempt asks one upstream. All but the last leave time for those after them.
func (r *Resolver) attempt(ctx context.Context, u *transport.Client, q dnswire.Question, last bool) (*dnswire.Answer, *transport.Failure) {
	if !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.options.AttemptTimeout)
		defer cancel()
	}
	return u.Ask(ctx, q)
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
