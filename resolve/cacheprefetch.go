package resolve

import (
	"time"

	"watertight/dnswire"
)

// Limits of what is asked for again before it expires.
const (
	maxPrefetches = 64               // at once
	prefetchTTL   = 10 * time.Second // an answer that is kept for less is not worth it
)

// isHot says whether an answer that was just used should be asked for again: it was used before, and is in the last
// tenth of its time. That is said once.
func (e *entry) isHot(now time.Time) bool {
	ttl := e.expires.Sub(e.stored)
	return e.isAnswer() && !e.refreshing && e.uses > 1 && ttl >= prefetchTTL && e.expires.Sub(now) <= ttl/10
}

// refresh asks for q again while its answer is still good. Nobody waits for it, and it is dropped where too much is
// under way already. It runs in the resolver's own time, and ends with it.
func (r *Resolver) refresh(q dnswire.Question) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.flights[q] != nil || r.prefetching >= maxPrefetches || len(r.flights) >= maxFlights {
		return
	}
	fl := r.newFlight(q)
	fl.prefetch = true
	r.prefetching++
	r.prefetches++
	r.wg.Go(func() { r.fly(fl) })
}
