package socksproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/flow"
	"watertight/name"
	"watertight/route"
	"watertight/socks"
	"watertight/wire"
)

// PacketDialer opens a flow of datagrams to a request's target and reports the request. The error is a [*fault.Error].
type PacketDialer interface {
	DialPacket(ctx context.Context, r route.Request) (net.Conn, error)
	// CarriesPackets says whether any channel that a request can take carries datagrams.
	CarriesPackets() bool
}

// maxFlows bounds the flows of all associations together: each is a socket of the host's, or of a proxy's.
const maxFlows = 4096

// Dropped counts datagrams of clients that were not sent on, since the door was made.
type Dropped struct {
	Malformed uint64 // no header of SOCKS, or a target that is none
	Fragments uint64 // (RFC 1928, section 7: whoever puts none together drops them)
	Strangers uint64 // from another address or port than the association's client
	Full      uint64 // over a limit, or to a far side that was refused a moment ago
}

// ByReason gives the counts by a word for each.
func (d Dropped) ByReason() map[string]uint64 {
	return map[string]uint64{"malformed": d.Malformed, "fragment": d.Fragments, "stranger": d.Strangers, "limit": d.Full}
}

// dropped is Dropped while it is counted.
type dropped struct{ malformed, fragments, strangers, full atomic.Uint64 }

// Dropped gives the counts.
func (d *Door) Dropped() Dropped {
	return Dropped{d.dropped.malformed.Load(), d.dropped.fragments.Load(), d.dropped.strangers.Load(), d.dropped.full.Load()}
}

// associate serves the command UDP ASSOCIATE: a socket of its own for the client's datagrams, for as long as the
// connection is open. Over TLS it is refused: the datagrams would travel beside it in clear.
func (d *Door) associate(ctx context.Context, v *visitor, req socks.Request) {
	asks := v.asks(event.DoorSOCKS5UDP, name.Target{})
	conn, clear := v.Conn.(*net.TCPConn)
	if !clear || !d.o.Packets.CarriesPackets() {
		d.o.Sink.Request(&event.Request{Door: asks.Door, Client: asks.Client, Code: fault.HopRefused})
		d.farewell(ctx, v.Conn, req.AppendReply(nil, socks.CommandUnsupported, netip.AddrPort{}))
		return
	}
	socket, err := listenBeside(conn, d.o.Mark)
	if err != nil {
		code := fault.Internal
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			code = fault.Limit
		}
		d.o.Sink.Request(&event.Request{Door: asks.Door, Client: asks.Client, Code: code})
		d.fail(ctx, conn, req, fault.New(code, "no socket for datagrams", err))
		return
	}
	defer socket.Close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	a := &association{d: d, socket: socket, asks: asks, port: req.Port}
	whose := flow.Whose(v.identity.Counted(), v.Client.Addr())
	if a.flows, err = flow.NewTable(ctx, flow.Options[destination]{
		Open: a.open, Ended: a.ended, Budget: d.flows, Client: func(destination) string { return whose },
	}); err != nil {
		d.fail(ctx, conn, req, err)
		return
	}
	defer a.flows.Close()
	defer context.AfterFunc(ctx, func() {
		_ = socket.Close()
		_ = conn.SetDeadline(longAgo)
	})()
	bound := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	if _, err := conn.Write(req.AppendReply(nil, socks.Succeeded, bound)); err != nil {
		return
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(a.serve)
	_, _ = io.Copy(io.Discard, conn) // nothing more is said on it; its end is the association's (RFC 1928, section 7)
	end()
}

// listenBeside opens a socket on the address by which the client came.
func listenBeside(conn *net.TCPConn, mark uint32) (*net.UDPConn, error) {
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return nil, errors.New("the connection has no address")
	}
	return wire.ListenMarkedUDP(netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), 0), mark)
}

// destination is where a client's datagrams go: the target, and the octets by which the client named it, which stand
// before the replies too.
type destination struct {
	to      name.Target
	written string
}

// association is one client's datagrams.
type association struct {
	d      *Door
	socket *net.UDPConn
	asks   route.Request
	flows  *flow.Table[destination]

	mu   sync.Mutex
	port uint16 // from which the client sends; 0 until its first datagram says so
}

// maxTroubles bounds how often the socket may fail in a row.
const maxTroubles = 100

// serve takes the client's datagrams until the socket is closed.
func (a *association) serve() {
	buf := replies.Get().(*replyBuffer)
	defer replies.Put(buf)
	for troubles := 0; troubles < maxTroubles; {
		n, from, err := a.socket.ReadFromUDPAddrPort(buf[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			troubles++
			continue
		}
		troubles = 0
		a.take(buf[:n], from)
	}
}

// take sends one datagram on, or drops it.
func (a *association) take(b []byte, from netip.AddrPort) {
	if from.Addr().Unmap() != a.asks.Client.Addr().Unmap() {
		a.d.dropped.strangers.Add(1)
		return
	}
	d, err := socks.ParseDatagram(b)
	if err == nil && d.Fragment != 0 {
		a.drop(&a.d.dropped.fragments, from)
		return
	}
	var to name.Target
	if err == nil {
		to, err = name.New(d.Host, d.Port)
	}
	if err != nil {
		a.drop(&a.d.dropped.malformed, from)
		return
	}
	if !a.comesFrom(from.Port(), true) {
		a.d.dropped.strangers.Add(1)
		return
	}
	written := string(b[3 : len(b)-len(d.Payload)])
	if !a.flows.Send(destination{to, written}, d.Payload) {
		a.d.dropped.full.Add(1)
	}
}

// drop counts a datagram that is the client's, and one that is not as a stranger's.
func (a *association) drop(as *atomic.Uint64, from netip.AddrPort) {
	if !a.comesFrom(from.Port(), false) {
		as = &a.d.dropped.strangers
	}
	as.Add(1)
}

// comesFrom says whether a port is the client's. With fix, the first one that is asked about becomes it, if the request
// named none.
func (a *association) comesFrom(port uint16, fix bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.port == 0 && fix {
		a.port = port
	}
	return a.port == port || a.port == 0
}

func (a *association) client() netip.AddrPort {
	a.mu.Lock()
	defer a.mu.Unlock()
	return netip.AddrPortFrom(a.asks.Client.Addr(), a.port)
}

// open opens the flow to a target, through the channel that its name or address leads to.
func (a *association) open(ctx context.Context, to destination, _ func(context.Context) ([]byte, bool)) (flow.Leg, error) {
	r := a.asks
	r.Target = to.to
	far, err := a.d.o.Packets.DialPacket(ctx, r)
	if err != nil {
		return flow.Leg{}, err
	}
	return flow.Leg{Far: far, Reply: func(b []byte) { a.reply(to, b) }}, nil
}

type replyBuffer [socks.MaxDatagramHeader + flow.MaxDatagram]byte

var replies = sync.Pool{New: func() any { return new(replyBuffer) }}

// reply sends what a target has said to the client, under the name that the client gave the target. What does not fit
// into a datagram with its header is lost.
func (a *association) reply(from destination, b []byte) {
	buf := replies.Get().(*replyBuffer)
	defer replies.Put(buf)
	out := append(append(append(buf[:0], 0, 0, 0), from.written...), b...)
	_, _ = a.socket.WriteToUDPAddrPort(out, a.client())
}

func (a *association) ended(_ destination, up, down int64, took time.Duration) {
	a.d.o.Sink.Tunnel(&event.Tunnel{Door: a.asks.Door, Up: up, Down: down, Took: took})
}
