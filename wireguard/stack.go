package wireguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

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
)

const (
	nic        = 1
	queueDepth = 1024 // packets that wait to be encrypted
	batch      = 8    // packets that are handed over at once
)

// The far side of an idle connection that is dead is found within about two minutes, as on a socket of the kernel.
const (
	keepIdle     = tcpip.KeepaliveIdleOption(60 * time.Second)
	keepInterval = tcpip.KeepaliveIntervalOption(15 * time.Second)
	keepCount    = 4
)

// netstack is the network inside a tunnel: TCP and UDP over the packets that WireGuard carries. It is the device's
// network interface too. It resolves nothing.
type netstack struct {
	link   *channel.Endpoint
	stack  *stack.Stack
	mtu    int
	events chan tun.Event
	ctx    context.Context // ends when the interface is closed
	cancel context.CancelFunc
}

func newNetstack(addresses []netip.Addr, mtu int) (*netstack, error) {
	n := &netstack{
		link: channel.New(queueDepth, uint32(mtu), ""),
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
			HandleLocal:        true,
		}),
		mtu:    mtu,
		events: make(chan tun.Event),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.configure(addresses); err != nil {
		n.destroy()
		return nil, err
	}
	return n, nil
}

func (n *netstack) configure(addresses []netip.Addr) error {
	sack := tcpip.TCPSACKEnabled(true)
	if err := n.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return fmt.Errorf("wireguard: selective acknowledgements: %v", err)
	}
	if err := n.stack.CreateNIC(nic, n.link); err != nil {
		return fmt.Errorf("wireguard: an interface: %v", err)
	}
	for _, a := range addresses {
		_, protocol := full(netip.AddrPortFrom(a, 0))
		at := tcpip.ProtocolAddress{Protocol: protocol, AddressWithPrefix: tcpip.AddrFromSlice(a.AsSlice()).WithPrefix()}
		if err := n.stack.AddProtocolAddress(nic, at, stack.AddressProperties{}); err != nil {
			return fmt.Errorf("wireguard: the address %v: %v", a, err)
		}
		everywhere := header.IPv4EmptySubnet
		if a.Is6() {
			everywhere = header.IPv6EmptySubnet
		}
		n.stack.AddRoute(tcpip.Route{Destination: everywhere, NIC: nic})
	}
	return nil
}

// destroy ends every connection and waits until nothing of the stack runs. The interface is closed before.
func (n *netstack) destroy() {
	n.cancel()
	n.stack.Destroy()
	n.link.Close()
}

func full(to netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	at := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFromSlice(to.Addr().AsSlice()), Port: to.Port()}
	if to.Addr().Is4() {
		return at, ipv4.ProtocolNumber
	}
	return at, ipv6.ProtocolNumber
}

// dialTCP connects to an address inside the tunnel. Errors are those of a socket of the kernel.
func (n *netstack) dialTCP(ctx context.Context, to netip.AddrPort) (*gonet.TCPConn, error) {
	at, protocol := full(to)
	var queue waiter.Queue
	ep, terr := n.stack.NewEndpoint(tcp.ProtocolNumber, protocol, &queue)
	if terr != nil {
		return nil, ofStack(terr)
	}
	writable, ready := waiter.NewChannelEntry(waiter.WritableEvents)
	queue.EventRegister(&writable)
	defer queue.EventUnregister(&writable)
	ep.SocketOptions().SetKeepAlive(true)
	idle, interval := keepIdle, keepInterval
	for _, terr := range []tcpip.Error{ep.SetSockOpt(&idle), ep.SetSockOpt(&interval), ep.SetSockOptInt(tcpip.KeepaliveCountOption, keepCount)} {
		if terr != nil {
			ep.Close()
			return nil, ofStack(terr)
		}
	}
	terr = ep.Connect(at)
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			ep.Close()
			return nil, ctx.Err()
		case <-ready:
		}
		terr = ep.LastError()
	}
	if terr != nil {
		ep.Close()
		return nil, ofStack(terr)
	}
	return gonet.NewTCPConn(&queue, ep), nil
}

// dialUDP opens a flow of datagrams to one address inside the tunnel, from a port that the stack chooses at random.
func (n *netstack) dialUDP(to netip.AddrPort) (*gonet.UDPConn, error) {
	at, protocol := full(to)
	return gonet.DialUDP(n.stack, nil, &at, protocol)
}

// ofStack gives the error that the kernel has for what the stack says.
func ofStack(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset, *tcpip.ErrConnectionAborted:
		return syscall.ECONNRESET
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable:
		return syscall.ENETUNREACH
	case *tcpip.ErrNoPortAvailable, *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrInvalidEndpointState, *tcpip.ErrClosedForSend, *tcpip.ErrClosedForReceive:
		return net.ErrClosed
	}
	return errors.New(err.String())
}

// Name is what the device calls the interface.
func (n *netstack) Name() (string, error) { return "watertight", nil }

// File is nothing: there is no interface of the host.
func (n *netstack) File() *os.File { return nil }

// Events tells the device by its end that the interface is closed. It is up as long as there is one.
func (n *netstack) Events() <-chan tun.Event { return n.events }

// MTU is that of the packets inside the tunnel.
func (n *netstack) MTU() (int, error) { return n.mtu, nil }

// BatchSize is how many packets Read gives at most.
func (n *netstack) BatchSize() int { return batch }

// Read gives packets that the stack sends.
func (n *netstack) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	p := n.link.ReadContext(n.ctx)
	if p == nil {
		return 0, os.ErrClosed
	}
	count := 0
	for ; p != nil; p = n.link.Read() {
		view := p.ToView()
		size, err := view.Read(bufs[count][offset:])
		view.Release()
		p.DecRef()
		if err != nil {
			return count, err
		}
		sizes[count] = size
		if count++; count == len(bufs) {
			break
		}
	}
	return count, nil
}

// Write hands the stack packets that came through the tunnel.
func (n *netstack) Write(bufs [][]byte, offset int) (int, error) {
	for i, b := range bufs {
		if b = b[offset:]; len(b) == 0 {
			continue
		}
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		switch b[0] >> 4 {
		case 4:
			n.link.InjectInbound(header.IPv4ProtocolNumber, p)
		case 6:
			n.link.InjectInbound(header.IPv6ProtocolNumber, p)
		default:
			p.DecRef()
			return i, syscall.EAFNOSUPPORT
		}
		p.DecRef()
	}
	return len(bufs), nil
}

// Close ends Read and Events. The stack goes on until destroy.
func (n *netstack) Close() error {
	n.cancel()
	close(n.events)
	return nil
}

var _ tun.Device = (*netstack)(nil)
