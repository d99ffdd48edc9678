package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/front/contained"
	"watertight/front/dns"
	"watertight/name"
	"watertight/route"
)

// guestBoard is the switchboard for a program that may have one channel alone.
type guestBoard struct {
	board *switchboard
	only  string       // empty leaves it to the routes
	test  bool         // it is the program of a test: nobody is told of its requests
	told  *event.Tally // counts what was refused or failed
}

var _ contained.Board = (*guestBoard)(nil)

// errGone is that a program's channel is not there any more, since a reload.
func (b *guestBoard) errGone() error {
	return fault.New(fault.PolicyRoute, fmt.Sprintf("the channel %q of this program is not in the configuration any more", b.only), nil)
}

// acquire gives the generation in force, which the caller releases, and the table to go by: nil where the channel is gone.
func (b *guestBoard) acquire() (*generation, *route.Table) {
	g := b.board.acquire()
	return g, b.table(g)
}

func (b *guestBoard) table(g *generation) *route.Table {
	if b.test {
		return g.table.Unreported()
	}
	if b.only == "" {
		return g.table
	}
	for _, r := range g.channels {
		if r.Name() == b.only {
			return g.table.Through(r.Channel)
		}
	}
	return nil
}

// Dial connects for a door.
func (b *guestBoard) Dial(ctx context.Context, r route.Request) (conn net.Conn, err error) {
	defer func() { b.count(err) }()
	g, t := b.acquire()
	defer g.release()
	if t == nil {
		return nil, b.errGone()
	}
	return t.Dial(ctx, r)
}

func (b *guestBoard) count(err error) {
	if err != nil {
		b.told.Request(&event.Request{Code: fault.Of(err).Code})
	}
}

// DialPacket opens a flow of datagrams for a door.
func (b *guestBoard) DialPacket(ctx context.Context, r route.Request) (conn net.Conn, err error) {
	defer func() { b.count(err) }()
	g, t := b.acquire()
	defer g.release()
	if t == nil {
		return nil, b.errGone()
	}
	return t.DialPacket(ctx, r)
}

// GivenFor says for which names an address was given out: to this client, whose address all contained programs have.
func (b *guestBoard) GivenFor(_, _ netip.Addr) []route.Given { return nil }

// Leads gives the name of the channel to a host.
func (b *guestBoard) Leads(h name.Host) string {
	if t := b.table(b.board.look()); t != nil {
		return t.Leads(h)
	}
	return ""
}

// RefusesUngiven says whether what is asked for by an address that was given out to nobody is refused at a door.
func (b *guestBoard) RefusesUngiven(door event.Door) bool {
	t := b.table(b.board.look())
	return t == nil || t.RefusesUngiven(door)
}

// StandIn answers a question for addresses with those that stand for the name.
func (b *guestBoard) StandIn(client netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	g, t := b.acquire()
	defer g.release()
	if t == nil {
		return nil, b.errGone()
	}
	return t.StandIn(client, q, made)
}

// ExchangeBare answers a question that is not for addresses, without the addresses that an answer hints at.
func (b *guestBoard) ExchangeBare(ctx context.Context, client netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	g, t := b.acquire()
	defer g.release()
	if t == nil {
		return nil, b.errGone()
	}
	return t.ExchangeBare(ctx, client, q)
}

// Exchange answers no question: a program that is carried here sees no address of the network.
func (b *guestBoard) Exchange(context.Context, dns.Client, dns.Query) (*dnswire.Answer, error) {
	return nil, fault.New(fault.Internal, "a contained program asked for the addresses of the network", nil)
}
