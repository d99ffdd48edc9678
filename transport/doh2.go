package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"watertight/dnswire"
)

// doh opens connections of DNS over HTTPS (RFC 8484) over HTTP/2, or over HTTP/1.1 where the server chooses that: then
// one question at a time travels on a connection.
// The upstream may say that it speaks HTTP/3 too: see open.
type doh struct {
	*secure
	dohRequests
	over3 *doh3 // nil where the way out carries no datagrams
}

func newDoH(c *Client) (opener, error) {
	s, err := newSecure(c, protocol{alpn: []string{"h2", "http/1.1"}, name: "HTTP/2 or HTTP/1.1"})
	if err != nil {
		return nil, err
	}
	requests, err := newDoHRequests(c)
	if err != nil {
		return nil, err
	}
	d := &doh{secure: s, dohRequests: requests}
	if c.upgradable() {
		d.over3, err = newHTTP3(c)
	}
	return d, err
}

// open2 connects over TLS.
func (d *doh) open2(ctx context.Context) (link, *Failure) {
	conn, fail := d.connect(ctx)
	if fail != nil {
		return nil, fail
	}
	l, fail := newDoHLink(ctx, d.dohRequests, conn)
	if fail != nil { // a nil *dohLink would be a link
		return nil, fail
	}
	return l, nil
}

// dohLink is one connection of DNS over HTTPS over TLS.
type dohLink struct {
	dohRequests
	*httpConn
}

// newDoHLink speaks HTTP over a connection that is authenticated already.
func newDoHLink(ctx context.Context, requests dohRequests, conn *tls.Conn) (*dohLink, *Failure) {
	over, fail := newHTTPConn(ctx, requests.c, conn)
	return &dohLink{requests, over}, fail
}

// exchange asks over the one connection.
func (l *dohLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	return l.ask(ctx, l.conn, q)
}

// httpConn is one connection of HTTP over TLS, and so most of a link.
type httpConn struct {
	conn    *http.ClientConn
	version string // of HTTP
	ech     bool   // the hello was encrypted
	ended   chan struct{}
	once    sync.Once
}

// newHTTPConn speaks HTTP over a connection that is authenticated already. The transport dials nothing: it is handed
// that one connection.
func newHTTPConn(ctx context.Context, c *Client, conn *tls.Conn) (*httpConn, *Failure) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	given := conn
	transport := &http.Transport{
		Proxy:                  nil,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("a resolver's connection is never made in clear")
		},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if given == nil {
				return nil, net.ErrClosed
			}
			conn := given
			given = nil
			return conn, nil
		},
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	// The address is only a label here; it is literal so that nothing could ever be looked up.
	cc, err := transport.NewClientConn(ctx, "https", "192.0.2.1:443")
	if err != nil {
		conn.Close()
		return nil, c.unreachable("does not speak HTTP", err)
	}
	state := conn.ConnectionState()
	l := &httpConn{conn: cc, version: "HTTP/1.1", ech: state.ECHAccepted, ended: make(chan struct{})}
	if state.NegotiatedProtocol == "h2" {
		l.version = "HTTP/2"
	}
	cc.SetStateHook(func(cc *http.ClientConn) {
		if cc.Err() != nil {
			l.once.Do(func() { close(l.ended) })
		}
	})
	if cc.Err() != nil {
		l.once.Do(func() { close(l.ended) })
	}
	return l, nil
}

func (l *httpConn) done() <-chan struct{} { return l.ended }

func (l *httpConn) room() bool { return l.conn.Available() > 0 }

func (l *httpConn) close() {
	l.conn.Close()
	l.once.Do(func() { close(l.ended) })
}
