package transparent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/hello"
	"watertight/route"
	"watertight/wire"
)

// helloWait is how long the rest of a hello of QUIC may take: its datagrams are sent together.
const helloWait = time.Second

// maxTroubles bounds how often the socket may fail in a row.
const maxTroubles = 100

// pair is who sends datagrams, and to whom.
type pair struct{ client, meant netip.AddrPort }

// ReplyFrom opens a socket that sends from an address which is not this host's.
type ReplyFrom func(netip.AddrPort) (*net.UDPConn, error)

// ServeUDP carries the datagrams that come to conn, a socket of [wire.ListenTransparentUDP], until ctx ends, and closes
// conn. It gives nil then, or the error that ended the socket. Flows end with it.
func (d *Door) ServeUDP(ctx context.Context, conn *net.UDPConn, replies ReplyFrom) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(longAgo) })()
	table, err := flow.NewTable(ctx, flow.Options[pair]{
		Open: func(ctx context.Context, p pair, next func(context.Context) ([]byte, bool)) (flow.Leg, error) {
			return d.openFlow(ctx, p, next, replies)
		},
		Ended: func(_ pair, up, down int64, took time.Duration) {
			d.o.Sink.Tunnel(&event.Tunnel{Door: d.o.PacketDoor, Up: up, Down: down, Took: took})
		},
		Refused: d.refused(),
		Budget:  d.flows, Flows: 2 * d.o.Flows, // the budget decides whose flow is given up
		Client: func(p pair) string { return flow.AtAddress(p.client.Addr()) },
	})
	if err != nil {
		return err
	}
	defer table.Close()
	here := plain(conn.LocalAddr().(*net.UDPAddr).AddrPort())
	buf, control := make([]byte, flow.MaxDatagram), make([]byte, wire.OriginalControl)
	for troubles := 0; ; {
		n, c, _, from, err := conn.ReadMsgUDPAddrPort(buf, control)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if troubles++; troubles > maxTroubles || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue
		}
		troubles = 0
		meant, ok := wire.OriginalOf(control[:c])
		if !ok || meant == here || meant.Port() == 0 || !table.Send(pair{plain(from), meant}, buf[:n]) {
			d.dropped.Add(1)
		}
	}
}

// refused is what hears of datagrams that are not carried.
func (d *Door) refused() func(pair) {
	if d.o.Refused == nil {
		return nil
	}
	return func(p pair) { d.o.Refused(p.client, p.meant) }
}

// openFlow opens the flow of a client to whom it means: the name for which the address was given out, or the one in its
// hello of QUIC.
func (d *Door) openFlow(ctx context.Context, p pair, next func(context.Context) ([]byte, bool), replies ReplyFrom) (leg flow.Leg, err error) {
	began := time.Now()
	leg.Far = nil
	defer func() {
		if leg.Far == nil && err == nil {
			err = errors.New("transparent: a fault of this program")
		}
	}()
	defer d.contain()
	r := route.Request{Door: d.o.PacketDoor, Client: p.client, Original: p.meant.Addr()}
	known, err := d.known(&r, p.meant)
	if err == nil && !known {
		said, state := hearQUIC(ctx, next)
		r.Target, err = d.target(p.client, p.meant, said, state)
	}
	if err != nil {
		d.report(r, fault.Of(err).Code, began)
		return leg, err
	}
	back, err := replies(p.meant)
	if err != nil {
		d.report(r, fault.Internal, began)
		d.o.Logger.Warn("datagrams cannot be answered", "error", err)
		return leg, err
	}
	far, err := d.o.Dialer.DialPacket(ctx, r)
	if err != nil {
		back.Close()
		return leg, err
	}
	return flow.Leg{Far: both{far, back}, Reply: func(b []byte) { _, _ = back.WriteToUDPAddrPort(b, p.client) }}, nil
}

// both closes the socket of the replies with the far side.
type both struct {
	net.Conn
	back *net.UDPConn
}

// Close closes both.
func (b both) Close() error { return errors.Join(b.Conn.Close(), b.back.Close()) }

// hearQUIC looks at a client's first datagrams as far as they are a hello of QUIC.
func hearQUIC(ctx context.Context, next func(context.Context) ([]byte, bool)) (hello.Said, hello.State) {
	ctx, cancel := context.WithTimeout(ctx, helloWait)
	defer cancel()
	var q hello.QUIC
	for {
		b, ok := next(ctx)
		if !ok {
			return hello.Said{}, hello.Nothing
		}
		if said, state := q.Add(b); state != hello.More {
			return said, state
		}
	}
}
