package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/device"

	"watertight/fault"
	"watertight/name"
	"watertight/wire"
)

// sessionLife is for how long the keys of a handshake are good (RejectAfterTime of the protocol, less a little).
const sessionLife = 170 * time.Second

// farewell is for how long a tunnel stays up after its last connection.
const farewell = time.Second

// silentAfter is how many initiations in a row have no answer from a peer that is silent. One may be under way.
const silentAfter = 2

// sessionWait bounds how long a dial waits for a handshake, where nothing else does.
const sessionWait = 15 * time.Second

// Tunnel is a way out through WireGuard. Its methods may be called from many goroutines. Nothing runs, and nothing is
// sent, before [Tunnel.Start] or the first dial.
type Tunnel struct {
	config Config
	way    Way

	mu      sync.Mutex
	holders int // of the tunnel
	flows   int // connections and flows of datagrams that are open
	down    bool
	up      *running // nil before it is started, and when it is down
	failed  error    // why it could not be started
}

// running is a tunnel at work.
type running struct {
	stack  *netstack
	bind   *bind
	device *device.Device
}

// Open makes a tunnel that its caller holds, and starts nothing.
func Open(c Config, way Way) (*Tunnel, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if way.DialPacket == nil {
		return nil, errors.New("WireGuard travels in datagrams, and what the channel stands on carries connections only")
	}
	if way.Room != 0 && c.Room() > way.Room {
		return nil, fmt.Errorf("what the channel stands on has room for datagrams of %d octets: write an `mtu` of %d or less", way.Room, way.Room-device.MessageTransportSize)
	}
	for i := range c.Peers {
		if host, named := c.Peers[i].Endpoint.Host().Name(); named && way.Lookup == nil {
			return nil, fmt.Errorf("nobody could look up the endpoint %s: what the channel stands on resolves no names", host)
		}
	}
	return &Tunnel{config: c, way: way, holders: 1}, nil
}

// Hold adds a holder. It says false where the tunnel is down already.
func (t *Tunnel) Hold() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.down || t.holders == 0 {
		return false
	}
	t.holders++
	return true
}

// Close takes a holder away. Once nobody holds the tunnel nothing more is dialled, and it goes down a moment after the
// last connection through it has ended.
func (t *Tunnel) Close() {
	t.mu.Lock()
	t.holders--
	t.settle()
}

// Cut takes the tunnel down, and every connection with it.
func (t *Tunnel) Cut() {
	t.mu.Lock()
	t.holders, t.flows = 0, 0
	t.settle()
}

// settle takes the tunnel down where nothing needs it any more. t.mu is held, and is not afterwards.
func (t *Tunnel) settle() {
	var up *running
	if t.holders <= 0 && t.flows <= 0 {
		t.down = true
		up, t.up = t.up, nil
	}
	t.mu.Unlock()
	if up != nil {
		up.device.Close()
		up.stack.destroy()
	}
}

// Start brings the tunnel up, so that peers with a keepalive hear of it.
func (t *Tunnel) Start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := t.started()
	return err
}

// Roam has every datagram from now on leave by a new flow, as on another network it has to: from an address that there is
// now. Peers with a session hear of it at once, so that what they send comes here.
func (t *Tunnel) Roam() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.up == nil {
		return
	}
	for _, f := range t.up.bind.flows {
		f.roam()
	}
	t.up.device.SendKeepalivesToPeersWithCurrentKeypair()
}

// started brings the tunnel up unless it is. t.mu is held.
func (t *Tunnel) started() (*running, error) {
	switch {
	case t.down || t.holders <= 0:
		return nil, fault.New(fault.NotReady, "the tunnel of this channel is closed", net.ErrClosed)
	case t.failed != nil:
		return nil, t.failed
	case t.up != nil:
		return t.up, nil
	}
	up, err := start(&t.config, t.way)
	if err != nil {
		t.failed = fault.New(fault.Internal, "the tunnel of this channel does not start", err)
		return nil, t.failed
	}
	t.up = up
	return up, nil
}

func start(c *Config, way Way) (*running, error) {
	stack, err := newNetstack(c.Addresses, c.MTU)
	if err != nil {
		return nil, err
	}
	r := &running{stack: stack, bind: newBind(c.Peers, way)}
	r.device = device.NewDevice(stack, r.bind, &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf})
	err = r.device.IpcSet(settings(c))
	if err == nil {
		if len(c.Peers) > 1 {
			// What comes to the flow of one may be another's: each endpoint stays the one that was configured.
			r.device.DisableSomeRoamingForBrokenMobileSemantics()
		}
		err = r.device.Up()
	}
	if err != nil {
		r.device.Close()
		stack.destroy()
		return nil, errors.New("wireguard: the device takes no configuration") // its own error may show it
	}
	return r, nil
}

// settings is a configuration as the device is told it (https://www.wireguard.com/xplatform/). An endpoint is the place
// of its peer.
func settings(c *Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "private_key=%s\nreplace_peers=true\n", text(c.PrivateKey))
	for i := range c.Peers {
		p := &c.Peers[i]
		fmt.Fprintf(&b, "public_key=%s\nendpoint=%d\nreplace_allowed_ips=true\n", text(p.PublicKey), i)
		if p.PresharedKey != (PresharedKey{}) {
			fmt.Fprintf(&b, "preshared_key=%s\n", text(p.PresharedKey))
		}
		if p.Keepalive > 0 {
			fmt.Fprintf(&b, "persistent_keepalive_interval=%d\n", int(p.Keepalive.Seconds()))
		}
		for _, n := range p.AllowedIPs {
			fmt.Fprintf(&b, "allowed_ip=%v\n", n)
		}
	}
	return b.String()
}

// enter opens one more flow through the tunnel, and brings it up. leave ends it; it may be called more than once.
func (t *Tunnel) enter() (up *running, leave func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if up, err = t.started(); err != nil {
		return nil, nil, err
	}
	t.flows++
	var left sync.Once
	return up, func() { left.Do(t.left) }, nil
}

// left ends a flow. The last one of a tunnel that nobody holds keeps it up for a moment, for what the far sides are still
// to be told.
func (t *Tunnel) left() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.holders > 0 || t.flows > 1 {
		t.flows--
		return
	}
	time.AfterFunc(farewell, func() {
		t.mu.Lock()
		t.flows--
		t.settle()
	})
}

// Dial connects to an address inside the tunnel. The error is a [*fault.Error].
func (t *Tunnel) Dial(ctx context.Context, to name.Target) (net.Conn, error) {
	at, err := t.clientTarget(to)
	if err != nil {
		return nil, err
	}
	return t.dialTCP(ctx, at)
}

// DialPacket opens a flow of datagrams to an address inside the tunnel, once the peer has answered. The error is a
// [*fault.Error].
func (t *Tunnel) DialPacket(ctx context.Context, to name.Target) (net.Conn, error) {
	at, err := t.clientTarget(to)
	if err != nil {
		return nil, err
	}
	return t.dialUDP(ctx, at)
}

// clientTarget is the address of a target, unless names travel there in clear text.
func (t *Tunnel) clientTarget(to name.Target) (netip.AddrPort, error) {
	at, ok := to.AddrPort()
	switch {
	case !ok:
		return at, fault.New(fault.Internal, "a name reached a tunnel", nil)
	case wire.PlainDNS(at.Port()):
		return at, fault.New(fault.PolicyForeignResolver, at.String()+" is a name service in clear text", wire.ErrPlainDNS)
	}
	return at, nil
}

// Plain is the way to a name service in clear text inside the tunnel, for the resolver of the channel that the tunnel is
// of, and for nobody else.
type Plain struct{ t *Tunnel }

// Plain gives that way. It says false unless the configuration asks for it.
func (t *Tunnel) Plain() (Plain, bool) { return Plain{t}, t.config.DNSOverTunnel }

// Dial connects to an address inside the tunnel.
func (p Plain) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return p.t.dialTCP(ctx, to)
}

// DialPacket opens a flow of datagrams to an address inside the tunnel, from a random port.
func (p Plain) DialPacket(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return p.t.dialUDP(ctx, to)
}

func (t *Tunnel) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	up, f, leave, err := t.reach(ctx, to)
	if err != nil {
		return nil, err
	}
	fault.Waiting(ctx, func() error { return f.silent(ctx, to, context.DeadlineExceeded) })
	c, err := up.stack.dialTCP(ctx, to)
	if err != nil {
		leave()
		return nil, f.silent(ctx, to, err)
	}
	return &stream{c, leave}, nil
}

func (t *Tunnel) dialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	up, _, leave, err := t.reach(ctx, to)
	if err != nil {
		return nil, err
	}
	c, err := up.stack.dialUDP(to)
	if err != nil {
		leave()
		return nil, dialFault(ctx, to, err)
	}
	return &packets{c, leave}, nil
}

// reach waits until the peer behind which an address is has answered, and enters the tunnel.
func (t *Tunnel) reach(ctx context.Context, to netip.AddrPort) (*running, *flow, func(), error) {
	if !to.IsValid() || to.Port() == 0 {
		return nil, nil, nil, fault.New(fault.Internal, "an invalid address reached a tunnel", nil)
	}
	if !t.config.Family(to.Addr()) {
		return nil, nil, nil, fault.New(fault.ConnectUnreachable, to.Addr().String()+" cannot be reached: the tunnel has no address of that family", nil)
	}
	peer, ok := t.config.Route(to.Addr())
	if !ok {
		return nil, nil, nil, fault.New(fault.ConnectUnreachable, to.Addr().String()+" is in `allowed_ips` of no peer of the tunnel", nil)
	}
	up, leave, err := t.enter()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := t.await(ctx, up, peer); err != nil {
		leave()
		return nil, nil, nil, err
	}
	return up, up.bind.flows[peer], leave, nil
}

// await waits for a session with a peer, and asks for one.
func (t *Tunnel) await(ctx context.Context, up *running, peer int) error {
	f := up.bind.flows[peer]
	f.mu.Lock()
	life, session, live := f.life, f.session, time.Since(f.since) < sessionLife && f.asked < silentAfter
	f.mu.Unlock()
	if live {
		return nil
	}
	p := up.device.LookupPeer(device.NoisePublicKey(t.config.Peers[peer].PublicKey))
	if p == nil {
		return fault.New(fault.Internal, "the tunnel has lost a peer", nil)
	}
	fault.Waiting(ctx, f.unanswered)
	if err := p.SendHandshakeInitiation(false); err != nil {
		return fault.New(fault.Internal, "a handshake cannot begin", err)
	}
	timer := time.NewTimer(sessionWait)
	defer timer.Stop()
	select {
	case <-session:
		return nil
	case <-life.Done():
		return fault.New(fault.NotReady, "the tunnel of this channel is closed", net.ErrClosed)
	case <-timer.C:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return fault.New(fault.ConnectTimeout, f.label()+" was given up before it answered: whoever asked is gone", ctx.Err())
		}
	}
	return f.unanswered()
}

// PacketRoom is how many octets a datagram inside the tunnel may have: the MTU without the headers of IPv6 and UDP.
func (t *Tunnel) PacketRoom() int { return t.config.MTU - 40 - 8 }

// PeerStats are figures of one peer, of this moment.
type PeerStats struct {
	Endpoint       string // HOST:PORT, as configured
	Handshake      time.Time
	Sent, Received uint64 // octets of datagrams, since the tunnel came up
}

// Stats gives figures of every peer, in the order of the configuration.
func (t *Tunnel) Stats() []PeerStats {
	t.mu.Lock()
	up := t.up
	t.mu.Unlock()
	stats := make([]PeerStats, len(t.config.Peers))
	for i := range stats {
		stats[i].Endpoint = t.config.Peers[i].Endpoint.String()
		if up != nil {
			up.bind.flows[i].stats(&stats[i])
		}
	}
	return stats
}

func (f *flow) stats(s *PeerStats) {
	s.Sent, s.Received = f.sent.Load(), f.received.Load()
	f.mu.Lock()
	defer f.mu.Unlock()
	s.Handshake = f.since
}

// Endpoints gives the endpoints that are known by their names.
func (c *Config) Endpoints() []name.Target {
	var named []name.Target
	for i := range c.Peers {
		if _, ok := c.Peers[i].Endpoint.Host().Name(); ok && !slices.Contains(named, c.Peers[i].Endpoint) {
			named = append(named, c.Peers[i].Endpoint)
		}
	}
	return named
}
