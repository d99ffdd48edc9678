package dnstest

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// ServeDoQ answers DNS over QUIC (RFC 9250) on a socket until it is closed. Each tweak may change the TLS configuration
// first, for faults of TLS itself.
func ServeDoQ(socket net.PacketConn, cert tls.Certificate, h Handler, tweak ...func(*tls.Config)) *Server {
	return serveQUIC(socket, config(cert, "doq", tweak), h, (*Server).serveDoQ)
}

// ServeDoH3 answers DNS over HTTPS over HTTP/3, at every path, as ServeDoQ does.
func ServeDoH3(socket net.PacketConn, cert tls.Certificate, h Handler, tweak ...func(*tls.Config)) *Server {
	return serveQUIC(socket, config(cert, http3.NextProtoH3, tweak), h, (*Server).serveDoH3)
}

// quicListener is a socket as the listener that a Server closes.
type quicListener struct {
	*quic.Listener
	transport *quic.Transport
	socket    net.PacketConn
}

// Accept is not what QUIC's connections come by.
func (l quicListener) Accept() (net.Conn, error) { return nil, net.ErrClosed }

// Close ends the listener and its socket. Connections that are open still would end without a word.
func (l quicListener) Close() error {
	_ = l.Listener.Close()
	_ = l.transport.Close()
	return l.socket.Close()
}

func serveQUIC(socket net.PacketConn, c *tls.Config, h Handler, serve func(*Server, *quicServed)) *Server {
	transport := &quic.Transport{Conn: socket}
	listener, err := transport.Listen(c, &quic.Config{HandshakeIdleTimeout: handshakeLimit})
	if err != nil {
		panic("dnstest: QUIC: " + err.Error())
	}
	s := newServer(quicListener{listener, transport, socket}, h)
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept(s.ctx)
			if err != nil {
				return
			}
			served := &quicServed{Conn: conn}
			served.number = s.enter(served)
			s.wg.Go(func() {
				defer s.leave(served)
				serve(s, served)
			})
		}
	})
	return s
}

// quicServed is one connection of QUIC being served.
type quicServed struct {
	*quic.Conn
	number int
}

// Close ends the connection.
func (c *quicServed) Close() error { return c.CloseWithError(0, "") }

func (s *Server) serveDoQ(conn *quicServed) {
	for {
		stream, err := conn.AcceptStream(s.ctx)
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serveDoQStream(conn, stream) })
	}
}

func (s *Server) serveDoQStream(conn *quicServed, stream *quic.Stream) {
	defer stream.Close()
	msg, err := readFrame(stream)
	if err != nil {
		return
	}
	if _, err := io.ReadAll(stream); err != nil { // the end of the one question
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(stream.Context(), cancel)()
	q := &Query{
		Raw: msg, Transport: DoQ, Conn: conn.number, Resumed: conn.ConnectionState().TLS.DidResume, Client: conn.RemoteAddr(),
	}
	reply, err := s.answer(ctx, q)
	if err != nil {
		conn.Close()
		return
	}
	switch {
	case reply.Wire != nil:
		stream.Write(frame(reply.Wire))
	case !reply.Close:
		<-ctx.Done()
	}
	if reply.Close {
		conn.Close()
	}
}

func (s *Server) serveDoH3(conn *quicServed) {
	server := &http3.Server{
		Handler: http.HandlerFunc(s.serveDoH),
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn.number)
		},
	}
	_ = server.ServeQUICConn(conn.Conn)
}
