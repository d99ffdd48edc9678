package daemon

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/front/contained"
	"watertight/front/dns"
	"watertight/name"
	"watertight/route"
)

// switchboard gives each request the generation that is in force, and knows when the last request of an old one has
// been decided.
type switchboard struct {
	mu  sync.RWMutex
	now *generation
}

// acquire gives the generation in force; the caller calls release when its request is decided.
func (s *switchboard) acquire() *generation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.now.inFlight.Add(1)
	return s.now
}

// look gives the generation in force, for a look at it.
func (s *switchboard) look() *generation {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

var _ contained.Board = (*switchboard)(nil)

func (g *generation) release() { g.inFlight.Done() }

// swap puts next in force and gives the one before.
func (s *switchboard) swap(next *generation) *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	s.now = next
	if before != nil {
		before.gateway.Close() // what was connected by other routes is not used any more
		close(before.replaced)
	}
	return before
}

// Dial connects for a door.
func (s *switchboard) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	g := s.acquire()
	defer g.release()
	return g.table.Dial(ctx, r)
}

// DialPacket opens a flow of datagrams for a door.
func (s *switchboard) DialPacket(ctx context.Context, r route.Request) (net.Conn, error) {
	g := s.acquire()
	defer g.release()
	return g.table.DialPacket(ctx, r)
}

// CarriesPackets says whether datagrams can go anywhere.
func (s *switchboard) CarriesPackets() bool { return s.look().table.CarriesPackets() }

// GivenFor says for which names an address was given out.
func (s *switchboard) GivenFor(from, addr netip.Addr) []route.Given {
	return s.look().table.GivenFor(from, addr)
}

// Leads gives the name of the channel to a host.
func (s *switchboard) Leads(h name.Host) string { return s.look().table.Leads(h) }

// RefusesUngiven says whether what is asked for by an address that was given out to nobody is refused at a door.
func (s *switchboard) RefusesUngiven(door event.Door) bool {
	return s.look().table.RefusesUngiven(door)
}

// StandIn answers a question for addresses with those that stand for the name.
func (s *switchboard) StandIn(client netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	g := s.acquire()
	defer g.release()
	return g.table.StandIn(client, q, made)
}

// ExchangeBare answers a question that is not for addresses, without the addresses that an answer hints at.
func (s *switchboard) ExchangeBare(ctx context.Context, client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	g := s.acquire()
	defer g.release()
	return g.table.ExchangeBare(ctx, client, q)
}

// Resolve looks up for a door.
func (s *switchboard) Resolve(ctx context.Context, r route.Request) ([]netip.Addr, error) {
	g := s.acquire()
	defer g.release()
	return g.table.Resolve(ctx, r)
}

// ResolvePTR looks an address up for a door.
func (s *switchboard) ResolvePTR(ctx context.Context, r route.Request) (string, error) {
	g := s.acquire()
	defer g.release()
	return g.table.ResolvePTR(ctx, r)
}

// Cached answers a question for the door of DNS, if it can at once.
func (s *switchboard) Cached(c dns.Client, q dns.Query) (*dnswire.Answer, bool) {
	g := s.acquire()
	defer g.release()
	return g.table.Cached(c.Addr, q.Question)
}

// Exchange answers a question for the door of DNS.
func (s *switchboard) Exchange(ctx context.Context, c dns.Client, q dns.Query) (*dnswire.Answer, error) {
	g := s.acquire()
	defer g.release()
	return g.table.Exchange(ctx, c.Addr, q.Question)
}

// Begin answers a question for the door of DNS without a goroutine that waits, if it can.
func (s *switchboard) Begin(until time.Time, c dns.Client, q dns.Query, then func(*dnswire.Answer, error)) bool {
	g := s.acquire()
	begun := g.table.Begin(until, c.Addr, q.Question, func(a *dnswire.Answer, err error) {
		g.release() // it is decided
		then(a, err)
	})
	if !begun {
		g.release()
	}
	return begun
}

// current is the generation in force, for a look at it.
func (d *Daemon) current() *generation { return d.board.look() }

func (d *Daemon) drainLimit() time.Duration { return d.current().config.Limits.Drain }
