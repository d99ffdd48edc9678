package wireguard

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/conn"

	"watertight/fault"
	"watertight/name"
)

const (
	openLimit  = 10 * time.Second // for one flow, look-up included
	openPause  = time.Second      // between the starts of two attempts to open one
	maxWaiting = 16               // datagrams that wait for the flow
	// maxEndpoints bounds how many addresses of an endpoint that is known by its name are tried, in turns.
	maxEndpoints = 16
)

// Types of messages, in their first four octets (https://www.wireguard.com/protocol/).
const (
	handshakeInitiation = 1
	handshakeResponse   = 2
	transportData       = 4
)

// flow is the way to one peer's endpoint. Where an initiation of a handshake had no answer, the next one takes a new
// flow: the endpoint's name is looked up again, its next address is tried, and the source is chosen anew, so that either
// end may have moved.
//
// What the device sends tells the state of the session, as far as faults need to know it: transport data is sent under
// keys that a handshake gave, and under no others.
type flow struct {
	index  int
	target name.Target
	way    Way
	alone  bool // the tunnel has no other peer, so that what is proven to come from one comes from this one

	sent, received atomic.Uint64 // octets of datagrams

	dials sync.WaitGroup // the attempt to open a flow

	mu      sync.Mutex
	life    context.Context // ends when the bind is closed
	end     context.CancelFunc
	conn    net.Conn       // nil while there is none
	at      netip.AddrPort // where conn leads
	home    netip.AddrPort // where it led when it was opened
	last    netip.AddrPort // where the peer last proved to be, away from home; not valid if nowhere
	arrived chan struct{}  // closed when there is a conn
	opening bool
	opened  time.Time // the start of the last attempt
	next    int       // which address is tried next
	waiting [][]byte  // datagrams for the flow that is being opened
	why     error     // why the last attempt failed, or why the last conn was given up

	asked    int           // initiations since the last session began
	answered bool          // a response came since the last one; anybody could have sent it
	since    time.Time     // when the last session began, which the device's next data proved
	session  chan struct{} // closed when a session begins
}

func newFlow(index int, target name.Target, way Way) *flow {
	return &flow{index: index, target: target, way: way, arrived: make(chan struct{}), session: make(chan struct{})}
}

// open begins the life of a flow, and gives it.
func (f *flow) open() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.life, f.end = context.WithCancel(context.Background())
	return f.life
}

func (f *flow) close() {
	f.mu.Lock()
	f.end()
	f.drop(nil)
	f.waiting = nil
	f.mu.Unlock()
	f.dials.Wait()
}

// drop gives the conn up. f.mu is held.
func (f *flow) drop(why error) {
	f.why = why
	if f.conn == nil {
		return
	}
	_ = f.conn.Close() // what it held is gone either way
	f.conn = nil
	f.arrived = make(chan struct{})
}

// roam gives the conn up, and has the next datagram open another at once.
func (f *flow) roam() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(nil)
	f.opened = time.Time{}
}

// kind is the type of a message; 0 where it has none.
func kind(msg []byte) uint32 {
	if len(msg) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(msg)
}

// send sends datagrams, or keeps them until there is a flow. What is too much is thrown away: those inside the tunnel
// send again.
func (f *flow) send(bufs [][]byte) error {
	for _, b := range bufs {
		conn := f.toSend(b)
		if conn == nil {
			continue
		}
		if err := f.write(conn, b); err != nil {
			f.mu.Lock()
			if f.conn == conn {
				f.drop(err)
			}
			if f.conn == nil { // else another was opened meanwhile: this datagram is lost
				f.keep(b)
			}
			f.mu.Unlock()
		}
	}
	return nil
}

// toSend gives the conn to send a message over; nil where it waits for one.
func (f *flow) toSend(msg []byte) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind(msg) {
	case handshakeInitiation:
		if f.asked > 0 {
			f.drop(f.why)
		}
		f.asked++
		f.answered = false
		f.waiting = nil // the handshakes before it are void
	case transportData:
		if f.asked > 0 && f.answered {
			f.asked, f.why, f.since = 0, nil, time.Now()
			close(f.session)
			f.session = make(chan struct{})
		}
	}
	if f.conn == nil {
		f.keep(msg)
	}
	return f.conn
}

// keep has a datagram wait for a flow, and opens one. f.mu is held.
func (f *flow) keep(msg []byte) {
	if f.life.Err() != nil {
		return
	}
	now := time.Now()
	if !f.opening && now.Sub(f.opened) < openPause {
		return
	}
	if len(f.waiting) < maxWaiting {
		f.waiting = append(f.waiting, slices.Clone(msg))
	}
	if !f.opening {
		f.opening, f.opened = true, now
		f.dials.Add(1)
		go f.connect(f.life)
	}
}

// write sends a datagram. A refusal that an earlier one met is told by the next: that one was not sent.
func (f *flow) write(conn net.Conn, b []byte) error {
	_, err := conn.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = conn.Write(b)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		f.note(err)
		return nil
	}
	if err == nil {
		f.sent.Add(uint64(len(b)))
	}
	return err
}

func (f *flow) note(why error) {
	f.mu.Lock()
	f.why = why
	f.mu.Unlock()
}

// connect opens a flow and sends what waits for it.
func (f *flow) connect(life context.Context) {
	defer f.dials.Done()
	ctx, cancel := context.WithTimeout(life, openLimit)
	defer cancel()
	conn, at, err := f.dial(ctx)
	f.mu.Lock()
	f.opening = false
	waiting := f.waiting
	f.waiting = nil
	switch {
	case err != nil:
		f.why = err
	case life.Err() != nil:
		_ = conn.Close()
		waiting = nil
	default:
		f.conn, f.at, f.home, f.why = conn, at, at, nil
		close(f.arrived)
	}
	f.mu.Unlock()
	if err != nil {
		return
	}
	for _, b := range waiting {
		if f.write(conn, b) != nil {
			return // the next datagram meets the same error
		}
	}
}

// dial opens a flow to the next of the endpoint's addresses that there is a way to.
func (f *flow) dial(ctx context.Context) (net.Conn, netip.AddrPort, error) {
	addrs, err := f.addresses(ctx)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	f.mu.Lock()
	first := f.next
	if f.last.IsValid() {
		addrs = append(addrs, f.last) // the last, so that the others keep their turns
	}
	f.mu.Unlock()
	for i := range addrs {
		n := (first + i) % len(addrs)
		var conn net.Conn
		if conn, err = f.way.DialPacket(ctx, addrs[n]); err == nil {
			f.mu.Lock()
			f.next = n + 1
			f.mu.Unlock()
			return conn, addrs[n], nil
		}
	}
	return nil, netip.AddrPort{}, err
}

// addresses gives where the endpoint is, now.
func (f *flow) addresses(ctx context.Context) ([]netip.AddrPort, error) {
	if at, ok := f.target.AddrPort(); ok {
		return []netip.AddrPort{at}, nil
	}
	host, _ := f.target.Host().Name()
	found, err := f.way.Lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.DNSNoData, "the endpoint has no address", nil)
	}
	var addrs []netip.AddrPort
	for _, a := range found[:min(len(found), maxEndpoints)] {
		addrs = append(addrs, netip.AddrPortFrom(a, f.target.Port()))
	}
	return addrs, nil
}

// receive waits for a datagram of the peer, and says from where it came: the flow itself, or elsewhere.
func (f *flow) receive(life context.Context, b []byte) (int, conn.Endpoint, error) {
	for {
		f.mu.Lock()
		conn, arrived := f.conn, f.arrived
		f.mu.Unlock()
		if life.Err() != nil {
			return 0, nil, net.ErrClosed
		}
		if conn == nil {
			select {
			case <-arrived:
			case <-life.Done():
			}
			continue
		}
		n, from, err := f.read(conn, b)
		switch {
		case err == nil && n > 0:
			f.came(b[:n])
			return n, from, nil
		case err == nil:
		case errors.Is(err, syscall.ECONNREFUSED):
			f.note(err)
		default:
			f.mu.Lock()
			if f.conn == conn {
				f.drop(err)
			}
			f.mu.Unlock()
		}
	}
}

func (f *flow) came(msg []byte) {
	f.received.Add(uint64(len(msg)))
	if kind(msg) == handshakeResponse {
		f.mu.Lock()
		f.answered = true
		f.mu.Unlock()
	}
}

// The rest is what the device wants to know of an endpoint. It is given nothing that could be dialled.

// ClearSrc does nothing: the channel underneath chooses the source.
func (f *flow) ClearSrc() {}

// SrcToString is empty.
func (f *flow) SrcToString() string { return "" }

// DstToString is the place of the peer in the configuration.
func (f *flow) DstToString() string { return f.target.String() }

// DstToBytes tells endpoints apart, for cookies (section 5.4.7 of the protocol).
func (f *flow) DstToBytes() []byte { return []byte(f.target.String()) }

// DstIP is the address of the endpoint, as far as it is known.
func (f *flow) DstIP() netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at.Addr()
}

// SrcIP is not known.
func (f *flow) SrcIP() netip.Addr { return netip.Addr{} }

var _ conn.Endpoint = (*flow)(nil)
