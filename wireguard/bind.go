package wireguard

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"golang.zx2c4.com/wireguard/conn"
)

// Way is how a tunnel's own datagrams leave: by the channel underneath.
type Way struct {
	// DialPacket opens a flow of datagrams to an address, which hears nobody else unless it is a [Roamer].
	DialPacket func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Lookup gives the addresses of an endpoint that is known by its name. It is nil where nothing underneath resolves.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Room is how many octets a datagram may have; 0 where that is not known.
	Room int
}

// Roamer is a flow that can hear others than the address that it sends to, and send to another.
type Roamer interface {
	net.Conn
	// ReadWhom gives a datagram of anyone.
	ReadWhom(b []byte) (n int, from netip.AddrPort, err error)
	// Turn has what is sent from now on go to another address.
	Turn(to netip.AddrPort) error
}

// bind is where the device sends and receives its datagrams: one flow for each peer, to its endpoint, or to where the peer
// last proved to be, and nowhere else. It has no socket of its own.
type bind struct {
	flows []*flow

	mu     sync.Mutex
	closed chan struct{} // closed where it is not open
}

func newBind(peers []Peer, way Way) *bind {
	b := &bind{closed: make(chan struct{})}
	close(b.closed)
	for i := range peers {
		f := newFlow(i, peers[i].Endpoint, way)
		f.alone = len(peers) == 1
		b.flows = append(b.flows, f)
	}
	return b
}

// Open gives one function for each peer, which waits for what it sends. There is no port.
func (b *bind) Open(uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
	default:
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	b.closed = make(chan struct{})
	var fns []conn.ReceiveFunc
	for _, f := range b.flows {
		life := f.open()
		fns = append(fns, func(packets [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
			n, from, err := f.receive(life, packets[0])
			if err != nil {
				return 0, err
			}
			sizes[0], eps[0] = n, from
			return 1, nil
		})
	}
	return fns, 0, nil
}

// Close ends every flow, and waits until nothing of them runs.
func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return nil
	default:
	}
	close(b.closed)
	for _, f := range b.flows {
		f.close()
	}
	return nil
}

// SetMark does nothing: the way out is the channel underneath.
func (b *bind) SetMark(uint32) error { return nil }

// BatchSize is how many datagrams Send takes at once.
func (b *bind) BatchSize() int { return batch }

// Send sends datagrams to a peer.
func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	switch to := ep.(type) {
	case *flow:
		return to.send(bufs)
	case *elsewhere:
		return to.send(bufs)
	}
	return conn.ErrWrongEndpointType
}

// ParseEndpoint reads the place of a peer in the configuration: the device is told no address.
func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	i, err := strconv.Atoi(s)
	if err != nil || i < 0 || i >= len(b.flows) {
		return nil, conn.ErrWrongEndpointType
	}
	return b.flows[i], nil
}

var _ conn.Bind = (*bind)(nil)
