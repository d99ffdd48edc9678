package dns

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"

	"watertight/dnswire"
	"watertight/wire"
)

// maxQueryUDP bounds a query in a datagram: names are short, and clients ask with 512 octets at most.
const maxQueryUDP = 2048

// packet is a query in a datagram on its way, with the buffers it needs.
type packet struct {
	asking
	in  [maxQueryUDP + 1]byte
	out [maxUDP]byte
}

var packets = sync.Pool{New: func() any { return new(packet) }}

// ServeUDP answers queries on conn until ctx ends, and closes conn. It gives nil then, or the error that ended the
// socket.
func (d *Door) ServeUDP(ctx context.Context, conn *net.UDPConn) error {
	defer conn.Close()
	socket, err := newDatagrams(conn, d.o.Home)
	if err != nil {
		return err
	}
	s := d.newServing(ctx)
	defer s.end() // before conn is closed
	readers, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(readers, func() { _ = conn.SetReadDeadline(past) })()
	var turn sync.Mutex
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(errs) {
		go func() {
			errs <- s.readPackets(socket, &turn)
			stop() // the others end with it
		}()
	}
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// batch is how many datagrams one system call takes, or sends: where many come at once, the calls cost more than the
// answers.
const batch = 32

// packetReader reads datagrams and sends what is answered at once, many with one call where the system can.
type packetReader struct {
	conn    datagrams
	packets [batch]*packet // for what comes in next
	in      [batch]ipv4.Message
	out     []ipv4.Message
	replies [batch]ipv4.Message
}

func newPacketReader(conn datagrams) *packetReader {
	r := &packetReader{conn: conn}
	for i := range r.packets {
		if conn.isTold() {
			r.in[i].OOB = make([]byte, controlLen)
		}
		r.in[i].Buffers, r.replies[i].Buffers = make([][]byte, 1), make([][]byte, 1)
		r.fill(i)
	}
	return r
}

// fill gives place i a packet for what comes in.
func (r *packetReader) fill(i int) {
	r.packets[i] = packets.Get().(*packet)
	r.in[i].Buffers[0] = r.packets[i].in[:]
}

// readPackets answers what comes in until the socket is told to end. One reader keeps its turn for as long as it alone
// keeps up; another one is woken only while more comes than fits into a batch.
func (s *serving) readPackets(conn datagrams, turn *sync.Mutex) error {
	r := newPacketReader(conn)
	turn.Lock()
	defer turn.Unlock()
	for {
		n, err := r.conn.batches.ReadBatch(r.in[:], 0)
		switch {
		case err == nil && n == batch:
			turn.Unlock()
			s.answer(r, n)
			turn.Lock()
		case err == nil:
			s.answer(r, n)
		case !errors.Is(err, syscall.ECONNREFUSED): // else an earlier reply reached nobody
			return err
		}
	}
}

// answer answers the first n datagrams of a batch.
func (s *serving) answer(r *packetReader, n int) {
	r.out = r.replies[:0]
	for i := range n {
		addr, ok := r.in[i].Addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		from := peer{client: addr.AddrPort()}
		if r.in[i].N > maxQueryUDP || !r.conn.home && !s.d.serves(newClient(from.client, UDP)) {
			continue
		}
		if r.conn.isTold() {
			from.asked = r.conn.destination(r.in[i].OOB[:r.in[i].NN])
		}
		p := r.packets[i]
		out, kept := s.packet(r.conn, p, r.in[i].N, from)
		if kept {
			r.fill(i) // the packet is somebody else's now
		} else if out != nil {
			r.out = r.out[:len(r.out)+1]
			m := &r.out[len(r.out)-1]
			m.Buffers[0], m.OOB, m.Addr = out, from.control(), addr
		}
	}
	r.send()
}

// send sends the replies. A client that is gone gets none, and the others theirs; what has no room is lost.
func (r *packetReader) send() {
	for left := r.out; len(left) > 0; {
		n, err := r.conn.batches.WriteBatch(left, wire.DontWait)
		if err != nil || n == 0 {
			n = max(n, 0) + 1
		}
		left = left[min(n, len(left)):]
	}
}

// packet answers one datagram: with a reply at once, with none, or with one that another goroutine sends, which keeps
// the packet.
func (s *serving) packet(conn datagrams, p *packet, n int, from peer) (out []byte, kept bool) {
	out, next := s.d.begin(p.out[:0], p.in[:n], newClient(from.client, UDP), &p.asking)
	switch {
	case next == silence:
	case next != wait:
		return out, false
	case s.enter():
		if !s.beginPacket(conn, p, from) {
			go s.finishPacket(conn, p, from)
		}
		return nil, true
	default:
		s.d.stats.waiting.Add(-1)
	}
	return nil, false
}

// beginPacket asks for the answer such that no goroutine waits for it, where that is possible: whoever brings the answer
// sends the reply.
func (s *serving) beginPacket(conn datagrams, p *packet, from peer) (begun bool) {
	d := s.d
	if d.beginner == nil {
		return false
	}
	var told atomic.Bool
	then := func(answer *dnswire.Answer, err error) {
		if told.Swap(true) {
			return
		}
		defer s.leave()
		defer packets.Put(p)
		defer d.stats.waiting.Add(-1)
		_ = conn.write(d.outcome(p.out[:0], &p.asking, answer, err), from)
	}
	defer func() {
		if v := recover(); v != nil {
			begun = true
			then(nil, d.panicked(v))
		}
	}()
	return d.beginner.Begin(time.Now().Add(d.o.Timeout), p.client, p.query(), then)
}

func (s *serving) finishPacket(conn datagrams, p *packet, from peer) {
	defer s.leave()
	defer packets.Put(p)
	if out := s.d.finish(s.ctx, p.out[:0], &p.asking); len(out) > 0 {
		_ = conn.write(out, from)
	}
}
