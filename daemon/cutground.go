package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"watertight/hop"
)

// cutGround is a ground that can be taken away: then every connection ends, and none can be made.
type cutGround struct {
	ground  hop.Ground
	dialled func() // at each dial, before it; set before the first

	mu     sync.Mutex
	conns  map[net.Conn]bool
	before []netip.AddrPort // what was dialled until something was done to it
	after  []attempt        // what was to be dialled since, each once
	since  bool             // something was
	cut    bool
	silent bool
	gone   chan struct{} // closed when the copy ends
	end    func()        // closes it
}

// attempt is an address that was to be dialled, for a connection or for datagrams.
type attempt struct {
	to      netip.AddrPort
	packets bool
}

func newCutGround(g hop.Ground) *cutGround {
	gone := make(chan struct{})
	return &cutGround{ground: g, dialled: func() {}, conns: map[net.Conn]bool{}, gone: gone, end: sync.OnceFunc(func() { close(gone) })}
}

// on gives the ground with datagrams where it carries them.
func (g *cutGround) on() hop.Ground {
	if p, ok := g.ground.(hop.PacketGround); ok {
		return cutPackets{g, p}
	}
	return g
}

// DialAddr connects, or does as a host that is cut off.
func (g *cutGround) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return g.dial(ctx, attempt{to: to}, g.ground.DialAddr)
}

type cutPackets struct {
	*cutGround
	packets hop.PacketGround
}

// DialPacketAddr opens a flow, or does as a host that is cut off.
func (g cutPackets) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return g.dial(ctx, attempt{to, true}, g.packets.DialPacketAddr)
}

// maxRemembered bounds the addresses that are remembered.
const maxRemembered = 1000

func remember[T comparable](list []T, to T) []T {
	if len(list) >= maxRemembered || slices.Contains(list, to) {
		return list
	}
	return append(list, to)
}

func (g *cutGround) dial(ctx context.Context, a attempt, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	to := a.to
	g.dialled()
	g.mu.Lock()
	cut, silent := g.cut, g.silent
	if g.since {
		g.after = remember(g.after, a)
	} else {
		g.before = remember(g.before, to)
	}
	g.mu.Unlock()
	if cut {
		return nil, g.refuse(ctx, to, silent)
	}
	conn, err := dial(ctx, to)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut { // meanwhile
		_ = conn.Close()
		return nil, fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
	}
	c := &cutConn{Conn: conn, ground: g}
	g.conns[c] = true
	return c, nil
}

// refuse refuses at once, or when nobody waits any more.
func (g *cutGround) refuse(ctx context.Context, to netip.AddrPort, silent bool) error {
	if silent {
		select {
		case <-ctx.Done():
			return fmt.Errorf("dial %s: %w", to, ctx.Err())
		case <-g.gone:
		}
	}
	return fmt.Errorf("dial %s: %w", to, syscall.ECONNREFUSED)
}

// take takes the ground away.
func (g *cutGround) take(silent bool) {
	g.mu.Lock()
	g.cut, g.silent, g.since = true, silent, true
	conns := g.conns
	g.conns = map[net.Conn]bool{}
	g.mu.Unlock()
	for c := range conns {
		_ = c.(*cutConn).Conn.Close()
	}
}

// give gives it back. What was and is to be dialled is remembered as before.
func (g *cutGround) give() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = false
}

// mark begins anew to remember what is dialled, without taking anything away.
func (g *cutGround) mark() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.after {
		g.before = remember(g.before, a.to)
	}
	g.after, g.since = nil, true
}

// cutConn is a connection on such a ground.
type cutConn struct {
	net.Conn
	ground *cutGround
}

// Close closes the connection.
func (c *cutConn) Close() error {
	c.ground.mu.Lock()
	delete(c.ground.conns, c)
	c.ground.mu.Unlock()
	return c.Conn.Close()
}
