package hop

import (
	"context"
	"net"
	"net/netip"
	"time"

	"watertight/fault"
	"watertight/name"
)

// h3Streams is how many tunnels one connection carries. Most proxies allow a hundred; one that allows fewer is noticed.
const h3Streams = 90

// h3 is the connections of one chain to one HTTP/3 proxy.
type h3 struct {
	book[*h3Conn]
	size uint16 // of QUIC's packets, in octets
}

// openFlow opens a flow of datagrams to an address of the proxy.
type openFlow func(ctx context.Context, to name.Target) (net.Conn, error)

// way is how a proxy is reached: where it may be, and by what.
type way struct {
	places func(ctx context.Context) ([]name.Target, error)
	flow   openFlow
	via    string // for messages
}

// tunnel opens a tunnel to t.
func (h *h3) tunnel(ctx context.Context, w way, t name.Target) (net.Conn, error) {
	return h.on(ctx, h.by(w), func(ctx context.Context, c *h3Conn, done func()) (net.Conn, error) {
		return c.tunnel(ctx, t, done)
	})
}

// packets opens a flow of datagrams to t.
func (h *h3) packets(ctx context.Context, w way, t name.Target) (net.Conn, error) {
	return h.on(ctx, h.by(w), func(ctx context.Context, c *h3Conn, done func()) (net.Conn, error) {
		return c.packets(ctx, t, done)
	})
}

func (h *h3) by(w way) func(context.Context) (*h3Conn, error) {
	return func(ctx context.Context) (*h3Conn, error) { return h.dial(ctx, w) }
}

// dial makes a connection to the first address of the proxy where it proves who it is. The error is a [*fault.Error].
func (h *h3) dial(ctx context.Context, w way) (*h3Conn, error) {
	places, err := w.places(ctx)
	if err != nil {
		return nil, h.l.unreached(err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, h.l.reach)
	defer cancel()
	for i, at := range places {
		var c *h3Conn
		if c, err = h.dialAt(ctx, w, at, len(places)-i); err == nil {
			return c, nil
		}
		if !aboutTheFarSide(err) || ctx.Err() != nil {
			break
		}
	}
	return nil, h.l.unreached(err, w.via)
}

// dialAt makes a connection to one address of the proxy, in its share of the time where more are left to try.
func (h *h3) dialAt(ctx context.Context, w way, at name.Target, left int) (*h3Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	below := h.l.retold(ctx, w.via)
	if fault.Watched(ctx) {
		fault.Waiting(below, func() error { return fault.New(fault.ConnectTimeout, "no answer in time", context.DeadlineExceeded) })
	}
	flow, err := w.flow(below, at)
	if err != nil {
		return nil, err
	}
	peer, ok := at.AddrPort()
	if !ok { // QUIC wants an address to call it by; whoever carries the flow knows where it goes
		peer = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), at.Port())
	}
	return newH3Conn(ctx, h.l, flow, net.UDPAddrFromAddrPort(peer), h.size)
}
