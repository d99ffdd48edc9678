package dns

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// The table of clients has shards of sets of places: 16,384 places in 1 MiB.
const (
	rateShards = 64
	rateSets   = 64
	rateWays   = 4
)

// rateKey is whose queries are counted together: an address, or an IPv6 network of 64 bits. Those that came with proof
// that the address is not forged have a budget of their own, which a forger cannot spend.
type rateKey struct {
	addr     netip.Addr
	verified bool
}

// place is one client's budget.
type place struct {
	key    rateKey
	tokens float64
	last   time.Time
}

type rateShard struct {
	mu   sync.Mutex
	sets [rateSets][rateWays]place
}

// limiter bounds the queries per second of each client, with a burst of one second's. It knows so many clients and no
// more: of those that share a set, the one heard of longest ago is forgotten.
type limiter struct {
	rates  [2]float64 // of those that came with proof, and of the others
	seed   maphash.Seed
	shards [rateShards]rateShard
}

func newLimiter(rate, unproven int) *limiter {
	return &limiter{rates: [2]float64{float64(rate), float64(unproven)}, seed: maphash.MakeSeed()}
}

// rate is how many queries per second come from whom.
func (l *limiter) rate(key rateKey) float64 {
	if key.verified {
		return l.rates[0]
	}
	return l.rates[1]
}

// allow says whether a client may ask now, and counts it.
func (l *limiter) allow(addr netip.Addr, verified bool, now time.Time) bool {
	if addr.IsLoopback() { // this host's own programs, which share the address
		return true
	}
	key := rateKey{together(addr), verified}
	h := maphash.Comparable(l.seed, key)
	s := &l.shards[h%rateShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	p := l.find(&s.sets[h/rateShards%rateSets], key, now)
	rate := l.rate(key)
	p.tokens = min(rate, p.tokens+rate*max(0, now.Sub(p.last)).Seconds())
	p.last = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}

// find gives a client's place: its own, or that of the one heard of longest ago.
func (l *limiter) find(set *[rateWays]place, key rateKey, now time.Time) *place {
	oldest := &set[0]
	for i := range set {
		p := &set[i]
		if p.key == key {
			return p
		}
		if p.last.Before(oldest.last) {
			oldest = p
		}
	}
	*oldest = place{key: key, tokens: l.rate(key), last: now}
	return oldest
}
