package dnstest

import (
	"net"
)

// Plain DNS, as a server inside a tunnel speaks it.
const (
	PlainUDP Transport = "udp"
	PlainTCP Transport = "tcp"
)

// ServePlain answers DNS in clear text (RFC 1035) on a socket and on a listener until it is closed.
func ServePlain(socket net.PacketConn, l net.Listener, h Handler) *Server {
	s := newServer(l, h)
	s.wg.Go(func() {
		<-s.ctx.Done()
		socket.Close()
	})
	s.wg.Go(func() {
		b := make([]byte, 64<<10)
		for {
			n, from, err := socket.ReadFrom(b)
			if err != nil {
				return
			}
			q := &Query{Raw: append([]byte(nil), b[:n]...), Transport: PlainUDP, Client: from}
			s.wg.Go(func() {
				if reply, err := s.answer(s.ctx, q); err == nil && reply.Wire != nil {
					_, _ = socket.WriteTo(reply.Wire, from)
				}
			})
		}
	})
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.servePlain(conn) })
		}
	})
	return s
}

func (s *Server) servePlain(conn net.Conn) {
	n := s.enter(conn)
	defer s.leave(conn)
	for s.ctx.Err() == nil {
		msg, err := readFrame(conn)
		if err != nil {
			return
		}
		reply, err := s.answer(s.ctx, &Query{Raw: msg, Transport: PlainTCP, Conn: n, Client: conn.RemoteAddr()})
		if err != nil || reply.Close {
			return
		}
		if reply.Wire != nil {
			if _, err := conn.Write(frame(reply.Wire)); err != nil {
				return
			}
		}
	}
}
