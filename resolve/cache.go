package resolve

import (
	"net/netip"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

const (
	maxBackoff     = 5 * time.Minute // after which a failure is forgotten, however many there were (RFC 9520, section 3.2)
	entryOverhead  = 512             // octets, about what an entry costs beside its message
	octetsPerEntry = 4096            // of the cache's limit in octets
	failureEntries = 1024            // kept where the cache is off: failures are remembered all the same (RFC 9520, section 3.1)
)

// entry is one answer, or one failure to get it. It does not change once it is made; the list's links are the cache's.
type entry struct {
	q      dnswire.Question
	answer *dnswire.Answer // nil for a failure
	addrs  []netip.Addr    // of answer; nobody outside gets this very slice
	fault  *fault.Error    // of a failure; nobody outside gets this very value

	stored   time.Time
	expires  time.Time
	failures int // in a row

	prev, next *entry
}

func (e *entry) cost() int {
	if e.answer == nil {
		return entryOverhead
	}
	return entryOverhead + len(e.answer.Wire)
}

// cache keeps answers as long as they say, least recently used out first. It belongs to one Resolver.
type cache struct {
	mu           sync.Mutex
	max          int // entries
	onlyFailures bool
	entries      map[dnswire.Question]*entry
	root         entry // of the ring; root.next was used last
	octets       int
	generation   uint64 // counts emptyings

	hits, evicted uint64
}

// newCache makes a cache of so many entries. With none it keeps failures only.
func newCache(entries int) *cache {
	c := &cache{max: entries, onlyFailures: entries == 0}
	if c.onlyFailures {
		c.max = failureEntries
	}
	c.flush()
	return c
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries = map[dnswire.Question]*entry{}
	c.root.prev, c.root.next = &c.root, &c.root
	c.octets = 0
	c.generation++
}

// epoch is the generation that a look-up has to show when it stores.
func (c *cache) epoch() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.generation
}

// get gives the entry for q if it is still good.
func (c *cache) get(q dnswire.Question, now time.Time) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[q]
	if e == nil || !now.Before(e.expires) {
		return nil
	}
	c.hits++
	unlink(e)
	c.toFront(e)
	return e
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

// put keeps e, unless the cache was emptied since epoch or e is not to be kept.
func (c *cache) put(e *entry, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.generation || !e.expires.After(e.stored) && e.failures == 0 {
		return
	}
	if old := c.entries[e.q]; old != nil {
		c.drop(old)
	}
	if c.onlyFailures && e.answer != nil {
		return
	}
	if e.cost() > c.max*octetsPerEntry {
		return
	}
	c.entries[e.q] = e
	c.octets += e.cost()
	c.toFront(e)
	for len(c.entries) > c.max || c.octets > c.max*octetsPerEntry {
		c.drop(c.root.prev)
		c.evicted++
	}
}

func (c *cache) drop(e *entry) {
	unlink(e)
	delete(c.entries, e.q)
	c.octets -= e.cost()
}

func (c *cache) toFront(e *entry) {
	e.prev, e.next = &c.root, c.root.next
	e.prev.next, e.next.prev = e, e
}

func unlink(e *entry) { e.prev.next, e.next.prev = e.next, e.prev }
