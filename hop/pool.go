package hop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"watertight/fault"
	"watertight/name"
)

// Limits of a pool.
const (
	MaxMembers = 20_000 // of one pool
	maxTries   = 3      // members that are tried for one connection
	maxStuck   = 65_536 // that are remembered for who sticks to one
	maxWays    = 64     // members whose chain an identity keeps at once, beside those that it dials through
)

// reachLimit is how long a member may take to accept a connection before the next one is tried.
const reachLimit = 4 * time.Second

// Pick says which member of a pool takes a connection.
type Pick string

// The picks.
const (
	RoundRobin    Pick = "round_robin"    // one after the other
	Random        Pick = "random"         // any
	LeastUsed     Pick = "least_used"     // the one with the fewest open connections
	LowestLatency Pick = "lowest_latency" // the one that opened connections the fastest of late
)

// StickyBy says what sticks to a member.
type StickyBy string

// The ways to stick.
const (
	ByNothing StickyBy = ""
	ByUser    StickyBy = "user"    // a client's user
	BySession StickyBy = "session" // a user's session; what has none does not stick
	ByClient  StickyBy = "client"  // a client's address
	ByTarget  StickyBy = "target"  // what is connected to
)

// PoolSpec is what a pool is made of.
type PoolSpec struct {
	Members []Proxy
	List    string // the file that Members were read from, which may change in place; empty for none
	Pick    Pick
	By      StickyBy
	For     time.Duration // how long one sticks to a member, from when it was picked
	// Every is how often a member that nobody used is tried; 0: never.
	Every time.Duration
	// Timeout is how long such a try may take.
	Timeout time.Duration
}

// String says what the pool is, for people: without its members.
func (s PoolSpec) String() string {
	text := fmt.Sprintf("a pool of %d proxies (%s", len(s.Members), s.Pick)
	if s.By != ByNothing {
		text += fmt.Sprintf(", sticky by %s for %v", s.By, s.For)
	}
	return text + ")"
}

// shownMembers bounds how many members are shown where all would be too many.
const shownMembers = 8

// Shown gives the pool for people: what it is, and the first of its members, without passwords.
func (s PoolSpec) Shown() string {
	var texts []string
	for _, m := range s.Members[:min(len(s.Members), shownMembers)] {
		texts = append(texts, m.String())
	}
	if more := len(s.Members) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	return s.String() + ": " + strings.Join(texts, ", ")
}

func (s PoolSpec) validate() error {
	switch {
	case len(s.Members) == 0:
		return errors.New("hop: a pool needs a member")
	case len(s.Members) > MaxMembers:
		return fmt.Errorf("hop: a pool of %d members, and at most %d are allowed", len(s.Members), MaxMembers)
	case !slices.Contains([]Pick{RoundRobin, Random, LeastUsed, LowestLatency}, s.Pick):
		return fmt.Errorf("hop: a pool cannot pick by %q", s.Pick)
	case !slices.Contains([]StickyBy{ByNothing, ByUser, BySession, ByClient, ByTarget}, s.By):
		return fmt.Errorf("hop: nothing sticks by %q", s.By)
	case s.By != ByNothing && s.For <= 0:
		return errors.New("hop: what sticks to a member needs a time")
	case s.Every < 0 || s.Every > 0 && s.Timeout <= 0:
		return errors.New("hop: health checks need a time")
	}
	for i, p := range s.Members {
		if err := p.validate(); err != nil {
			return fmt.Errorf("hop: member %d of the pool: %w", i+1, err)
		}
	}
	return nil
}

// Pool is many proxies, each of which is a way out by itself. A connection takes one of them; where that one fails, another of
// the same pool, and never another way. Its methods may be called from many goroutines.
type Pool struct {
	spec  PoolSpec // Members are those it began with
	floor Proxy    // the one of those that carries the least

	mu      sync.Mutex
	members []*member
	turn    int // of RoundRobin
	picks   uint64
	stuck   map[string]binding
	refused uint64 // connections for which no member was left
}

// binding is who sticks to which member, and until when.
type binding struct {
	member *member
	until  time.Time
}

// NewPool makes a pool. Nothing is dialled.
func NewPool(s PoolSpec) (*Pool, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	p := &Pool{spec: s, floor: Least(s.Members), stuck: map[string]binding{}}
	for i, proxy := range s.Members {
		p.members = append(p.members, newMember(i, proxy))
	}
	return p, nil
}

// SetMembers replaces the members. One that is there already goes on as it was, with who sticks to it; who stuck to one that
// is gone gets another. Open connections stay. The error is for members that cannot be used, and for one that carries less than
// the pool was begun with: nothing has changed then.
func (p *Pool) SetMembers(proxies []Proxy) error {
	s := p.spec
	s.Members = proxies
	if err := s.validate(); err != nil {
		return err
	}
	if err := lesser(p.floor, Least(proxies)); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := make(map[string][]*member, len(p.members))
	for _, m := range p.members {
		before[m.key] = append(before[m.key], m)
	}
	next := make([]*member, 0, len(proxies))
	for i, proxy := range proxies {
		m := newMember(i, proxy)
		if same := before[m.key]; len(same) > 0 {
			m, before[m.key] = same[0], same[1:]
			m.index = i
		}
		next = append(next, m)
	}
	for _, gone := range before {
		for _, m := range gone {
			m.gone = true
		}
	}
	p.members = next
	return nil
}

// Spec is what the pool was made of; Members are those that it has now.
func (p *Pool) Spec() PoolSpec {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.spec
	s.Members = make([]Proxy, len(p.members))
	for i, m := range p.members {
		s.Members[i] = m.proxy
	}
	return s
}

// Way is a pool as one identity goes through it: what sticks, sticks for the identity as a whole, its resolver included.
type Way struct {
	pool *Pool
	key  string        // who sticks; empty: nobody, or each target by itself
	stay time.Duration // for how long
	link func(Proxy) (Dialer, error)

	mu     sync.Mutex
	links  map[*member]*linked
	closed bool
}

// linked is the way through one member. It is guarded by the mutex of its Way.
type linked struct {
	Dialer
	users int // who dial through it at this moment
}

// Way gives the pool for one who sticks by key, for a time; an empty key sticks to nothing. link makes a way out through one
// member, which is not dialled by that.
func (p *Pool) Way(key string, stay time.Duration, link func(Proxy) (Dialer, error)) *Way {
	if key != "" {
		key = "who " + key
	}
	return &Way{pool: p, key: key, stay: stay, link: link, links: map[*member]*linked{}}
}

type towardKey struct{}

// Toward gives a context under which a connection is one to a target as the client named it: what sticks by target sticks to that.
func Toward(ctx context.Context, host name.Host) context.Context {
	return context.WithValue(ctx, towardKey{}, host.String())
}

// keyFor is by what a connection sticks, and for how long; empty for nothing.
func (w *Way) keyFor(ctx context.Context) (key string, stay time.Duration) {
	if w.pool.spec.By != ByTarget {
		return w.key, w.stay
	}
	if host, ok := ctx.Value(towardKey{}).(string); ok {
		return "to " + host, w.pool.spec.For
	}
	return "", 0
}

// Pinned says to which member the way sticks at this moment, as a number that no other member has: one is picked if it sticks to
// none. It gives 0 where it sticks to nothing, or nothing can be picked.
func (w *Way) Pinned() uint64 {
	if w.key == "" || w.pool.spec.By == ByTarget {
		return 0
	}
	m, err := w.pool.pick(w.key, w.stay, nil)
	if err != nil {
		return 0
	}
	w.pool.release(m)
	return m.id
}

// Dial connects to t through one member. Where the member itself fails, the next one is tried, three at most; what it says
// about the target is final. The error is a [*fault.Error].
func (w *Way) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	key, stay := w.keyFor(ctx)
	var tried []*member
	var last error
	for len(tried) < maxTries && (last == nil || ctx.Err() == nil) {
		m, err := w.pool.pick(key, stay, tried)
		if err != nil {
			if last == nil {
				return nil, err
			}
			break
		}
		conn, err := w.through(ctx, m, t)
		if err == nil {
			return w.pool.carry(m, conn), nil
		}
		w.pool.release(m)
		if !ofHop(err) {
			return nil, err
		}
		tried, last = append(tried, m), err
	}
	return nil, w.pool.exhausted(len(tried), last)
}

// ofHop says that a fault is about the proxy and not about the target: another one may do better.
func ofHop(err error) bool {
	switch fault.Of(err).Code {
	case fault.HopRefused, fault.HopAuth:
		return true
	}
	return false
}

// through connects by one member, and books how it went.
func (w *Way) through(ctx context.Context, m *member, t name.Target) (net.Conn, error) {
	d, err := w.hold(m)
	if err != nil {
		return nil, err
	}
	defer w.letGo(m, d)
	started := time.Now()
	conn, err := d.Dial(ctx, t)
	w.pool.book(ctx, m, max(time.Since(started), 1), err)
	return conn, err
}

// hold gives the way through one member, made if there is none; the caller lets it go. Where there are too many, one that nobody
// dials through is closed.
func (w *Way) hold(m *member) (*linked, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, fault.New(fault.NotReady, "the channel is closed", nil)
	}
	d := w.links[m]
	if d == nil {
		through, err := w.link(m.proxy)
		if err != nil {
			return nil, err
		}
		d = &linked{Dialer: through}
		w.links[m] = d
	}
	d.users++
	w.shrink()
	return d, nil
}

// letGo is called by who held the way through a member.
func (w *Way) letGo(m *member, d *linked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.users--; w.links[m] == d {
		w.shrink()
	}
}

// shrink closes ways that nobody dials through, as long as there are too many. The caller holds mu.
func (w *Way) shrink() {
	for m, d := range w.links {
		if len(w.links) <= maxWays {
			return
		}
		if d.users == 0 {
			closeLink(d.Dialer)
			delete(w.links, m)
		}
	}
}

// Forget drops what is kept for the next connection through each member, so that nothing links it with those before.
func (w *Way) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.links {
		if f, ok := d.Dialer.(interface{ Forget() }); ok {
			f.Forget()
		}
	}
}

// Close takes no more connections. Those that Dial gave stay open.
func (w *Way) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.links {
		closeLink(d.Dialer)
	}
	clear(w.links)
	w.closed = true
	return nil
}

// closeLink closes a way through one member, where that keeps anything.
func closeLink(d Dialer) {
	if c, ok := d.(io.Closer); ok {
		_ = c.Close() // what it held is gone either way
	}
}

var _ Dialer = (*Way)(nil)
