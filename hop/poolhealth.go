package hop

import (
	"context"
	"sync"
	"time"

	"watertight/fault"
)

// checksAtOnce bounds how many members are tried at the same time.
const checksAtOnce = 8

// Run tries members that nobody used of late, until ctx ends, where the pool's spec asks for it. try opens a connection through
// a way that leads to one member alone, and closes it. It returns when nothing runs any more.
func (p *Pool) Run(ctx context.Context, try func(ctx context.Context, one Proxy) error) {
	if p.spec.Every == 0 {
		<-ctx.Done()
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, checksAtOnce)
	for {
		for _, m := range p.unused() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			running.Go(func() {
				defer func() { <-slots }()
				p.check(ctx, m, try)
			})
		}
		select {
		case <-time.After(p.spec.Every):
		case <-ctx.Done():
			return
		}
	}
}

// check tries one member.
func (p *Pool) check(ctx context.Context, m *member, try func(context.Context, Proxy) error) {
	started := time.Now()
	within, cancel := context.WithTimeout(ctx, p.spec.Timeout)
	defer cancel()
	err := try(within, m.proxy)
	if f := fault.Of(err); err != nil && f.Code == fault.ConnectTimeout {
		// Nobody's target is silent here: what is asked for is there.
		err = fault.New(fault.HopRefused, "the proxy "+m.label+" did not open a connection in time", err)
	}
	if ctx.Err() == nil {
		p.book(ctx, m, max(time.Since(started), 1), err)
	}
}

// unused are the members that nobody used since the last round.
func (p *Pool) unused() (list []*member) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.members {
		if now.Sub(m.seen) >= p.spec.Every && m.usable(now, nil) {
			list = append(list, m)
		}
	}
	return list
}

// MemberStats is how one member does. It holds no credential.
type MemberStats struct {
	Index    int    // from 0, in the order of the configuration or the list
	Host     string // HOST:PORT
	Scheme   string
	Usable   bool
	Open     int    // connections open, or being opened
	Dials    uint64 // connections asked for
	Failures uint64
	Why      string        // of the last failure; empty after a success
	Retry    time.Duration // until it is tried again; 0 where it is usable
	Latency  time.Duration // smoothed, of opening a connection; 0: not known
}

// PoolStats is how a pool does.
type PoolStats struct {
	Members []MemberStats
	Usable  int
	Stuck   int    // who stick to a member
	Refused uint64 // connections for which no member was left
}

// Stats gives figures of this moment.
func (p *Pool) Stats() PoolStats {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := PoolStats{Stuck: len(p.stuck), Refused: p.refused, Members: make([]MemberStats, 0, len(p.members))}
	for _, m := range p.members {
		one := MemberStats{
			Index: m.index, Host: m.label, Scheme: m.proxy.Scheme, Usable: m.usable(now, nil), Open: m.open, Dials: m.dials,
			Failures: m.failures, Why: m.why, Retry: max(0, m.rests.Sub(now)), Latency: m.latency,
		}
		if one.Usable {
			s.Usable++
		}
		s.Members = append(s.Members, one)
	}
	return s
}
