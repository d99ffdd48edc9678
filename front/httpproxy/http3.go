package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/acme"
	"watertight/gate"
	"watertight/httphead"
	"watertight/httpserve"
)

// h3Uni is how many streams a client of HTTP/3 may open towards us: control, QPACK's two, and some that mean nothing
// (RFC 9114, section 6.2).
const h3Uni = 8

// h3Packet is how large QUIC's packets are at first, in octets: those of QUIC inside of them need 1200 (RFC 9000, section 14).
const h3Packet = 1350

// HTTP3 is what a socket of HTTP/3 is served with.
type HTTP3 struct {
	// TLS gives the configuration for those who connect from now on, and Rules what is asked of clients.
	TLS    func() *tls.Config
	Rules  func() *gate.Rules
	Keeper *gate.Keeper
	// Take counts a connection, or says that there are as many as may be. leave is called at its end.
	Take func() (leave func(), ok bool)
	// Crowded says that clients have to show first that they are where their packets say.
	Crowded func() bool
	// Drain bounds the time that tunnels get to end by themselves once nothing new is taken.
	Drain func() time.Duration
}

func (o HTTP3) validate() error {
	if o.TLS == nil || o.Rules == nil || o.Keeper == nil || o.Take == nil || o.Crowded == nil || o.Drain == nil {
		return errors.New("httpproxy: HTTP/3 needs its certificates, its rules and its limits")
	}
	return nil
}

// ServeHTTP3 serves clients that speak HTTP/3 (RFC 9114): a tunnel is a stream of CONNECT (section 4.4), and a
// flow of datagrams one of extended CONNECT (RFC 9220, RFC 9298). It ends with ctx, when the tunnels have ended or their time is over, and closes socket. Nothing is read before a handshake is complete.
func (d *Door) ServeHTTP3(ctx context.Context, socket net.PacketConn, o HTTP3) error {
	defer socket.Close()
	if err := o.validate(); err != nil {
		return err
	}
	transport := &quic.Transport{Conn: socket, VerifySourceAddress: func(net.Addr) bool { return o.Crowded() }}
	defer transport.Close()
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{http3.NextProtoH3},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c := o.TLS()
			if c == nil {
				return nil, errNoTLS
			}
			if c.GetConfigForClient != nil {
				chosen, err := c.GetConfigForClient(hello)
				if err != nil {
					return nil, err
				}
				if chosen != nil && !acme.IsAnswer(chosen) { // a validation does not come over QUIC
					c = chosen
				}
			}
			c = c.Clone()
			c.NextProtos, c.SessionTicketsDisabled = []string{http3.NextProtoH3}, true
			return c, nil
		},
	}
	listener, err := transport.Listen(config, &quic.Config{
		HandshakeIdleTimeout: d.o.HeadTimeout, MaxIdleTimeout: d.o.IdleTimeout, KeepAlivePeriod: d.o.IdleTimeout / 3, // a tunnel may be silent
		InitialStreamReceiveWindow: streamBuffer, MaxStreamReceiveWindow: streamBuffer,
		InitialConnectionReceiveWindow: maxStreams * streamBuffer, MaxConnectionReceiveWindow: maxStreams * streamBuffer,
		MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: h3Uni,
		EnableDatagrams: true, InitialPacketSize: h3Packet,
	})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer listener.Close()
	// The tunnels' context, which ends when their time is over.
	live, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var conns sync.WaitGroup
	for {
		var conn *quic.Conn
		if conn, err = listener.Accept(context.Background()); err != nil {
			break
		}
		leave, ok := o.Take()
		if !ok {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
			continue
		}
		conns.Go(func() {
			defer leave()
			d.serveHTTP3Conn(ctx, live, conn, o)
		})
	}
	ended := make(chan struct{})
	go func() {
		conns.Wait()
		close(ended)
	}()
	limit := time.NewTimer(o.Drain())
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
	}
	cut()
	<-ended
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// serveHTTP3Conn serves a connection until it ends. When ctx ends no further request is taken, and when live does it is
// closed.
func (d *Door) serveHTTP3Conn(ctx, live context.Context, conn *quic.Conn, o HTTP3) {
	state := conn.ConnectionState().TLS
	user, err := gate.CertifiedUser(&state)
	if err != nil {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestRejected), "") // the handshake has seen to that
		return
	}
	guest := &gate.Guest{Client: udpAddrPort(conn.RemoteAddr()), Self: udpAddrPort(conn.LocalAddr()), Certified: user, Keeper: o.Keeper, Rules: o.Rules}
	if len(state.PeerCertificates) > 0 {
		guest.Shown = state.PeerCertificates[0]
	}
	if now := o.TLS(); now != nil && gate.Vouches(now.ClientCAs, &state) { // others may be in force since the handshake
		guest.Authorities = now.ClientCAs
	}
	under := &underWay{over: func() {
		// What was said last is given the time to arrive: to close a connection of QUIC takes it away.
		time.AfterFunc(linger, func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") })
	}}
	server := &http3.Server{
		Handler: httpserve.Contain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			under.begin()
			defer under.end()
			v := &visit{d: d, guest: guest, exhausted: func() {
				_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
			}}
			v.tunnel = func(w http.ResponseWriter, _ *http.Request) (tunnelStream, context.Context, error) {
				s, err := newStream3(w, conn)
				if err != nil {
					return nil, live, err
				}
				return s, live, nil
			}
			v.packets = func(w http.ResponseWriter, r *http.Request) (packetStream, context.Context, error) {
				s, err := newStream3(w, conn)
				if err != nil {
					return nil, live, err
				}
				return newDatagrams(s, w), live, nil
			}
			v.serve(w, r)
		}), d.o.Logger),
		EnableDatagrams: true,
		MaxHeaderBytes:  httphead.MaxHead,
		IdleTimeout:     d.o.IdleTimeout,
		Logger:          slog.New(slog.NewTextHandler(io.Discard, nil)), // what clients do wrong is no news
	}
	stopped := context.AfterFunc(ctx, func() {
		under.drain()
		_ = server.Shutdown(live) // it tells the client, and waits for the connection's end
	})
	defer stopped()
	closed := context.AfterFunc(live, func() { _ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") })
	defer closed()
	_ = server.ServeQUICConn(conn) // it ends with the connection, and with the last request
	_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// underWay counts the requests of a connection, and says when they are over once no further one is wanted.
type underWay struct {
	over func()

	mu       sync.Mutex
	n        int
	draining bool
}

func (u *underWay) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.n++
}

func (u *underWay) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.draining {
		u.over()
	}
}

func (u *underWay) drain() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.draining = true; u.n == 0 {
		u.over()
	}
}

func udpAddrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return unmap(u.AddrPort())
}

func unmap(ap netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()) }

// stream3 is a tunnel of HTTP/3 as a relay sees it. Each direction ends by itself.
type stream3 struct {
	*http3.Stream
	conn *quic.Conn

	mu      sync.Mutex
	ended   bool // by the far side
	aborted bool
}

func newStream3(w http.ResponseWriter, conn *quic.Conn) (*stream3, error) {
	h, ok := w.(http3.HTTPStreamer)
	if !ok {
		return nil, http.ErrNotSupported
	}
	s, err := h.HTTPStream()
	if err != nil {
		return nil, err
	}
	return &stream3{Stream: s, conn: conn}, nil
}

// CloseWrite ends our direction.
func (s *stream3) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.aborted {
		return nil
	}
	s.ended = true
	return s.Stream.Close()
}

// Abort makes the stream end with a reset (RFC 9114, section 4.4).
func (s *stream3) Abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended && !s.aborted {
		s.aborted = true
		s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeConnectError))
	}
}

// Close ends both directions; ours with a reset, where the far side has not ended before.
func (s *stream3) Close() error {
	s.Abort()
	s.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError))
	return nil
}

func (s *stream3) finish() { _ = s.Close() }

// LocalAddr is of the connection.
func (s *stream3) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// RemoteAddr is of the connection.
func (s *stream3) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
