package resolve

import (
	"net/netip"
	"strings"
	"sync"
	"time"
	"unsafe"

	"watertight/dnswire"
	"watertight/fault"
)

const (
	maxBackoff    = 5 * time.Minute // after which a failure is forgotten, however many there were (RFC 9520, section 3.2)
	failureOctets = 512 << 10       // kept where the cache is off: failures are remembered all the same (RFC 9520, section 3.1)
	faultOctets   = 512             // about what a fault holds with its texts and its cause

	// entryOverhead is what an entry costs beside what it holds: itself, and its place in the map, which is between
	// seven sixteenths and seven eighths full.
	entryOverhead = int(unsafe.Sizeof(entry{})) + int(unsafe.Sizeof(dnswire.Question{})+unsafe.Sizeof(&entry{}))*2 + rounding
	rounding      = 48 // what the allocator adds to an entry and its parts
)

// entry is one answer, or one failure to get it. What is above the line does not change once it is made.
type entry struct {
	q      dnswire.Question
	answer *dnswire.Answer // of a flight and of a special-use name; nil for a failure, and for what the cache keeps
	kept   dnswire.Kept    // what the cache keeps in place of answer
	addrs  []netip.Addr    // of the answer; nobody outside gets this very slice
	fault  *fault.Error    // of a failure; nobody outside gets this very value

	stored   time.Time
	expires  time.Time
	failures int    // in a row
	behind   *entry // of a failure: the answer that was there before, which may stand in for it (RFC 8767)
	stale    bool   // it has expired, and stands in

	// ---- guarded by the mutex of the cache that holds it
	view       *dnswire.Answer // kept, unpacked for those who want more than addresses
	uses       int
	refreshing bool // it is asked for again before it expires, or was
	octets     int  // what it costs
	prev, next *entry
}

// cost is what an entry takes of the cache's octets.
func (e *entry) cost() int {
	n := entryOverhead + len(e.q.Name) + e.kept.Octets() + cap(e.addrs)*int(unsafe.Sizeof(netip.Addr{}))
	if e.fault != nil {
		n += faultOctets
	}
	if e.view != nil {
		n += e.view.Octets()
	}
	if e.behind != nil {
		n += e.behind.cost()
	}
	return n
}

// isAnswer says whether it is an answer that the cache keeps.
func (e *entry) isAnswer() bool { return e.fault == nil }

func (e *entry) rcode() int {
	if e.answer != nil {
		return e.answer.RCode
	}
	return e.kept.RCode()
}

// cache keeps answers as long as they say, least recently used out first. It belongs to one Resolver.
type cache struct {
	max          int           // octets
	maxStale     time.Duration // how long an answer may stand in after it has expired; 0: it never does
	prefetch     bool
	onlyFailures bool
	budget       *Budget // with other caches; nil: this one has its own octets

	mu         sync.Mutex
	entries    map[dnswire.Question]*entry
	root       entry // of the ring; root.next was used last
	octets     int
	generation uint64 // counts emptyings

	hits, stales, evicted uint64
}

// newCache makes a cache of so many octets. With none it keeps failures only.
func newCache(octets int, maxStale time.Duration, prefetch bool) *cache {
	c := &cache{max: octets, maxStale: maxStale, prefetch: prefetch, onlyFailures: octets == 0}
	if c.onlyFailures {
		c.max = failureOctets
	}
	c.flush()
	return c
}

// flush empties the cache, and says how much there was.
func (c *cache) flush() (entries, octets int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, octets = len(c.entries), c.octets
	c.entries = map[dnswire.Question]*entry{}
	c.root.prev, c.root.next = &c.root, &c.root
	c.grow(-c.octets)
	c.generation++
	return entries, octets
}

// epoch is the generation that a look-up has to show when it stores.
func (c *cache) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// get gives the entry for q if it is still good, and says whether it should be asked for again before it expires.
func (c *cache) get(q dnswire.Question, now time.Time) (e *entry, refresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e = c.entries[q]
	if e == nil || !now.Before(e.expires) || now.Before(e.stored) { // the last: the clock was set back
		return nil, false
	}
	c.hits++
	e.uses++
	unlink(e)
	c.toFront(e)
	if c.prefetch && e.isHot(now) {
		e.refreshing, refresh = true, true
	}
	return e, refresh
}

// peek is get for one who only wants to know what is there: nothing is counted as used, and nothing refreshed.
func (c *cache) peek(q dnswire.Question, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[q]; e != nil && now.Before(e.expires) && !now.Before(e.stored) {
		return e
	}
	return nil
}

// has says whether there is anything to say about q without asking: what get gives, or an answer that may stand in.
func (c *cache) has(q dnswire.Question, now time.Time) bool {
	c.mu.Lock()
	e := c.entries[q]
	known := e != nil && now.Before(e.expires) && !now.Before(e.stored)
	c.mu.Unlock()
	return known || c.standIn(q, now) != nil
}

// failures says how many failures in a row are remembered for q, of late.
func (c *cache) failures(q dnswire.Question, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[q]; e != nil && now.Before(e.expires.Add(maxBackoff)) {
		return e.failures
	}
	return 0
}

// put keeps what e says, unless the cache was emptied since epoch or e is not to be kept.
func (c *cache) put(e *entry, epoch uint64) {
	e = packed(e)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e == nil || epoch != c.generation || !e.expires.After(e.stored) && e.failures == 0 {
		return
	}
	if old := c.entries[e.q]; old != nil {
		if !e.isAnswer() && old.isAnswer() && e.stored.Before(old.expires) {
			return // it was asked for before it expired
		}
		c.hide(old, e)
		c.drop(old)
	}
	if c.onlyFailures && e.isAnswer() {
		return
	}
	if e.octets = e.cost(); e.octets > c.max {
		return
	}
	c.entries[e.q] = e
	c.grow(e.octets)
	c.toFront(e)
	c.shrink()
}

// packed gives an entry as the cache keeps it, in as few octets as it takes; nil where that cannot be.
func packed(e *entry) *entry {
	p := &entry{q: e.q, fault: e.fault, stored: e.stored, expires: e.expires, failures: e.failures}
	p.q.Name = strings.Clone(e.q.Name) // it may be a part of something longer
	if e.fault != nil {
		return p
	}
	var err error
	if p.kept, err = e.answer.Keep(); err != nil {
		return nil
	}
	p.addrs = append([]netip.Addr(nil), e.addrs...)
	return p
}

// unpacked gives the whole answer of an entry. For one of the cache it is unpacked once, and kept beside the message
// as long as that is.
func (c *cache) unpacked(e *entry) (*dnswire.Answer, error) {
	if e.answer != nil {
		return e.answer, nil
	}
	c.mu.Lock()
	view := e.view
	c.mu.Unlock()
	if view != nil {
		return view, nil
	}
	view, err := e.kept.Answer(e.q)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[e.q] == e && e.view == nil {
		e.view = view
		c.grow(-e.octets)
		e.octets = e.cost()
		c.grow(e.octets)
		c.shrink()
	}
	return view, nil
}

// shrink makes room. Each entry that goes was put or grew once, so that the cost is that of those who did it.
func (c *cache) shrink() {
	for c.octets > c.max || c.octets > 0 && c.budget.over() {
		c.drop(c.root.prev)
		c.evicted++
	}
}

func (c *cache) drop(e *entry) {
	unlink(e)
	e.prev, e.next = nil, nil
	delete(c.entries, e.q)
	c.grow(-e.octets)
}

// grow books octets that came, or, where n is negative, went.
func (c *cache) grow(n int) {
	c.octets += n
	c.budget.take(n)
}

func (c *cache) toFront(e *entry) {
	e.prev, e.next = &c.root, c.root.next
	e.prev.next, e.next.prev = e, e
}

func unlink(e *entry) { e.prev.next, e.next.prev = e.next, e.prev }
