package resolve

import (
	"context"
	"crypto/tls"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"watertight/dnswire"
	"watertight/upstream"
)

// client is an Upstream at work for one Resolver.
type client struct {
	upstream.Upstream
	dial  Dial
	now   func() time.Time
	ctx   context.Context // ends with the Resolver
	wg    *sync.WaitGroup // the Resolver's
	limit time.Duration   // for opening a connection
	idle  time.Duration   // after which an unused connection is closed
	url   *url.URL        // of DoH

	tls      *tls.Config
	tickets  *tickets
	links    links
	health   health
	lastGood atomic.Int32 // index of the address that served last
}

func (r *Resolver) newClient(u upstream.Upstream) (*client, error) {
	up := &client{
		Upstream: u, dial: r.dial, now: r.now, ctx: r.ctx, wg: &r.wg,
		limit: r.options.Timeout, idle: r.options.IdleTimeout, tickets: newTickets(),
	}
	up.links = links{u: up, freed: make(chan struct{})}
	var err error
	if up.tls, err = up.secured(r.now); err != nil {
		return nil, err
	}
	if u.Kind == upstream.DoH {
		up.url, err = dohURL(u)
	}
	return up, err
}

// open makes a new connection: the only way to get one, first or later.
func (u *client) open(ctx context.Context) (link, *failure) {
	conn, fail := u.connect(ctx)
	if fail != nil {
		return nil, fail
	}
	if u.Kind == upstream.DoH {
		l, fail := newDoH(ctx, u, conn)
		if fail != nil {
			return nil, fail
		}
		return l, nil
	}
	return newDoT(u, conn), nil
}

// ask puts one question to the upstream. A connection that breaks under it is replaced by a fresh one, once.
func (u *client) ask(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *failure) {
	started := u.now()
	u.health.sent()
	var after uint64
	for again := true; ; again = false {
		s, fail := u.links.take(ctx, after)
		if fail != nil {
			if ctx.Err() == context.DeadlineExceeded {
				u.health.unanswered(started, u.now(), fail)
			}
			return nil, fail
		}
		a, fail := s.exchange(ctx, q)
		if fail != nil && fail.broken && ctx.Err() != nil {
			fail = u.timeout(fail.fault) // another question's end closed the connection at the same moment
		}
		replied := fail == nil || fail.final && !fail.unsent
		u.links.give(s, replied)
		switch {
		case replied:
			u.health.replied(started, u.now())
		case fail.unsent:
		case fail.broken:
			u.links.retire(s)
			if again {
				after = s.seq
				continue
			}
			u.health.failed(started, u.now(), fail)
		case ctx.Err() == nil: // the server did answer, but not with DNS
			u.health.failed(started, u.now(), fail)
		case ctx.Err() == context.DeadlineExceeded && u.links.silentSince(s, started):
			u.links.retire(s)
			u.health.unanswered(started, u.now(), fail)
		}
		return a, fail
	}
}

// text is what events call the upstream; empty for none.
func (u *client) text() string {
	if u == nil {
		return ""
	}
	return u.Text
}

func (u *client) stats(now time.Time) UpstreamStats {
	s := UpstreamStats{Upstream: u.Text, Host: u.Host, Kind: u.Kind}
	s.Conns, s.InFlight = u.links.load()
	u.health.stats(&s, now)
	return s
}
