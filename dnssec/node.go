package dnssec

import (
	"container/list"
	"sync"
	"time"
)

// kind is what the chain says of a name.
type kind int

const (
	broken  kind = iota // nothing good: the verdict says what
	cut                 // a zone begins here, and its keys are proven
	inside              // the name is in the zone above it; a zone may begin below
	nothing             // the name is not there, so that no zone begins at it or below
	ends                // the chain ends here, and that is proven: Insecure
)

// node is one name's place in the chain of trust.
type node struct {
	kind kind
	verdict
	zone *zone // of a cut
}

// zone is a zone whose keys are proven.
type zone struct {
	apex name
	keys []zoneKey // those that may sign data
}

// badTTL is how long a broken place is remembered (RFC 4035, section 4.7; RFC 9520, section 3.2): long enough to bound
// the questions, short enough for a mend to show.
const badTTL = 5 * time.Second

// flight is one place that is being looked at.
type flight struct {
	done chan struct{}
	node node // set before done is closed
	own  bool // the outcome is the asker's alone: it was cancelled, or ran out of what it may spend
}

// nodes remembers places, least recently used out first, and joins those who look for the same.
type nodes struct {
	mu      sync.Mutex
	max     int
	entries map[name]*list.Element
	recent  *list.List // of *entry; the front was used last
	flights map[name]*flight
}

type entry struct {
	name            name
	node            node
	stored, expires time.Time
}

// reset forgets everything; flights under way are not joined any more and leave nothing behind.
func (c *nodes) reset(most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max, c.entries, c.recent, c.flights = most, map[name]*list.Element{}, list.New(), map[name]*flight{}
}

// find gives the place of n: from memory, from another who is looking for it, or by look.
func (c *nodes) find(w *work, n name, look func() node) node {
	for {
		c.mu.Lock()
		if e := c.get(n, w.now); e != nil {
			c.mu.Unlock()
			return e.aged(w.now)
		}
		fl := c.flights[n]
		if fl == nil {
			fl = &flight{done: make(chan struct{}), own: true}
			c.flights[n] = fl
			c.mu.Unlock()
			return c.fly(w, n, fl, look)
		}
		c.mu.Unlock()
		select {
		case <-fl.done:
		case <-w.ctx.Done():
			return node{verdict: indeterminate("given up while waiting for the keys at %s", n.text())}
		}
		if !fl.own {
			return fl.node
		}
	}
}

// fly looks, tells those who wait, and remembers.
func (c *nodes) fly(w *work, n name, fl *flight, look func() node) node {
	defer func() { // also where look panics: nobody waits for ever
		c.mu.Lock()
		if c.flights[n] == fl {
			delete(c.flights, n)
			c.put(n, fl.node, w.now)
		}
		c.mu.Unlock()
		close(fl.done)
	}()
	fl.node = look()
	fl.own = w.ctx.Err() != nil || w.lookups < 0 || w.tries < 0 || w.hashes < 0
	return fl.node
}

// get is called with the lock held.
func (c *nodes) get(n name, now time.Time) *entry {
	el := c.entries[n]
	if el == nil {
		return nil
	}
	e := el.Value.(*entry)
	if !now.Before(e.expires) || now.Before(e.stored) { // the second: the clock was set back
		return nil
	}
	c.recent.MoveToFront(el)
	return e
}

// put is called with the lock held. What is Indeterminate is not remembered.
func (c *nodes) put(n name, nd node, now time.Time) {
	ttl := min(nd.ttl, maxTTL)
	switch {
	case nd.state == Indeterminate:
		return
	case nd.state == Bogus:
		ttl = badTTL
	case ttl <= 0:
		return
	}
	if el := c.entries[n]; el != nil {
		c.drop(el)
	}
	c.entries[n] = c.recent.PushFront(&entry{n, nd, now, now.Add(ttl)})
	for len(c.entries) > c.max {
		c.drop(c.recent.Back())
	}
}

func (c *nodes) drop(el *list.Element) {
	delete(c.entries, el.Value.(*entry).name)
	c.recent.Remove(el)
}

// aged gives the node with the time that is left of it.
func (e *entry) aged(now time.Time) node {
	nd := e.node
	if nd.usable() {
		nd.ttl = e.expires.Sub(now)
	}
	return nd
}
