package dnstest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"

	"watertight/dnswire"
)

const mediaType = "application/dns-message"

// connKey is the context key of the connection's ordinal.
type connKey struct{}

// ServeDoH answers DNS over HTTPS (RFC 8484) over HTTP/2 on l, at every path, until it is closed. Each tweak may
// change the TLS configuration first, for faults of TLS itself and for HTTP/1.1.
func ServeDoH(l net.Listener, cert tls.Certificate, h Handler, tweak ...func(*tls.Config)) *Server {
	s := newServer(l, h)
	s.serveHTTP(cert, s.serveDoH, tweak)
	return s
}

// serveHTTP serves HTTP/2, or HTTP/1.1 where a tweak says so.
func (s *Server) serveHTTP(cert tls.Certificate, handle http.HandlerFunc, tweak []func(*tls.Config)) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           handle,
		Protocols:         protocols,
		ReadHeaderTimeout: handshakeLimit,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, s.number(conn))
		},
	}
	c := config(cert, "h2", tweak)
	s.wg.Go(func() { s.http.Serve(tlsListener{&tracked{s.listener, s}, c}) })
}

// tracked tells the server about its connections.
type tracked struct {
	net.Listener
	s *Server
}

// Accept gives the next connection.
func (t *tracked) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &trackedConn{conn, t.s}
	t.s.enter(c)
	return c, nil
}

type trackedConn struct {
	net.Conn
	s *Server
}

// Close closes the connection and forgets it.
func (c *trackedConn) Close() error {
	err := c.Conn.Close()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	delete(c.s.live, c)
	return err
}

// tlsListener is tls.NewListener with the configuration as it is: net/http would add its own.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept gives the next connection.
func (l tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(conn, l.config), nil
}

func (s *Server) number(conn net.Conn) int {
	if c, ok := conn.(*tls.Conn); ok {
		conn = c.NetConn()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[conn]
}

func (s *Server) serveDoH(w http.ResponseWriter, r *http.Request) {
	msg, err := dohMessage(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.respond(w, r, &Query{Raw: msg, Transport: DoH}, mediaType, func(wire []byte) ([]byte, error) { return wire, nil })
}

// respond lets the handler answer a query that came over HTTP; encode makes a body of the answer.
func (s *Server) respond(w http.ResponseWriter, r *http.Request, q *Query, media string, encode func([]byte) ([]byte, error)) {
	n, _ := r.Context().Value(connKey{}).(int)
	q.Conn, q.Resumed, q.Client = n, r.TLS != nil && r.TLS.DidResume, addr(r.RemoteAddr)
	q.Method, q.Path, q.Header = r.Method, r.URL.Path, r.Header.Clone()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	reply, err := s.answer(ctx, q)
	var body []byte
	if err == nil && reply.Wire != nil && reply.Status == 0 {
		body, err = encode(reply.Wire)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	maps.Copy(w.Header(), reply.Header)
	switch {
	case reply.Status != 0:
		w.WriteHeader(reply.Status)
		w.Write(reply.Body)
	case body != nil:
		w.Header().Set("Content-Type", media)
		w.Write(body)
	case reply.Close:
	default:
		<-ctx.Done()
	}
	if reply.Close {
		s.dropConn(n)
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) dropConn(n int) {
	s.mu.Lock()
	var found io.Closer
	for conn, i := range s.live {
		if i == n {
			found = conn
		}
	}
	s.mu.Unlock()
	if found != nil {
		found.Close()
	}
}

func dohMessage(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodGet {
		return base64.RawURLEncoding.DecodeString(r.URL.Query().Get("dns"))
	}
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != mediaType {
		return nil, errors.New("neither GET with ?dns= nor POST of " + mediaType)
	}
	return io.ReadAll(io.LimitReader(r.Body, dnswire.MaxMessage))
}

// addr is a client's address as text.
type addr string

// Network is always tcp.
func (addr) Network() string { return "tcp" }

// String gives the address.
func (a addr) String() string { return string(a) }
