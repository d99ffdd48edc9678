package daemon

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"

	"watertight/config"
	"watertight/event"
	"watertight/front/transparent"
	"watertight/hop"
	"watertight/wire"
)

// kindTransparent is where the firewall hands over what was meant for others. What is spoken there stands for the scheme: the
// mode.
const kindTransparent kind = "transparent"

// maxTransparentFlows bounds the flows of datagrams of the transparent door: each is two sockets.
const maxTransparentFlows = 4096

// newTransparent makes the door for what the firewall hands over, and shares the ground on which the program's own
// connections are known, and marked where the configuration says so.
func (d *Daemon) newTransparent(sink event.Sink) error {
	ground, err := marked(d.o.Ground, d.o.Config.Mark())
	if err != nil {
		return err
	}
	own := &transparent.Own{}
	if len(d.o.Config.Listen.Transparent) > 0 {
		ground = watched(ground, own)
	}
	d.shared = shared{ground: ground, sink: sink, closed: d.closed}
	d.transparent, err = transparent.New(transparent.Options{
		Dialer: &d.board, Relay: d.relay, Sink: sink, Logger: d.access.Sparing(), Own: own.Has,
		Connections: d.o.Config.Limits.Connections, Flows: maxTransparentFlows,
		Stands: transparent.StandsForNone, Door: event.DoorTransparent, PacketDoor: event.DoorTransparentUDP,
	})
	return err
}

// watched gives a ground whose connections own knows.
func watched(g hop.Ground, own *transparent.Own) hop.Ground {
	w := watchedGround{g, own}
	if p, ok := g.(hop.PacketGround); ok {
		return watchedPackets{w, p}
	}
	return w
}

type watchedGround struct {
	hop.Ground
	own *transparent.Own
}

// DialAddr connects to an address. The connection is the ground's own, so that a relay can splice it.
func (w watchedGround) DialAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := w.Ground.DialAddr(ctx, to)
	if err == nil {
		w.own.Add(conn, to)
	}
	return conn, err
}

type watchedPackets struct {
	watchedGround
	packets hop.PacketGround
}

// DialPacketAddr opens a flow of datagrams.
func (w watchedPackets) DialPacketAddr(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := w.packets.DialPacketAddr(ctx, to)
	if err == nil {
		w.own.Add(conn, to)
	}
	return conn, err
}

// wantTransparent is what a configuration asks for.
func wantTransparent(l config.TransparentListener) wanted {
	return wanted{kind: kindTransparent, scheme: l.Mode, at: l.Address, tcp: true, udp: l.UDP}
}

// listenTCP opens the socket of a listener.
func (w wanted) listenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	if w.kind == kindTransparent && runtime.GOOS != "linux" {
		return nil, wire.ErrNotLinux
	}
	if w.kind == kindTransparent && w.scheme == config.ModeTPROXY {
		return wire.ListenTransparentTCP(at, w.mark)
	}
	return wire.ListenMarkedTCP(at, w.mark)
}

// listenUDP opens the socket of a listener for datagrams.
func (w wanted) listenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	if w.kind == kindTransparent {
		return wire.ListenTransparentUDP(at, w.mark)
	}
	return wire.ListenMarkedUDP(at, w.mark)
}

// fits says whether an open listener is what is wanted, but for its address.
func (w wanted) fits(l *listener) bool {
	return l.kind == w.kind && l.scheme == w.scheme && (w.kind != kindTransparent || (l.packets != nil) == w.udp)
}

// serveTransparent serves a listener of connections and, where it has one, its socket of datagrams.
func (d *Daemon) serveTransparent(ctx context.Context, l *listener) error {
	meant := transparent.Meant(wire.RedirectedFrom)
	if l.scheme == config.ModeTPROXY {
		meant = transparent.Here(l.address())
	}
	if l.packets == nil {
		return d.transparent.Serve(ctx, l.socket, meant)
	}
	mark := d.o.Config.Mark()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	udp := make(chan error, 1)
	go func() {
		defer stop()
		udp <- d.transparent.ServeUDP(ctx, l.packets, func(from netip.AddrPort) (*net.UDPConn, error) { return wire.ReplyFrom(from, mark) })
	}()
	err := d.transparent.Serve(ctx, l.socket, meant)
	stop()
	return errors.Join(err, <-udp)
}
