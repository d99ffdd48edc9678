package dns

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"syscall"
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
	socket, err := newDatagrams(conn)
	if err != nil {
		return err
	}
	s := d.newServing(ctx)
	defer s.end() // before conn is closed
	readers, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(readers, func() { _ = conn.SetReadDeadline(past) })()
	errs := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(errs) {
		go func() {
			errs <- s.readPackets(socket)
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

// readPackets answers what comes in until the socket is told to end.
func (s *serving) readPackets(conn datagrams) error {
	for {
		p := packets.Get().(*packet)
		n, from, err := conn.read(p.in[:])
		if err != nil {
			packets.Put(p)
			if errors.Is(err, syscall.ECONNREFUSED) { // an earlier reply reached nobody
				continue
			}
			return err
		}
		if n <= maxQueryUDP && s.d.serves(newClient(from.client, UDP)) {
			if s.packet(conn, p, n, from) {
				continue // somebody else's now
			}
		}
		packets.Put(p)
	}
}

// packet answers one datagram, and says whether another goroutine goes on with it.
func (s *serving) packet(conn datagrams, p *packet, n int, from peer) (kept bool) {
	out, next := s.d.begin(p.out[:0], p.in[:n], newClient(from.client, UDP), &p.asking)
	switch {
	case next == silence:
	case next != wait:
		_ = conn.write(out, from) // a client that is gone gets none
	case s.enter():
		go s.finishPacket(conn, p, from)
		return true
	default:
		s.d.stats.waiting.Add(-1)
	}
	return false
}

func (s *serving) finishPacket(conn datagrams, p *packet, from peer) {
	defer s.leave()
	defer packets.Put(p)
	out := s.d.finish(s.ctx, p.out[:0], &p.asking)
	_ = conn.write(out, from)
}
