package hop

import (
	"context"
	"net"
	"slices"
	"time"

	"watertight/fault"
	"watertight/name"
)

// Packets is the pool for datagrams, over what carries them underneath; nil where a member carries none, or would need it and it
// is nil.
func (w *Way) Packets(under PacketDialer) PacketDialer {
	floor := []Proxy{w.pool.floor}
	if _, blocked := Blocker(floor); blocked || under == nil && !InStream(floor) {
		return nil
	}
	return wayPackets{w, RoomBehind(PacketRoom(under), floor)}
}

// wayPackets is a pool all of whose members carry datagrams.
type wayPackets struct {
	*Way
	room int
}

// PacketRoom is what any member leaves.
func (w wayPackets) PacketRoom() int { return w.room }

// DialPacket opens a flow of datagrams to t through one member: the one that the identity sticks to. Where that fails, or carries
// no datagrams though its protocol could, the next one is tried, three at most, and who sticks goes along with a flow that is
// open. A flow stays with its member to its end. The error is a [*fault.Error].
func (w wayPackets) DialPacket(ctx context.Context, t name.Target) (net.Conn, error) {
	key, stay := w.keyFor(ctx)
	var tried []*member
	var last error
	for len(tried) < maxTries && (last == nil || ctx.Err() == nil) {
		m, err := w.pool.another(key, stay, tried)
		if err != nil {
			if last == nil {
				return nil, err
			}
			break
		}
		flow, err := w.packetsThrough(ctx, m, t)
		if err == nil {
			if w.pool.follow(key, stay, m, tried) {
				return w.pool.carryFlow(m, flow), nil
			}
			flow.Close() // whoever sticks went to a third member meanwhile
			err = fault.New(fault.HopRefused, "the member of the pool has changed", nil)
		}
		w.pool.release(m)
		if !ofHop(err) {
			return nil, err
		}
		tried, last = append(tried, m), err
	}
	return nil, w.pool.exhausted(len(tried), last)
}

// packetsThrough opens a flow by one member, and books how it went. It says nothing about how fast the member opens connections.
func (w *Way) packetsThrough(ctx context.Context, m *member, t name.Target) (net.Conn, error) {
	d, err := w.hold(m)
	if err != nil {
		return nil, err
	}
	defer w.letGo(m, d)
	var flow net.Conn
	var packets PacketDialer
	if chain, ok := d.Dialer.(interface{ Packets() PacketDialer }); ok {
		packets = chain.Packets()
	}
	if packets != nil {
		flow, err = packets.DialPacket(ctx, t)
	} else {
		err = fault.New(fault.HopRefused, "the proxy "+m.label+" cannot be reached in datagrams from what is underneath", nil)
	}
	w.pool.book(ctx, m, 0, err)
	return flow, err
}

// another gives a member for a flow, and books it: at first as a connection gets one. After that who sticks stays bound to the
// member that failed until another has done better, unless a connection has moved it meanwhile.
func (p *Pool) another(key string, stay time.Duration, tried []*member) (*member, error) {
	if len(tried) == 0 {
		return p.pick(key, stay, nil)
	}
	p.mu.Lock()
	b, bound := p.stuck[key]
	now := time.Now()
	if key != "" && bound && now.Before(b.until) && !b.member.gone && b.member.usable(now, tried) {
		b.member.open++
		p.mu.Unlock()
		return b.member, nil
	}
	p.mu.Unlock()
	return p.pick("", 0, tried)
}

// follow binds who sticks to the member of a flow that is open, where the one before was tried in vain. It says false where a
// connection has bound it to yet another.
func (p *Pool) follow(key string, stay time.Duration, m *member, tried []*member) bool {
	if key == "" || len(tried) == 0 {
		return true
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	b, bound := p.stuck[key]
	switch {
	case bound && b.member == m:
	case bound && now.Before(b.until) && !b.member.gone && !slices.Contains(tried, b.member):
		return false
	default:
		p.stick(key, binding{m, now.Add(stay)}, now)
	}
	return true
}

// carryFlow gives a flow that was opened, as carry does a connection.
func (p *Pool) carryFlow(m *member, flow net.Conn) net.Conn {
	conn := p.carry(m, flow)
	if c, ok := conn.(*counted); ok {
		return countedFlow{c}
	}
	return conn
}

// countedFlow is a flow that is booked on a member until it is closed.
type countedFlow struct{ *counted }

// SetReadBuffer and SetWriteBuffer pass on what QUIC asks of a socket of the kernel.
func (c countedFlow) SetReadBuffer(octets int) error {
	if b, ok := c.Conn.(interface{ SetReadBuffer(int) error }); ok {
		return b.SetReadBuffer(octets)
	}
	return nil
}

func (c countedFlow) SetWriteBuffer(octets int) error {
	if b, ok := c.Conn.(interface{ SetWriteBuffer(int) error }); ok {
		return b.SetWriteBuffer(octets)
	}
	return nil
}

var _ PacketDialer = wayPackets{}
