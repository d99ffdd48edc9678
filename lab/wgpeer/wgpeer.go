// Package wgpeer is the far end of a WireGuard tunnel for tests: a peer on a network in memory, which passes on to
// another whatever comes through the tunnel, for every address.
//
// It promises to be another implementation than the one under test as far as its network stack and its sockets go. It
// opens no socket of the host.
package wgpeer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"

	"watertight/lab/dnstest"
)

// Config is a peer.
type Config struct {
	At         netip.AddrPort // where it hears datagrams
	PrivateKey [32]byte
	Client     [32]byte       // the public key of the one that it speaks with
	Preshared  [32]byte       // zero for none
	Inside     []netip.Prefix // where the client may come from
	MTU        int            // 1420 if zero
}

// Peer is a running peer.
type Peer struct {
	net    *dnstest.Net
	device *device.Device
	tun    *iface
	wg     sync.WaitGroup
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	dials []netip.AddrPort
}

// Start starts a peer on the network outside. What comes through the tunnel is dialled on the network behind.
func Start(outside, behind *dnstest.Net, c Config) *Peer {
	if c.MTU == 0 {
		c.MTU = 1420
	}
	p := &Peer{net: behind}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tun = newIface(c.MTU)
	s := p.tun.stack
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, 1024, p.tcp).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, p.udp).HandlePacket)
	p.device = device.NewDevice(p.tun, &bind{socket: outside.ListenPacket(c.At)}, &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf})
	set := fmt.Sprintf("private_key=%s\npublic_key=%s\npreshared_key=%s\n", hex.EncodeToString(c.PrivateKey[:]), hex.EncodeToString(c.Client[:]), hex.EncodeToString(c.Preshared[:]))
	for _, in := range c.Inside {
		set += fmt.Sprintf("allowed_ip=%v\n", in)
	}
	if err := errors.Join(p.device.IpcSet(set), p.device.Up()); err != nil {
		panic("wgpeer: " + err.Error())
	}
	return p
}

// Close ends the peer and every connection through it.
func (p *Peer) Close() {
	p.cancel()
	p.device.Close()
	p.tun.stack.Destroy()
	p.wg.Wait()
}

// Dials gives what came out of the tunnel, in order.
func (p *Peer) Dials() []netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]netip.AddrPort(nil), p.dials...)
}

func (p *Peer) note(id stack.TransportEndpointID) netip.AddrPort {
	a, _ := netip.AddrFromSlice(id.LocalAddress.AsSlice())
	to := netip.AddrPortFrom(a, id.LocalPort)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials = append(p.dials, to)
	return to
}

func (p *Peer) tcp(r *tcp.ForwarderRequest) {
	to := p.note(r.ID())
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
		defer cancel()
		far, err := p.net.DialAddr(ctx, to)
		if err != nil {
			r.Complete(true)
			return
		}
		var queue waiter.Queue
		ep, terr := r.CreateEndpoint(&queue)
		r.Complete(false)
		if terr != nil {
			far.Close()
			return
		}
		p.join(gonet.NewTCPConn(&queue, ep), far)
	})
}

func (p *Peer) udp(r *udp.ForwarderRequest) {
	to := p.note(r.ID())
	var queue waiter.Queue
	ep, terr := r.CreateEndpoint(&queue)
	if terr != nil {
		return
	}
	near := gonet.NewUDPConn(&queue, ep)
	p.wg.Go(func() {
		far, err := p.net.DialPacketAddr(p.ctx, to)
		if err != nil {
			near.Close()
			return
		}
		p.join(near, far)
	})
}

// join carries what either of two connections says to the other.
func (p *Peer) join(a, b net.Conn) {
	defer context.AfterFunc(p.ctx, func() { a.Close(); b.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		both.Go(func() {
			_, _ = io.CopyBuffer(struct{ io.Writer }{way[1]}, struct{ io.Reader }{way[0]}, make([]byte, 64<<10))
			if c, ok := way[1].(interface{ CloseWrite() error }); ok {
				_ = c.CloseWrite()
			} else {
				way[1].Close()
			}
		})
	}
	both.Wait()
	a.Close()
	b.Close()
}

// bind is the peer's socket, on the network in memory.
type bind struct {
	socket net.PacketConn
	mu     sync.Mutex
	closed chan struct{}
}

type endpoint struct{ netip.AddrPort }

func (b *bind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	closed := make(chan struct{})
	b.closed = closed
	return []conn.ReceiveFunc{func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		for {
			n, from, err := b.socket.ReadFrom(packets[0])
			select {
			case <-closed:
				return 0, net.ErrClosed
			default:
			}
			if err == nil {
				sizes[0], eps[0] = n, &endpoint{from.(*net.UDPAddr).AddrPort()}
				return 1, nil
			}
		}
	}}, 1, nil
}

func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		close(b.closed)
		b.closed = nil
		b.socket.Close()
	}
	return nil
}

func (b *bind) SetMark(uint32) error { return nil }
func (b *bind) BatchSize() int       { return 1 }
func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	for _, m := range bufs {
		if _, err := b.socket.WriteTo(m, net.UDPAddrFromAddrPort(ep.(*endpoint).AddrPort)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	at, err := netip.ParseAddrPort(s)
	return &endpoint{at}, err
}

func (e *endpoint) ClearSrc()           {}
func (e *endpoint) SrcToString() string { return "" }
func (e *endpoint) DstToString() string { return e.String() }
func (e *endpoint) DstIP() netip.Addr   { return e.Addr() }
func (e *endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.MarshalBinary()
	return b
}

// iface is the peer's network interface, with every address there is.
type iface struct {
	link   *channel.Endpoint
	stack  *stack.Stack
	mtu    int
	events chan tun.Event
	ctx    context.Context
	cancel context.CancelFunc
}

func newIface(mtu int) *iface {
	i := &iface{
		link: channel.New(1024, uint32(mtu), ""),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		mtu: mtu, events: make(chan tun.Event),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	for _, err := range []tcpip.Error{i.stack.CreateNIC(1, i.link), i.stack.SetPromiscuousMode(1, true), i.stack.SetSpoofing(1, true)} {
		if err != nil {
			panic("wgpeer: " + err.String())
		}
	}
	i.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: 1}, {Destination: header.IPv6EmptySubnet, NIC: 1}})
	return i
}

func (i *iface) Name() (string, error)    { return "wgpeer", nil }
func (i *iface) File() *os.File           { return nil }
func (i *iface) Events() <-chan tun.Event { return i.events }
func (i *iface) MTU() (int, error)        { return i.mtu, nil }
func (i *iface) BatchSize() int           { return 1 }

func (i *iface) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	p := i.link.ReadContext(i.ctx)
	if p == nil {
		return 0, os.ErrClosed
	}
	defer p.DecRef()
	view := p.ToView()
	defer view.Release()
	n, err := view.Read(bufs[0][offset:])
	sizes[0] = n
	return 1, err
}

func (i *iface) Write(bufs [][]byte, offset int) (int, error) {
	for _, b := range bufs {
		if b = b[offset:]; len(b) == 0 {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		protocol := tcpip.NetworkProtocolNumber(header.IPv4ProtocolNumber)
		if b[0]>>4 == 6 {
			protocol = header.IPv6ProtocolNumber
		}
		i.link.InjectInbound(protocol, p)
		p.DecRef()
	}
	return len(bufs), nil
}

func (i *iface) Close() error {
	i.cancel()
	close(i.events)
	return nil
}
