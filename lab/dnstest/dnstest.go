// Package dnstest is a resolver for tests, for the lab and for the demo: DNS over TLS, HTTPS and QUIC with answers and
// faults that the test chooses, a certificate authority to go with it, and a network of in-memory connections.
//
// It promises to do exactly what it was told, however wrong, and to remember every query. It opens no socket: it
// serves the listeners that it is given.
package dnstest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"

	"watertight/dnswire"
)

// Transport is how a query came.
type Transport string

// The transports.
const (
	DoT Transport = "dot"
	DoH Transport = "doh" // over whichever version of HTTP
	DoQ Transport = "doq"

	DNSCrypt Transport = "dnscrypt" // in datagrams and over TCP
	ODoH     Transport = "odoh"     // through a relay
)

// Query is one query as the server received it.
type Query struct {
	dnswire.Request
	Raw       []byte // the message as it came
	Transport Transport
	Conn      int // ordinal of the connection, from 1; of DNSCrypt that of the client's key
	Resumed   bool
	Client    net.Addr
	Method    string      // of DoH, and of ODoH that of the request to the relay
	Path      string      // likewise
	Header    http.Header // likewise
}

// Reply is what the server does about a query. The zero Reply does nothing: the query is never answered.
type Reply struct {
	Wire  []byte // the message to send; nil sends none
	Close bool   // close the connection afterwards

	// For DoH and ODoH only, where Status is not zero: this response instead of a DNS message.
	Status int
	Header http.Header
	Body   []byte
}

// Handler decides. It is called in a goroutine of its own for each query, so that it may wait: ctx ends with the
// server or with the request.
type Handler func(ctx context.Context, q *Query) Reply

// Server is a running DNS server.
type Server struct {
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	http     *http.Server

	mu      sync.Mutex
	handler Handler
	log     []Query
	total   int // connections accepted
	live    map[io.Closer]int
}

func newServer(l net.Listener, h Handler) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{listener: l, ctx: ctx, cancel: cancel, handler: h, live: map[io.Closer]int{}}
}

// Addr is the listener's address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Handle replaces the handler, for queries from now on.
func (s *Server) Handle(h Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// Log gives every query received so far, in the order of arrival.
func (s *Server) Log() []Query {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Query(nil), s.log...)
}

// Names gives the names asked for so far, each as often as it was asked for.
func (s *Server) Names() []string {
	var names []string
	for _, q := range s.Log() {
		names = append(names, q.Name)
	}
	return names
}

// Count says how often a question was asked.
func (s *Server) Count(name string, t dnswire.Type) int {
	n := 0
	for _, q := range s.Log() {
		if q.Name == name && q.Type == t {
			n++
		}
	}
	return n
}

// Conns says how many connections were accepted so far.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

// Live says how many connections are open.
func (s *Server) Live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// DropConns closes every open connection, as a server does that restarts; it goes on accepting.
func (s *Server) DropConns() {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.live))
	s.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

// Close stops the server, its connections and its handlers.
func (s *Server) Close() error {
	s.cancel()
	s.DropConns() // while there is a socket by which QUIC can say so
	err := s.listener.Close()
	if s.http != nil {
		err = errors.Join(ignoreClosed(err), s.http.Close())
	}
	s.DropConns()
	s.wg.Wait()
	return ignoreClosed(err)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (s *Server) enter(conn io.Closer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	s.live[conn] = s.total
	return s.total
}

func (s *Server) leave(conn io.Closer) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, conn)
}

// answer logs the query and asks the handler.
func (s *Server) answer(ctx context.Context, q *Query) (Reply, error) {
	r, err := dnswire.ParseRequest(q.Raw)
	if err != nil {
		return Reply{}, err
	}
	q.Request = *r
	s.mu.Lock()
	s.log = append(s.log, *q)
	h := s.handler
	s.mu.Unlock()
	return h(ctx, q), nil
}

func config(cert tls.Certificate, alpn string, tweak []func(*tls.Config)) *tls.Config {
	c := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS12}
	for _, f := range tweak {
		f(c)
	}
	return c
}
