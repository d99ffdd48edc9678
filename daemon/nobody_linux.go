package daemon

import (
	"context"
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

// nobody decides for a program whose proxy is gone: it carries nothing, knows no channel and asks no one.
type nobody struct{}

var _ contained.Board = nobody{}

// errNobody is what every request ends with.
func errNobody() error {
	return fault.New(fault.NotReady, "the running proxy that carried this program is gone", nil)
}

// Dial refuses.
func (nobody) Dial(context.Context, route.Request) (net.Conn, error) { return nil, errNobody() }

// DialPacket refuses.
func (nobody) DialPacket(context.Context, route.Request) (net.Conn, error) { return nil, errNobody() }

// GivenFor knows of no address.
func (nobody) GivenFor(_, _ netip.Addr) []route.Given { return nil }

// Leads leads nowhere.
func (nobody) Leads(name.Host) string { return "" }

// RefusesUngiven refuses every address.
func (nobody) RefusesUngiven(event.Door) bool { return true }

// StandIn refuses.
func (nobody) StandIn(netip.AddrPort, dnswire.Question, func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	return nil, errNobody()
}

// ExchangeBare refuses.
func (nobody) ExchangeBare(context.Context, netip.AddrPort, dnswire.Question) (*dnswire.Answer, error) {
	return nil, errNobody()
}

// Exchange refuses.
func (nobody) Exchange(context.Context, dns.Client, dns.Query) (*dnswire.Answer, error) {
	return nil, errNobody()
}
