package resolve

import (
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

// Times of answers that stand in after they have expired (RFC 8767, section 5).
const (
	// MaxStale is the longest that Options may ask for: the RFC suggests one to three days.
	MaxStale = 72 * time.Hour

	staleTTL      = 30 * time.Second        // of what is given
	stalePatience = 1800 * time.Millisecond // how long one who asks waits for a fresh answer
	staleRecheck  = 30 * time.Second        // after a failure, the upstreams are left alone at least so long
)

// hide lets a failure remember the answer whose place it takes, where that may stand in.
func (c *cache) hide(old, e *entry) {
	if c.maxStale == 0 || e.isAnswer() {
		return
	}
	if old.isAnswer() {
		e.behind = old
	} else {
		e.behind = old.behind
	}
	if e.behind != nil && e.expires.Before(e.stored.Add(staleRecheck)) {
		e.expires = e.stored.Add(staleRecheck)
	}
}

// standIn gives the expired answer to q that may still be given, or nil.
func (c *cache) standIn(q dnswire.Question, now time.Time) *entry {
	if c.maxStale == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e != nil && !e.isAnswer() {
		e = e.behind
	}
	if e == nil || now.Before(e.expires) || !now.Before(e.expires.Add(c.maxStale)) {
		return nil
	}
	return &entry{q: e.q, kept: e.kept, addrs: e.addrs, stored: e.stored, expires: e.expires, stale: true}
}

// standIn gives what may be said in place of a failure, or nil. A resolver that did not prove who it is, and an answer
// that failed validation, are never covered up: they are told.
func (r *Resolver) standIn(q dnswire.Question, f *fault.Error) *entry {
	switch f.Code {
	case fault.DNSTimeout, fault.DNSServFail, fault.ResolverUnreachable:
		return r.givenStale(q)
	}
	return nil
}

// givenStale gives the expired answer to q that may still be given, and reports it; nil where there is none.
func (r *Resolver) givenStale(q dnswire.Question) *entry {
	e := r.cache.standIn(q, r.now())
	if e == nil {
		return nil
	}
	r.cache.mu.Lock()
	r.cache.stales++
	r.cache.mu.Unlock()
	r.reportHit(e)
	return e
}
