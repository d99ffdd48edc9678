package hop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watertight/fault"
)

// Times of a member that failed.
const (
	restFirst = time.Second      // how long it is left alone, twice as long after each failure in a row
	restMost  = time.Minute      // and at most so long
	restAuth  = 30 * time.Second // at least, where it refused user and password
)

// member is one proxy of a pool.
type member struct {
	proxy Proxy
	key   string
	id    uint64 // that no other member of the program has
	label string // HOST:PORT

	// ---- guarded by the mutex of the pool
	index    int // in the pool, from 0
	gone     bool
	open     int // connections that are open or being opened; those that are open count with LeastUsed only
	dials    uint64
	failures uint64
	inARow   int
	rests    time.Time     // until when it is left alone
	latency  time.Duration // smoothed; 0: not known
	seen     time.Time     // when it was used last, well or not
	why      string        // of the last failure, without a credential; empty after a success
	auth     bool          // the last failure was about user and password
}

var lastMember atomic.Uint64

func newMember(index int, p Proxy) *member {
	m := &member{proxy: p, key: keyOf(p), id: lastMember.Add(1), index: index}
	if t, err := p.target(); err == nil {
		m.label = t.String()
	}
	return m
}

func (m *member) usable(now time.Time, not []*member) bool {
	return !now.Before(m.rests) && !slices.Contains(not, m)
}

// pick gives a member, and books a connection on it: the one that key sticks to, or another that key sticks to from now on. not
// are those that failed already. The error is a [*fault.Error].
func (p *Pool) pick(key string, stay time.Duration, not []*member) (*member, error) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.stuck[key]; key != "" && ok && now.Before(b.until) && !b.member.gone && b.member.usable(now, not) {
		b.member.open++
		return b.member, nil
	}
	m := p.choose(now, not)
	if m == nil {
		if len(not) == 0 {
			p.refused++
		}
		return nil, p.dead(now)
	}
	if key != "" {
		p.stick(key, binding{m, now.Add(stay)}, now)
	}
	m.open++
	p.picks++
	return m, nil
}

// choose gives the member whose turn it is; nil where none can be used. The caller holds mu.
func (p *Pool) choose(now time.Time, not []*member) (best *member) {
	n := len(p.members)
	start := p.turn % n
	switch p.spec.Pick {
	case Random:
		start = rand.IntN(n)
	case LeastUsed, LowestLatency:
		return p.least(now, not, start)
	}
	for i := range n {
		at := (start + i) % n
		if m := p.members[at]; m.usable(now, not) {
			p.turn = at + 1
			return m
		}
	}
	return nil
}

// How many picks by latency pass before one goes to the member that was used the longest ago: the fewer, as long as there is one
// of which nothing is known.
const (
	exploreKnown   = 16
	exploreUnknown = 4
)

// least gives the member that is used least, or that is the fastest. The first of equals is the one whose turn it is. Where
// latency counts, one that is not known is tried now and then, so that none is left out for good.
func (p *Pool) least(now time.Time, not []*member, start int) (best *member) {
	explore := false
	if p.spec.Pick == LowestLatency {
		unknown := slices.ContainsFunc(p.members, func(m *member) bool { return m.latency == 0 && m.usable(now, not) })
		explore = p.picks%exploreKnown == 0 || unknown && p.picks%exploreUnknown == 0
	}
	at := 0
	for i := range p.members {
		j := (start + i) % len(p.members)
		m := p.members[j]
		switch {
		case !m.usable(now, not):
		case best == nil || p.better(m, best, explore):
			best, at = m, j
		}
	}
	p.turn = at + 1
	return best
}

func (p *Pool) better(a, b *member, explore bool) bool {
	switch {
	case p.spec.Pick == LeastUsed:
		return a.open < b.open
	case explore:
		return a.seen.Before(b.seen)
	case a.latency == 0 || b.latency == 0:
		return b.latency == 0 && a.latency != 0
	}
	return a.latency < b.latency
}

// stick remembers who sticks to which member. Where there are too many, those whose time is over are forgotten, and then any.
func (p *Pool) stick(key string, b binding, now time.Time) {
	if len(p.stuck) >= maxStuck {
		for k, old := range p.stuck {
			if !now.Before(old.until) || old.member.gone {
				delete(p.stuck, k)
			}
		}
		for k := range p.stuck {
			if len(p.stuck) < maxStuck {
				break
			}
			delete(p.stuck, k)
		}
	}
	p.stuck[key] = b
}

func (p *Pool) release(m *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m.open--
}

// carry gives a connection that was opened. It is the very one, so that a relay can splice it, but where open connections are
// counted.
func (p *Pool) carry(m *member, conn net.Conn) net.Conn {
	if p.spec.Pick != LeastUsed {
		p.release(m)
		return conn
	}
	return &counted{Conn: conn, done: sync.OnceFunc(func() { p.release(m) })}
}

// counted is a connection that is booked on a member until it is closed.
type counted struct {
	net.Conn
	done func()
}

// Close closes the connection.
func (c *counted) Close() error {
	c.done()
	return c.Conn.Close()
}

// CloseWrite ends this direction where the connection can do that, and else both.
func (c *counted) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.Close()
}

// book notes how an attempt went, and how long it took; 0 says nothing about that. What says nothing about the member changes nothing: a client that is gone, a channel
// underneath that is not ready, a target that stayed silent.
func (p *Pool) book(ctx context.Context, m *member, took time.Duration, err error) {
	now := time.Now()
	f := fault.Of(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	m.dials++
	switch {
	case err == nil:
		if took > 0 && m.latency == 0 {
			m.latency = took
		}
		if took > 0 {
			m.latency += (took - m.latency) / 4
		}
		m.well(now)
	case errors.Is(err, errAnswered) && f.Code != fault.HopAuth:
		m.well(now) // it answered, and said no
	case !ofHop(err) || errors.Is(ctx.Err(), context.Canceled):
	case now.Before(m.rests): // others who began before have told it already
	default:
		m.badly(now, f)
	}
}

func (m *member) well(now time.Time) {
	m.inARow, m.rests, m.why, m.auth, m.seen = 0, time.Time{}, "", false, now
}

func (m *member) badly(now time.Time, f *fault.Error) {
	m.failures++
	m.seen, m.auth = now, f.Code == fault.HopAuth
	m.why, _, _ = strings.Cut(f.Message, ": ") // what the proxy said was said to one client, and others read this
	if m.auth && !m.proxy.Template.IsZero() {
		return // it refused what was filled in for one client, and may take what is filled in for another
	}
	m.inARow++
	rest := min(restFirst<<min(m.inARow-1, 16), restMost)
	if m.auth {
		rest = max(rest, restAuth)
	}
	m.rests = now.Add(rest)
}

// Forgive lets every member be tried again: the network has changed, and what failed may work.
func (p *Pool) Forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		m.rests, m.inARow = time.Time{}, 0
	}
}

// poolHint is what to do about a pool in which nothing works.
const poolHint = "`watertight status --pool` shows each member and why it failed; no other way is taken"

// dead is the fault of a pool in which no member can be used now: how many, why, and when the next is tried. The caller holds mu.
func (p *Pool) dead(now time.Time) *fault.Error {
	refused, silent := 0, 0
	soonest, why := time.Duration(-1), ""
	var latest time.Time
	for _, m := range p.members {
		if m.auth {
			refused++
		} else if m.why != "" {
			silent++
		}
		if left := m.rests.Sub(now); left > 0 && (soonest < 0 || left < soonest) {
			soonest = left
		}
		if m.why != "" && !m.seen.Before(latest) {
			latest, why = m.seen, m.why
		}
	}
	var causes []string
	if silent > 0 {
		causes = append(causes, fmt.Sprintf("%d did not work", silent))
	}
	if refused > 0 {
		causes = append(causes, fmt.Sprintf("%d refused user and password", refused))
	}
	message := fmt.Sprintf("POOL: none of the %d members can be used", len(p.members))
	if len(causes) > 0 {
		message += ": " + strings.Join(causes, ", ")
	}
	if soonest > 0 {
		message += fmt.Sprintf(", the next is tried in %v", max(soonest.Round(time.Second), time.Second))
	}
	if why != "" {
		message += "; last: " + why
	}
	f := fault.New(fault.HopRefused, message, nil)
	f.Hint = poolHint
	return f
}

// exhausted is the fault of a connection that several members failed to open.
func (p *Pool) exhausted(tried int, last error) *fault.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused++
	if !slices.ContainsFunc(p.members, func(m *member) bool { return m.usable(time.Now(), nil) }) {
		return p.dead(time.Now())
	}
	why := fault.Of(last)
	if tried == 1 {
		return why
	}
	f := fault.New(why.Code, fmt.Sprintf("POOL: %d of %d members failed one after the other; last: %s", tried, len(p.members), why.Message), last)
	f.Hint = poolHint
	return f
}
