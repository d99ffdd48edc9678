package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

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
	ground := d.o.Ground
	if mark := d.o.Config.Listen.Mark(); mark != 0 {
		g, ok := ground.(interface{ Marked(uint32) wire.Dialer })
		if !ok {
			return errors.New("daemon: `listen.transparent.mark`: the ground puts no mark on what it sends")
		}
		ground = g.Marked(mark)
	}
	own := &transparent.Own{}
	if len(d.o.Config.Listen.Transparent) > 0 {
		ground = watched(ground, own)
	}
	d.shared = shared{ground: ground, sink: sink, closed: d.closed}
	var err error
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
func wantTransparent(l config.TransparentListener, mark uint32) wanted {
	return wanted{kind: kindTransparent, scheme: l.Mode, at: l.Address, tcp: true, udp: l.UDP, mark: mark}
}

// listenTCP opens the socket of a listener.
func (w wanted) listenTCP(at netip.AddrPort) (*net.TCPListener, error) {
	if w.kind == kindTransparent && runtime.GOOS != "linux" {
		return nil, wire.ErrNotLinux
	}
	if w.kind == kindTransparent && w.scheme == config.ModeTPROXY {
		return wire.ListenTransparentTCP(at, w.mark)
	}
	return wire.ListenTCP(at)
}

// listenUDP opens the socket of a listener for datagrams.
func (w wanted) listenUDP(at netip.AddrPort) (*net.UDPConn, error) {
	if w.kind == kindTransparent {
		return wire.ListenTransparentUDP(at, w.mark)
	}
	return wire.ListenUDP(at)
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
	mark := d.o.Config.Listen.Mark()
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

// mayMark refuses to start where no connection could be made, since none could be marked.
func mayMark(c *config.Config) error {
	mark := c.Listen.Mark()
	if mark == 0 {
		return nil
	}
	switch err := wire.MayMark(mark); {
	case errors.Is(err, syscall.EPERM):
		return errors.New("listen.transparent.mark: a mark takes CAP_NET_ADMIN: `setcap cap_net_admin+ep` on the program, or AmbientCapabilities=CAP_NET_ADMIN in its unit; or leave `mark` out, and have the firewall know the program by its user")
	case err != nil:
		return fmt.Errorf("listen.transparent.mark: %w", err)
	}
	return nil
}

// sameMark refuses a reload that would change what the program's own connections are known by.
func (d *Daemon) sameMark(c *config.Config) error {
	before := d.o.Config.Listen
	if c.Listen.Mark() != before.Mark() || len(before.Transparent) == 0 && len(c.Listen.Transparent) > 0 {
		return invalid{fmt.Errorf("the first `listen.transparent`, and its `mark`, want a restart: connections that are open would not be known for the program's own")}
	}
	return nil
}
