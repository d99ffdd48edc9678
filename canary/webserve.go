package canary

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"watertight/httpserve"
)

// Limits on those who come to the web page.
const (
	webClients     = 1024 // connections at a time for each listener; more of them wait
	webOfNetwork   = 96   // connections of one network; more of them are closed at once
	webHeader      = 8 << 10
	webHeaderLimit = 5 * time.Second
	webReadLimit   = 10 * time.Second
	webWriteLimit  = 20 * time.Second
	webIdleLimit   = 15 * time.Second
	webDrain       = 2 * time.Second // for requests in progress when it stops
)

// Port is one listener of the web page.
type Port struct {
	Socket net.Listener
	// TLS is what is spoken; nil: clear text.
	TLS *tls.Config
	// Redirect is the port to which those who want the page in clear are sent, for the same by TLS; 0: nowhere. Names of visits are
	// answered in clear all the same.
	Redirect uint16
}

// Serve serves a listener until ctx ends; then it closes it, and gives nil. It speaks HTTP/1.1 alone: each name of a visit is
// then come to by a connection of its own, from the address that its traffic has.
func (w *Web) Serve(ctx context.Context, p Port) error {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	h := http.Handler(w)
	if p.Redirect != 0 {
		h = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.redirect(rw, r, p.Redirect) })
	}
	server := &http.Server{
		Handler: httpserve.Contain(h, w.o.Logger), Protocols: &http1,
		ReadHeaderTimeout: webHeaderLimit, ReadTimeout: webReadLimit, WriteTimeout: webWriteLimit, IdleTimeout: webIdleLimit,
		MaxHeaderBytes: webHeader, DisableGeneralOptionsHandler: true,
		ErrorLog:    log.New(io.Discard, "", 0), // it would have the addresses of visitors
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var l net.Listener = newCrowd(p.Socket)
	if p.TLS != nil {
		c := p.TLS.Clone()
		c.NextProtos = append(c.NextProtos, "http/1.1")
		c.SessionTicketsDisabled = true // they would tell one visit from another
		l = tls.NewListener(l, c)
	}
	if err := httpserve.Serve(ctx, server, l, webDrain); err != nil {
		return fmt.Errorf("canary: the web page: %w", err)
	}
	return nil
}

// redirect answers those who come in clear where the page is served by TLS.
func (w *Web) redirect(rw http.ResponseWriter, r *http.Request, port uint16) {
	if hostOf(r.Host) != w.o.Zone || r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 ||
		!w.rate.take(clientOf(r).Addr()) {
		w.ServeHTTP(rw, r)
		return
	}
	w.head(rw.Header(), false, "")
	at := w.o.Zone
	if port != portHTTPS {
		at = net.JoinHostPort(at, strconv.Itoa(int(port)))
	}
	to := "https://" + at + "/" + strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	rw.Header().Set("Location", to)
	w.send(rw, r, http.StatusPermanentRedirect, "text/plain; charset=utf-8", []byte("by TLS\n"))
}

// crowd is a listener with so many connections at a time, and so many of one network.
type crowd struct {
	net.Listener
	slots   chan struct{}
	closing sync.Once
	closed  chan struct{}

	mu sync.Mutex
	of map[netip.Prefix]int
}

func newCrowd(l net.Listener) *crowd {
	return &crowd{Listener: l, slots: make(chan struct{}, webClients), closed: make(chan struct{}), of: make(map[netip.Prefix]int)}
}

// Accept gives the next connection that there is room for.
func (c *crowd) Accept() (net.Conn, error) {
	for {
		select {
		case c.slots <- struct{}{}:
		case <-c.closed:
			return nil, net.ErrClosed
		}
		conn, err := c.Listener.Accept()
		if err != nil {
			<-c.slots
			return nil, err
		}
		network := networkAt(conn.RemoteAddr())
		if !c.enter(network) {
			_ = conn.Close()
			<-c.slots
			continue
		}
		return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(network); <-c.slots })}, nil
	}
}

func (c *crowd) enter(network netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[network] >= webOfNetwork {
		return false
	}
	c.of[network]++
	return true
}

func (c *crowd) leave(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[network]--; c.of[network] <= 0 {
		delete(c.of, network)
	}
}

// Close closes the listener.
func (c *crowd) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Listener.Close()
}

// networkAt is the network of a connection's far side.
func networkAt(a net.Addr) netip.Prefix {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	return networkOf(at.Addr().Unmap().WithZone(""))
}

// guest is a connection that has a place until it is closed.
type guest struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
