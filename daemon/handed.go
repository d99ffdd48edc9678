package daemon

import (
	"context"
	"net"
	"net/netip"

	"watertight/leaktest"
	"watertight/leaktest/watch"
	"watertight/wire"
)

var _ leaktest.Handing = subject{}

// Send opens a socket as other programs of this host do, which know of no proxy.
func (s subject) Send(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	return s.d.tests.clients.dialled(wire.DialAsOthers(ctx, network, to))
}

// Took tells what has come of it at the doors.
func (s subject) Took(sent net.Conn) leaktest.Taken {
	from, err := netip.ParseAddrPort(sent.LocalAddr().String())
	to, err2 := netip.ParseAddrPort(sent.RemoteAddr().String())
	if err != nil || err2 != nil {
		return leaktest.Taken{}
	}
	t := s.d.tests.clients.took(from)
	t.Held = s.d.transparent.Has(from, to)
	return t
}

// Here tells whether a connection was led to this host.
func (subject) Here(sent net.Conn) bool {
	from, ok := sent.LocalAddr().(*net.TCPAddr)
	return ok && watch.HasFarEnd(from.AddrPort())
}
