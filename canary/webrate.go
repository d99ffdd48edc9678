package canary

import (
	"net/netip"
	"sync"
	"time"
)

// How often one network may ask. A visit is some 15 requests, and one a second while the page is looked at.
const (
	webBurst    = 200
	webPerSec   = 20
	webNetworks = 8192 // that are told apart at a time
	strangers   = 4    // times that for all others together, where so many are known
)

// networkOf is what counts as one client: a /24 of IPv4 or a /56 of IPv6.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 56
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// webRate is how often each network may still ask.
type webRate struct {
	now func() time.Time

	mu      sync.Mutex
	buckets map[netip.Prefix]*bucket
	others  bucket
	swept   time.Time
}

// bucket is one network's.
type bucket struct {
	left float64
	at   time.Time
}

func newWebRate(now func() time.Time) *webRate {
	return &webRate{now: now, buckets: make(map[netip.Prefix]*bucket), others: bucket{left: strangers * webBurst, at: now()}}
}

// take says whether a network may ask once more.
func (r *webRate) take(a netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, network := r.now(), networkOf(a)
	b := r.buckets[network]
	if b == nil {
		if len(r.buckets) >= webNetworks {
			r.sweep(now)
		}
		if len(r.buckets) >= webNetworks {
			return r.others.take(now, strangers)
		}
		b = &bucket{left: webBurst, at: now}
		r.buckets[network] = b
	}
	return b.take(now, 1)
}

// sweep forgets those who have not asked for as long as makes no difference. It looks once a second.
func (r *webRate) sweep(now time.Time) {
	if now.Sub(r.swept) < time.Second {
		return
	}
	r.swept = now
	for network, b := range r.buckets {
		if now.Sub(b.at) >= webBurst/webPerSec*time.Second {
			delete(r.buckets, network)
		}
	}
}

func (b *bucket) take(now time.Time, times float64) bool {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(b.left+times*webPerSec*d.Seconds(), times*webBurst)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
