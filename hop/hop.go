// Package hop is the ways out: straight to an address, or through a chain of SOCKS and HTTP CONNECT proxies.
//
// It promises that it dials only through what it was given, that the last proxy of a chain gets the target as it
// is, name or address, and that no error tells a password. It never resolves the client's name, and never tries
// another way when one fails.
package hop

import (
	"context"
	"net"
	"net/netip"

	"watertight/fault"
	"watertight/name"
)

// Dialer connects to a target. The error is a [*fault.Error].
type Dialer interface {
	Dial(ctx context.Context, t name.Target) (net.Conn, error)
}

// DialerFunc is a function that is a [Dialer].
type DialerFunc func(ctx context.Context, t name.Target) (net.Conn, error)

// Dial calls f.
func (f DialerFunc) Dial(ctx context.Context, t name.Target) (net.Conn, error) { return f(ctx, t) }

// Ground connects to an address: a socket in the program, a net in memory in tests.
type Ground interface {
	DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Direct dials addresses on the ground. A name is refused with INTERNAL: whoever stands above has to resolve it. It is
// a [PacketDialer] where the ground is a [PacketGround].
func Direct(g Ground) Dialer {
	if p, ok := g.(PacketGround); ok {
		return packetDirect{direct{g}, p}
	}
	return direct{g}
}

type direct struct{ ground Ground }

func (d direct) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	if d.ground == nil {
		return nil, fault.New(fault.Internal, "there is no ground to dial from", nil)
	}
	to, ok := t.AddrPort()
	if !ok {
		return nil, fault.New(fault.Internal, "a name reached the ground", nil)
	}
	conn, err := d.ground.DialAddr(ctx, to)
	if err != nil {
		return nil, ofGround(ctx, to, err)
	}
	return conn, nil
}

var (
	_ Dialer = DialerFunc(nil)
	_ Dialer = direct{}
)
