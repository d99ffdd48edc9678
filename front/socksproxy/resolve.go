package socksproxy

import (
	"context"
	"net/netip"

	"watertight/event"
	"watertight/fault"
	"watertight/name"
	"watertight/socks"
)

// noPort stands where a target must have a port and a question has none. What the client sent there is ignored:
// tor-resolve sends 0.
const noPort = 1

// resolve serves Tor's RESOLVE: the reply carries one address of the name (socks-extensions, section 2). IPv4 is
// preferred, as Tor does, and because version 4 has room for nothing else.
func (d *Door) resolve(ctx context.Context, v *visitor, req socks.Request) {
	target, err := name.New(req.Host, noPort)
	if err != nil {
		d.fail(ctx, v.Conn, req, err)
		return
	}
	addrs, err := d.o.Resolver.Resolve(ctx, v.asks(event.DoorResolve, target))
	if err != nil {
		d.fail(ctx, v.Conn, req, err)
		return
	}
	found, ok := choose(addrs, req.Version == socks.Version4)
	if !ok {
		d.farewell(ctx, v.Conn, req.AppendReply(nil, socks.HostUnreachable, netip.AddrPort{}))
		return
	}
	d.farewell(ctx, v.Conn, req.AppendReply(nil, socks.Succeeded, netip.AddrPortFrom(found, 0)))
}

// choose gives the first IPv4 address, or else the first address unless only IPv4 will do.
func choose(addrs []netip.Addr, only4 bool) (netip.Addr, bool) {
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return a, true
		}
	}
	if only4 || len(addrs) == 0 {
		return netip.Addr{}, false
	}
	return addrs[0], true
}

// resolvePTR serves Tor's RESOLVE_PTR: an address comes in, and the reply carries its name.
func (d *Door) resolvePTR(ctx context.Context, v *visitor, req socks.Request) {
	target, err := name.New(req.Host, noPort)
	if _, ok := req.Host.Addr(); !ok || err != nil {
		d.report(v, event.DoorResolve, fault.BadRequest, 0)
		d.farewell(ctx, v.Conn, req.AppendReply(nil, socks.AddressUnsupported, netip.AddrPort{}))
		return
	}
	found, err := d.o.Resolver.ResolvePTR(ctx, v.asks(event.DoorResolve, target))
	if err != nil {
		d.fail(ctx, v.Conn, req, err)
		return
	}
	d.farewell(ctx, v.Conn, req.AppendNameReply(nil, found))
}
