package channel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/resolve"
)

// Limits of the partitions of a channel.
const (
	maxPartitions = 1024             // identities that a channel works for at once
	partitionIdle = 10 * time.Minute // after which one that nobody used is closed

	partitionShare = 8        // a partition may take a part in so many of the octets that all of them share
	partitionLeast = 64 << 10 // octets, and at least so many
	partitionGiven = 1024     // addresses that [given] remembers
)

// partition is a channel of the same spec for one identity: it has a resolver of its own, over hops of its own.
type partition struct {
	*Channel
	who who

	// ---- guarded by the mutex of partitions
	users int         // who hold it
	used  time.Time   // when it was held last
	idle  *time.Timer // runs while nobody holds it; nil before
	stop  context.CancelFunc
	done  chan struct{} // closed at the end of its Run; nil before it runs
}

// partitions are those of one channel, whose Run and Close they end with.
type partitions struct {
	base   *Channel
	below  Below
	budget *resolve.Budget // of all caches together
	wg     sync.WaitGroup  // all that runs

	mu     sync.Mutex
	all    map[who]*partition
	run    context.Context // of the channel; nil before
	closed bool
	past   resolve.Stats // of those that are closed
	follow bool          // the keys of the root are followed
}

func newPartitions(base *Channel, below Below) *partitions {
	return &partitions{base: base, below: below, budget: resolve.NewBudget(base.spec.Resolver.CacheOctets), all: map[who]*partition{}}
}

// hold gives the partition for w, made if there is none; the caller releases it. The error is a [*fault.Error].
func (ps *partitions) hold(w who) (*partition, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed {
		return nil, fault.New(fault.NotReady, "channel "+ps.base.spec.Name+" is closed", nil)
	}
	p := ps.all[w]
	if p == nil {
		var err error
		if p, err = ps.make(w); err != nil {
			return nil, err
		}
	}
	p.users++
	if p.idle != nil {
		p.idle.Stop()
	}
	return p, nil
}

// holdOld is hold for one that is there already; nil where none is.
func (ps *partitions) holdOld(w who) *partition {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[w]
	if p == nil || ps.closed {
		return nil
	}
	p.users++
	if p.idle != nil {
		p.idle.Stop()
	}
	return p
}

func (ps *partitions) release(p *partition) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.users--
	p.used = time.Now()
	switch {
	case p.users > 0 || ps.closed:
	case p.idle == nil:
		p.idle = time.AfterFunc(partitionIdle, func() { ps.expire(p) })
	default:
		p.idle.Reset(partitionIdle)
	}
}

// expire closes a partition that nobody used for long.
func (ps *partitions) expire(p *partition) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.closed && ps.all[p.who] == p && p.users == 0 && time.Since(p.used) >= partitionIdle {
		ps.drop(p)
	}
}

// make opens a partition, and closes the one that was used least recently where there are too many. The caller holds mu.
func (ps *partitions) make(w who) (*partition, error) {
	o := opening{spec: ps.spec(), below: partOf(ps.below, w), who: w, seed: ps.base.seed, pool: ps.base.pool, tunnel: ps.base.tunnel}
	if err := o.fill(); err != nil {
		return nil, err
	}
	if used, most := ps.budget.Used(); len(ps.all) >= maxPartitions || used > most-most/partitionShare {
		oldest := ps.oldest()
		switch {
		case oldest != nil:
			ps.drop(oldest)
		case len(ps.all) >= maxPartitions:
			return nil, fault.New(fault.Limit, fmt.Sprintf("channel %s works for %d users and sessions at once already", ps.base.spec.Name, maxPartitions), nil)
		}
	}
	c, err := o.open()
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return nil, known
	case err != nil:
		return nil, fault.New(fault.Internal, "the channel cannot be opened for this user and session", err)
	}
	c.given.most = partitionGiven
	p := &partition{Channel: c, who: w}
	ps.all[w] = p
	if ps.run != nil {
		ps.start(p)
	}
	return p, nil
}

// spec is that of a partition.
func (ps *partitions) spec() Spec {
	s := ps.base.spec
	if r := &s.Resolver; !s.ResolveAtExit {
		if r.CacheOctets > 0 {
			r.CacheOctets = min(r.CacheOctets, max(r.CacheOctets/partitionShare, partitionLeast))
		}
		r.Budget = ps.budget
		if r.DNSSEC.Keep != nil {
			r.DNSSEC.Keep = reader{r.DNSSEC.Keep}
		}
	}
	return s
}

// reader lets a partition begin with what is kept of the keys of the root, which the channel itself follows and keeps: what
// one partition has seen is not written over what another has.
type reader struct{ of resolve.Keeper }

func (r reader) Load() []byte     { return r.of.Load() }
func (r reader) Refuse(why error) { r.of.Refuse(why) }
func (reader) Save([]byte)        {}

// oldest is the partition that nobody holds and that was used least recently; nil where all are held.
func (ps *partitions) oldest() (oldest *partition) {
	for _, p := range ps.all {
		if p.users == 0 && (oldest == nil || p.used.Before(oldest.used)) {
			oldest = p
		}
	}
	return oldest
}

// start runs a partition. The caller holds mu.
func (ps *partitions) start(p *partition) {
	ctx, stop := context.WithCancel(ps.run)
	p.stop, p.done = stop, make(chan struct{})
	ps.wg.Go(func() {
		defer close(p.done)
		_ = p.Run(ctx) // it ends only with its context
	})
	if !ps.follow && ps.base.spec.Resolver.DNSSEC.Keep != nil {
		// The channel follows the keys of the root from the first answer that it judges, and it may judge none but this.
		ps.follow = true
		ps.wg.Go(func() { _, _ = ps.base.Exchange(ps.run, dnswire.Question{Type: dnswire.SOA}) })
	}
}

// drop forgets a partition that nobody holds, and closes it. Connections that it gave stay open. The caller holds mu.
func (ps *partitions) drop(p *partition) {
	delete(ps.all, p.who)
	if p.idle != nil {
		p.idle.Stop()
	}
	ps.wg.Go(func() {
		p.end()
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.keep(p)
	})
}

// end stops and closes a partition.
func (p *partition) end() {
	if p.done != nil {
		p.stop()
		<-p.done
	}
	_ = p.Close() // what it held is gone either way
}

// keep books what one did that is closed. The caller holds mu.
func (ps *partitions) keep(p *partition) {
	if s, ok := p.ownStats(); ok {
		ps.past = ps.past.Add(s)
		if len(ps.past.Upstreams) == 0 {
			ps.past.Upstreams = s.Upstreams
		}
	}
}

// begin runs the partitions that were made before the channel ran, and from now on each as it is made.
func (ps *partitions) begin(ctx context.Context) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.run = ctx
	for _, p := range ps.all {
		ps.start(p)
	}
}

// close ends all of them, and waits until nothing runs. It may be called again.
func (ps *partitions) close() {
	ps.mu.Lock()
	ps.closed = true
	var all []*partition
	for w, p := range ps.all {
		if p.idle != nil {
			p.idle.Stop()
		}
		all = append(all, p)
		delete(ps.all, w)
	}
	ps.mu.Unlock()
	var ending sync.WaitGroup
	for _, p := range all {
		ending.Go(p.end)
	}
	ending.Wait()
	ps.wg.Wait()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range all {
		ps.keep(p)
	}
}

// held holds all that there are, for release.
func (ps *partitions) held() []*partition {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	var all []*partition
	for _, p := range ps.all {
		p.users++
		all = append(all, p)
	}
	return all
}

// flush empties their caches, and says how much they held.
func (ps *partitions) flush() (entries, octets int) {
	for _, p := range ps.held() {
		e, o := p.Flush()
		entries, octets = entries+e, octets+o
		ps.forget(p)
	}
	return entries, octets
}

// forget is release without taking what was done for a use.
func (ps *partitions) forget(p *partition) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.users--; p.users == 0 && p.idle != nil && !ps.closed {
		p.idle.Reset(max(0, partitionIdle-time.Since(p.used)))
	}
}

// Partitions is for how many users and sessions the channel works at this moment.
func (c *Channel) Partitions() int {
	if c.parts == nil {
		return 0
	}
	c.parts.mu.Lock()
	defer c.parts.mu.Unlock()
	return len(c.parts.all)
}

// stats adds what the partitions did, and those that are closed.
func (ps *partitions) stats(s resolve.Stats) resolve.Stats {
	all := ps.held()
	for _, p := range all {
		if one, ok := p.ownStats(); ok {
			s = s.Add(one)
		}
		ps.forget(p)
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	past := ps.past
	past.Entries, past.Octets, past.InFlight = 0, 0, 0
	s = s.Add(past)
	if _, most := ps.budget.Used(); len(all) > 0 && s.MaxOctets > 0 {
		s.MaxOctets += most
	}
	return s
}
