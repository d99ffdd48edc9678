package resolve

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"watertight/clock"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/transport"
	"watertight/upstream"
)

// Defaults of Options.
const (
	DefaultTimeout        = 5 * time.Second
	DefaultAttemptTimeout = 2 * time.Second
	DefaultIdleTimeout    = 60 * time.Second
)

// maxFlights is how many questions may be under way at once.
const maxFlights = 4096

// Options says what a Resolver asks, and how.
type Options struct {
	Channel   string              // the channel's name, for events
	Upstreams []upstream.Upstream // at least one, in the order of preference
	// Strategy says which of Upstreams are asked about a name. The zero value asks them in order.
	Strategy Strategy
	// Forward are special-use suffixes, canonical, whose names are asked of the upstreams and not answered here: the
	// configuration's word that this resolver serves them.
	Forward []string
	// DNSSEC says whether answers are validated here. The zero value does not.
	DNSSEC DNSSEC
	// CacheOctets bounds the cache, what it costs to keep an answer included; 0 switches it off, except for failures.
	CacheOctets int
	// Budget bounds the cache together with others; nil leaves it to CacheOctets alone.
	Budget *Budget
	// Stale is how long an answer that has expired may stand in where no upstream gives another (RFC 8767): at most
	// MaxStale. Zero means never.
	Stale time.Duration
	// Prefetch asks again for what is asked for often, shortly before it expires.
	Prefetch bool
	// Timeout bounds one look-up, all upstreams together. Zero means DefaultTimeout.
	Timeout time.Duration
	// AttemptTimeout bounds what every upstream but the last may take of Timeout. Zero means DefaultAttemptTimeout.
	AttemptTimeout time.Duration
	// IdleTimeout is after how long an unused connection is closed. Zero means DefaultIdleTimeout.
	IdleTimeout time.Duration
	// Sink gets one event for every question; it is required.
	Sink event.Sink
	// Now is the clock for TTLs, back-off and certificates; nil means time.Now.
	Now func() time.Time
	// Floor is what is known of the time, for connections and for signatures, which raise it. Nil knows nothing.
	Floor *clock.Floor
}

func (o *Options) validate() error {
	if len(o.Upstreams) == 0 {
		return errors.New("a resolver needs at least one upstream")
	}
	for _, suffix := range o.Forward {
		if err := Forwardable(suffix); err != nil {
			return err
		}
	}
	switch {
	case o.Sink == nil:
		return errors.New("a resolver needs a sink for its events; event.Discard{} stands for none")
	case o.CacheOctets < 0:
		return fmt.Errorf("a cache of %d octets", o.CacheOctets)
	case o.Stale < 0 || o.Stale > MaxStale:
		return fmt.Errorf("expired answers for %v: at most %v", o.Stale, MaxStale)
	case o.CacheOctets == 0 && (o.Stale > 0 || o.Prefetch):
		return errors.New("without a cache no answer can stand in or be asked for again")
	case o.Timeout < 0 || o.AttemptTimeout < 0 || o.IdleTimeout < 0:
		return errors.New("a negative time-out")
	}
	if err := o.DNSSEC.validate(); err != nil {
		return err
	}
	return o.Strategy.validate(len(o.Upstreams))
}

func (o *Options) fill() {
	def := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	def(&o.Timeout, DefaultTimeout)
	def(&o.AttemptTimeout, DefaultAttemptTimeout)
	def(&o.IdleTimeout, DefaultIdleTimeout)
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Resolver asks its upstreams, and remembers. Its methods may be called from many goroutines. Nothing runs before the
// first question; Close ends everything.
type Resolver struct {
	options   Options
	now       func() time.Time
	upstreams []*transport.Client
	cache     *cache
	chance    maphash.Seed // of Strategy.Random

	validation *validation // nil where nothing is validated

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[dnswire.Question]*flight
	misses  uint64
	joined  uint64
	local   uint64

	prefetching int // of flights
	prefetches  uint64
}

// New makes a resolver over a way out: the only one it has to send anything.
func New(o Options, way transport.Way) (*Resolver, error) {
	if way.Dial == nil {
		return nil, errors.New("a resolver exists only over a way out")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.fill()
	r := &Resolver{options: o, now: o.Now, chance: maphash.MakeSeed(), cache: newCache(o.CacheOctets, o.Stale, o.Prefetch), flights: map[dnswire.Question]*flight{}}
	r.cache.budget = o.Budget
	r.ctx, r.cancel = context.WithCancel(context.Background())
	var err error
	if r.validation, err = newValidation(o.DNSSEC, r); err != nil {
		r.Close()
		return nil, err
	}
	for _, u := range o.Upstreams {
		c, err := transport.New(u, transport.Options{Way: way, Now: o.Now, Floor: o.Floor, Timeout: o.Timeout, IdleTimeout: o.IdleTimeout, DNSSEC: o.DNSSEC.on(), Records: true})
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("upstream %s: %w", u.Text, err)
		}
		r.upstreams = append(r.upstreams, c)
	}
	return r, nil
}

// Exchange answers a question: from what is known here about special-use names, from the cache, or from the
// upstreams. A negative answer is an answer. The error is a [*fault.Error].
func (r *Resolver) Exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, error) {
	q.Name = dnswire.CanonicalName(q.Name)
	return r.told(r.entry(ctx, q))
}

// ExchangeCached is Exchange for an answer that is known already: from the cache, or of special-use names. It never
// waits, and says false where an upstream would have to be asked or there is a failure to tell.
func (r *Resolver) ExchangeCached(q dnswire.Question) (*dnswire.Answer, bool) {
	q.Name = dnswire.CanonicalName(q.Name)
	e := r.known(q)
	if e == nil {
		e = r.special(q)
	}
	if e == nil || e.fault != nil {
		return nil, false
	}
	a, err := r.told(e)
	return a, err == nil
}

// Peek gives an answer of the cache that has not expired, if there is one. It asks nobody, refreshes nothing, and is no look-up:
// none is reported.
func (r *Resolver) Peek(q dnswire.Question) (*dnswire.Answer, bool) {
	q.Name = dnswire.CanonicalName(q.Name)
	e := r.cache.peek(q, r.now())
	if e == nil || e.fault != nil {
		return nil, false
	}
	a, err := r.told(e)
	return a, err == nil
}

// told is an entry as an answer of this moment.
func (r *Resolver) told(e *entry) (*dnswire.Answer, error) {
	if e.fault != nil {
		return nil, copied(e.fault)
	}
	a, err := r.cache.unpacked(e)
	if err == nil && e.stale {
		a, err = a.Stale(staleTTL)
	} else if err == nil {
		a = a.Aged(r.now().Sub(e.stored))
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return a, nil
}

// Probe asks one upstream after the other, past cache and back-off, until one gives a well-formed reply over an
// authenticated connection. The question tells nothing: the name servers of the root. The error is a [*fault.Error].
func (r *Resolver) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	if !r.enter() {
		return closed()
	}
	defer r.wg.Done()
	q := dnswire.Question{Name: "", Type: dnswire.NS}
	started := r.now()
	said := r.askEach(ctx, q, r.upstreams)
	fail := said.fail
	ev := event.Lookup{Channel: r.options.Channel, Upstream: text(said.from), Type: q.Type.String(), Took: r.now().Sub(started)}
	if fail != nil {
		ev.Code = fail.Fault.Code
		r.options.Sink.Lookup(&ev)
		return copied(fail.Fault)
	}
	ev.RCode = dnswire.RCodeText(said.answer.RCode)
	r.options.Sink.Lookup(&ev)
	return nil
}

// Flush empties the cache, forgets the keys that answers were validated by, leaves the connections and forgets the
// sessions of TLS, so that nothing links what comes with what was. Look-ups under way end as they would have, do not fill
// the cache, and nobody joins them any more. It says how much the cache held.
func (r *Resolver) Flush() (entries, octets int) {
	r.mu.Lock()
	entries, octets = r.cache.flush()
	r.flights = map[dnswire.Question]*flight{}
	if r.validation != nil {
		r.validation.validator.Flush()
	}
	r.mu.Unlock()
	for _, u := range r.upstreams {
		u.Flush()
	}
	return entries, octets
}

// Stats is how the resolver does.
type Stats struct {
	Entries   int               `json:"entries"` // in the cache
	Octets    int               `json:"octets"`  // in the cache
	MaxOctets int               `json:"max_octets"`
	Hits      uint64            `json:"hits"`
	Stale     uint64            `json:"stale"`  // expired answers that stood in
	Misses    uint64            `json:"misses"` // look-ups started for one who asked
	Evicted   uint64            `json:"evicted"`
	Prefetch  uint64            `json:"prefetched"` // look-ups started before an answer expired
	Joined    uint64            `json:"joined"`     // questions that waited for another's look-up
	Local     uint64            `json:"local"`      // special-use names answered here
	InFlight  int               `json:"in_flight"`
	Strategy  string            `json:"strategy"`
	Asked     int               `json:"asked"` // upstreams that see a name, as long as all can be reached
	DNSSEC    Validation        `json:"dnssec"`
	Upstreams []transport.Stats `json:"upstreams"` // in the order of preference: all that may see a name
}

// Stats gives figures of this moment.
func (r *Resolver) Stats() Stats {
	now := r.now()
	r.mu.Lock()
	s := Stats{Strategy: r.options.Strategy.String(), Asked: r.options.Strategy.Asked(), Misses: r.misses, Prefetch: r.prefetches, Joined: r.joined, Local: r.local, InFlight: len(r.flights)}
	r.mu.Unlock()
	c := r.cache
	c.mu.Lock()
	s.Entries, s.Octets, s.MaxOctets = len(c.entries), c.octets, c.max
	s.Hits, s.Stale, s.Evicted = c.hits, c.stales, c.evicted
	c.mu.Unlock()
	s.DNSSEC = r.validation.stats()
	for _, u := range r.upstreams {
		s.Upstreams = append(s.Upstreams, u.Stats(now))
	}
	return s
}

// Add gives the figures of two resolvers together. What is no sum is that of s.
func (s Stats) Add(o Stats) Stats {
	s.Entries, s.Octets, s.InFlight = s.Entries+o.Entries, s.Octets+o.Octets, s.InFlight+o.InFlight
	s.Hits, s.Stale, s.Misses, s.Evicted = s.Hits+o.Hits, s.Stale+o.Stale, s.Misses+o.Misses, s.Evicted+o.Evicted
	s.Prefetch, s.Joined, s.Local = s.Prefetch+o.Prefetch, s.Joined+o.Joined, s.Local+o.Local
	v, w := &s.DNSSEC, o.DNSSEC
	v.Secure, v.Insecure, v.Bogus = v.Secure+w.Secure, v.Insecure+w.Insecure, v.Bogus+w.Bogus
	v.Indeterminate, v.Chain = v.Indeterminate+w.Indeterminate, v.Chain+w.Chain
	s.Upstreams = append([]transport.Stats(nil), s.Upstreams...)
	for i := range min(len(s.Upstreams), len(o.Upstreams)) {
		s.Upstreams[i].Asked += o.Upstreams[i].Asked
		s.Upstreams[i].Errors += o.Upstreams[i].Errors
	}
	return s
}

// Close ends every look-up and every connection, forgets what was learnt, and waits until nothing of the resolver runs.
func (r *Resolver) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	var closing sync.WaitGroup
	for _, u := range r.upstreams {
		closing.Go(u.Close)
	}
	closing.Wait()
	r.wg.Wait()
	r.cache.flush() // what it has learnt ends with it, and others may have the octets
	return nil
}

// enter books a goroutine of the resolver, unless it is closed.
func (r *Resolver) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Add(1)
	return true
}

// copied gives a fault of the caller's own: those above complete it.
func copied(f *fault.Error) *fault.Error {
	c := *f
	return &c
}
