package dns

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"watertight/httpserve"
)

// mediaType is that of a DNS message (RFC 8484, section 6).
const mediaType = "application/dns-message"

// maxHeader bounds the head of a request, in octets. A query by GET is in it: names are short.
const maxHeader = 8 << 10

// ServeHTTPS answers queries over HTTPS (RFC 8484): HTTP/2 and HTTP/1.1 on l and HTTP/3 on socket, which is to have l's
// port, and is told of in the answers over l (RFC 7838). It serves until ctx ends, and closes both. It gives nil then, or
// the error that ended one of them, and then both. A nil socket means that HTTP/3 is not served.
func (d *Door) ServeHTTPS(ctx context.Context, l *net.TCPListener, socket *net.UDPConn, source Credentials) error {
	announce := announceH3(socket)
	if socket == nil {
		return d.serveHTTP2(ctx, l, announce, source)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h3 := make(chan error, 1)
	go func() {
		defer stop()
		h3 <- d.serveHTTP3(ctx, socket, source)
	}()
	err := d.serveHTTP2(ctx, l, announce, source)
	stop()
	return errors.Join(err, <-h3)
}

// serveHTTP2 is ServeHTTPS for connections of TCP. What announces HTTP/3 stands in every answer; empty, it does not.
func (d *Door) serveHTTP2(ctx context.Context, l *net.TCPListener, announce string, source Credentials) error {
	defer l.Close()
	own, config, err := d.tlsFor(source, HTTPS, "h2", "http/1.1")
	if err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler:           d.requests(announce),
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: d.o.Pipeline, WriteByteTimeout: d.o.Stall},
		ReadHeaderTimeout: d.o.Stall,
		ReadTimeout:       d.o.Stall,
		WriteTimeout:      d.o.Timeout + d.o.Stall,
		IdleTimeout:       d.o.Idle,
		MaxHeaderBytes:    maxHeader,
		ConnState: func(conn net.Conn, state http.ConnState) {
			if c, ok := conn.(*tls.Conn); ok && state == http.StateClosed && !c.ConnectionState().HandshakeComplete {
				d.handshakeFailed()
			}
		},
		ErrorLog: log.New(io.Discard, "", 0), // what clients do wrong is no news
	}
	return httpserve.Serve(ctx, server, tls.NewListener(&doorListener{l, d, own}, config), d.o.Drain)
}

// doorListener gives the connections of clients that are served, within the limit.
type doorListener struct {
	*net.TCPListener
	d   *Door
	own *credentials
}

// Accept gives the next connection.
func (l *doorListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.TCPListener.Accept()
		if err != nil {
			return nil, err
		}
		c := clientOf(conn.RemoteAddr(), HTTPS)
		if !l.own.demands() && !l.d.serves(c) || !l.d.openConnection(c) {
			_ = conn.Close()
			continue
		}
		return &counted{Conn: conn, d: l.d, c: c}, nil
	}
}

// counted is a connection that is counted until it is closed.
type counted struct {
	net.Conn
	d    *Door
	c    Client
	once sync.Once
}

// Close closes the connection.
func (c *counted) Close() error {
	c.once.Do(func() { c.d.closeConnection(c.c) })
	return c.Conn.Close()
}

// requests answers requests, with a header that announces HTTP/3 unless it is empty.
func (d *Door) requests(announce string) http.Handler {
	return httpserve.Contain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if announce != "" {
			w.Header().Set("Alt-Svc", announce)
		}
		d.serveHTTP(w, r)
	}), d.o.Logger)
}

// serveHTTP answers one request.
func (d *Door) serveHTTP(w http.ResponseWriter, r *http.Request) {
	msg, status := d.queryOf(w, r)
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	proto := HTTPS
	if r.ProtoMajor == 3 {
		proto = HTTP3
	}
	var a asking
	out, next := d.begin(nil, msg, newClient(from, proto), &a)
	switch next {
	case silence:
		http.Error(w, "not a query that can be read", http.StatusBadRequest)
		return
	case wait:
		out = d.finish(r.Context(), nil, &a)
	case tooMany:
		w.Header().Set("Retry-After", "1")
		status = http.StatusTooManyRequests
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(out)))
	if a.ttl >= 0 { // for as long as the answer holds, and not longer (RFC 8484, section 5.1)
		h.Set("Cache-Control", "max-age="+strconv.Itoa(int(a.ttl/time.Second)))
	} else {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(out) // a client that is gone gets none
}

// queryOf gives the message in a request, or the status that refuses it.
func (d *Door) queryOf(w http.ResponseWriter, r *http.Request) ([]byte, int) {
	if r.URL.Path != d.o.Path {
		return nil, http.StatusNotFound
	}
	switch r.Method {
	case http.MethodGet:
		text := r.URL.Query().Get("dns")
		msg, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || text == "" {
			return nil, http.StatusBadRequest
		}
		return msg, http.StatusOK
	case http.MethodPost:
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != mediaType {
			return nil, http.StatusUnsupportedMediaType
		}
		msg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
		if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
			return nil, http.StatusRequestEntityTooLarge
		}
		if err != nil {
			return nil, http.StatusBadRequest
		}
		return msg, http.StatusOK
	}
	w.Header().Set("Allow", "GET, POST")
	return nil, http.StatusMethodNotAllowed
}
