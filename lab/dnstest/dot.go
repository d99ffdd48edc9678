package dnstest

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// handshakeLimit bounds how long a client may take to greet.
const handshakeLimit = 10 * time.Second

// ServeDoT answers DNS over TLS (RFC 7858) on l until it is closed. Each tweak may change the TLS configuration
// first, for faults of TLS itself.
func ServeDoT(l net.Listener, cert tls.Certificate, h Handler, tweak ...func(*tls.Config)) *Server {
	s := newServer(l, h)
	c := config(cert, "dot", tweak)
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serveDoT(conn, c) })
		}
	})
	return s
}

func (s *Server) serveDoT(raw net.Conn, c *tls.Config) {
	n := s.enter(raw)
	defer s.leave(raw)
	if s.ctx.Err() != nil {
		return
	}
	conn := tls.Server(raw, c)
	raw.SetDeadline(time.Now().Add(handshakeLimit))
	if err := conn.HandshakeContext(s.ctx); err != nil {
		return
	}
	raw.SetDeadline(time.Time{})

	var handlers sync.WaitGroup
	defer handlers.Wait()
	var writing sync.Mutex
	for {
		msg, err := readFrame(conn)
		if err != nil {
			return
		}
		q := &Query{Raw: msg, Transport: DoT, Conn: n, Resumed: conn.ConnectionState().DidResume, Client: raw.RemoteAddr()}
		handlers.Go(func() {
			reply, err := s.answer(s.ctx, q)
			if err != nil {
				raw.Close()
				return
			}
			if reply.Wire != nil {
				writing.Lock()
				conn.Write(frame(reply.Wire))
				writing.Unlock()
			}
			if reply.Close {
				raw.Close()
			}
		})
	}
}

// frame puts the length in front (RFC 1035, section 4.2.2). A message that is too long is cut off by its length.
func frame(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(head[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}
