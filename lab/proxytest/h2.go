package proxytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"watertight/http2"
	"watertight/masque"
	"watertight/name"
)

// H2Options say how an HTTP/2 proxy behaves.
type H2Options struct {
	Connect Dial // for CONNECT
	Packets Dial // for connect-udp
	// Refuse, if not 0, is the status of every answer.
	Refuse int
	// Deaf lets it take no datagrams from its clients.
	Deaf bool
}

// H2Proxy is a proxy that speaks HTTP/2: CONNECT (RFC 9113, section 8.5) and connect-udp (RFC 8441, RFC 9298).
type H2Proxy struct {
	o     H2Options
	wg    sync.WaitGroup
	conns atomic.Int64

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	asked []string
}

// NewH2 makes a proxy, which serves what it is given.
func NewH2(o H2Options) *H2Proxy { return &H2Proxy{o: o, open: map[net.Conn]struct{}{}} }

// Serve lets the proxy speak on what comes to a listener, until that or the proxy is closed.
func (p *H2Proxy) Serve(l net.Listener, cert tls.Certificate) {
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	p.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.ServeConn(tls.Server(conn, config)) })
		}
	})
}

// ServeConn serves one connection until it ends. It panics if it cannot.
func (p *H2Proxy) ServeConn(conn net.Conn) {
	const long = time.Hour
	c, err := http2.New(conn, http2.Options{
		Handler: http.HandlerFunc(p.serve), MaxStreams: 100, StreamBuffer: 1 << 17, MaxHeader: 1 << 14,
		HeadTimeout: long, IdleTimeout: long, StallTimeout: long, PingAfter: long, PingTimeout: long,
	})
	if err != nil {
		panic("proxytest: HTTP/2: " + err.Error())
	}
	p.conns.Add(1)
	p.mu.Lock()
	p.open[conn] = struct{}{}
	p.mu.Unlock()
	c.Serve(context.Background())
	p.mu.Lock()
	delete(p.open, conn)
	p.mu.Unlock()
}

// Close ends the proxy's connections with everything that they carry. Its listener is its owner's.
func (p *H2Proxy) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		_ = c.Close()
	}
}

// Conns is how many connections there were.
func (p *H2Proxy) Conns() int { return int(p.conns.Load()) }

// Asked gives the targets that the proxy was asked for, as they were written; those of datagrams with `udp ` before them.
func (p *H2Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

func (p *H2Proxy) serve(w http.ResponseWriter, r *http.Request) {
	dial, kind := p.o.Connect, ""
	t, err := name.Parse(r.Host)
	if r.Proto == masque.Protocol {
		dial, kind = p.o.Packets, "udp "
		t, err = masque.ParsePath(r.RequestURI)
	}
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, kind+t.String())
	p.mu.Unlock()
	if p.o.Refuse != 0 {
		w.WriteHeader(p.o.Refuse)
		return
	}
	far, err := dial(t)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			w.Header().Set("Proxy-Status", "proxytest; error=connection_refused")
		}
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	stream := w.(http2.Streamer).HTTPStream()
	if kind != "" {
		p.packets(stream, far, r.Context().Done())
		return
	}
	connected(stream, far)
}

// connected relays between a client and the far side of its tunnel.
func connected(stream *http2.Stream, far net.Conn) {
	defer far.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := io.Copy(far, stream)
		if half, ok := far.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		far.Close()
	}()
	if _, err := io.Copy(stream, far); err != nil {
		stream.Reset(http2.ConnectError)
	}
	_ = stream.CloseWrite()
	<-done
}

// packets carries a client's datagrams.
func (p *H2Proxy) packets(stream *http2.Stream, far net.Conn, gone <-chan struct{}) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer far.Close()
	wg.Go(func() {
		b := make([]byte, maxDatagram)
		for {
			n, err := far.Read(b)
			switch {
			case errors.Is(err, syscall.ECONNREFUSED):
				continue
			case err != nil:
				return
			}
			if _, err := stream.Write(masque.AppendCapsule(nil, b[:n])); err != nil {
				return
			}
		}
	})
	if p.o.Deaf {
		<-gone
		return
	}
	capsules := masque.NewReader(bufio.NewReader(stream))
	for {
		payload, err := capsules.Next()
		if err != nil {
			return
		}
		_, _ = far.Write(payload)
	}
}
