package hop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"watertight/connect"
	"watertight/fault"
	"watertight/name"
)

// streamWindow is how much is held of one tunnel whose reader is slow, in octets.
const streamWindow = 1 << 20

// How long a connection may be silent before it is asked whether it lives, and how long the answer may take. Together they
// are less than HandshakeLimit: what was asked on a connection that died is asked again on another while its client waits.
const (
	muxPing = 5 * time.Second
	muxPong = 4 * time.Second
)

// Codes of errors of a stream (RFC 9113, section 7).
const (
	refusedStream = 0x7
	connectError  = 0xa
)

// streamError is what net/http's error about one stream looks like from outside: errors.As fills it in by its fields.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream error %d", e.Code) }

// muxConn is one connection of HTTP/2 to a proxy.
type muxConn struct {
	l       *link
	http    *http.ClientConn
	local   net.Addr
	remote  net.Addr
	changed chan struct{} // has a value when there may be something to look at

	seq     uint64 // 1 for the first of its mux
	retired bool   // it takes no more tunnels; guarded by the mux
}

// newMuxConn speaks HTTP/2 over a connection that is authenticated already, and waits for the settings of the other side:
// before them nobody knows how many tunnels it takes. The deadline of what is under conn bounds that.
func newMuxConn(ctx context.Context, l *link, conn *tls.Conn) (*muxConn, error) {
	if conn.ConnectionState().NegotiatedProtocol != protocolH2 {
		f := fault.New(fault.HopRefused, l.label+" does not speak HTTP/2", nil)
		f.Hint = "write https:// for a proxy that speaks HTTP/1.1 over TLS"
		return nil, f
	}
	heard := &settling{Conn: conn, settled: make(chan struct{})}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true) // it is encrypted already
	given := net.Conn(heard)
	transport := &http.Transport{
		Proxy:                  nil,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: connect.MaxHead,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if given == nil {
				return nil, net.ErrClosed
			}
			conn := given
			given = nil
			return conn, nil
		},
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: muxPing, PingTimeout: muxPong, WriteByteTimeout: muxPing + muxPong,
			MaxReceiveBufferPerStream: streamWindow,
		},
	}
	// The address is only a label here; it is literal so that nothing could ever be looked up.
	over, err := transport.NewClientConn(ctx, "http", "192.0.2.1:443")
	if err != nil {
		return nil, l.lost(err, false)
	}
	c := &muxConn{l: l, http: over, local: conn.LocalAddr(), remote: conn.RemoteAddr(), changed: make(chan struct{}, 1)}
	over.SetStateHook(func(*http.ClientConn) { c.look() })
	<-heard.settled
	if err := heard.failure(); err != nil {
		return c, l.lost(err, false)
	}
	return c, nil
}

// look has the connection looked at.
func (c *muxConn) look() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// settling notices when all that came first was taken in: more is read only then. The first that a server sends are its
// settings (RFC 9113, section 3.4).
type settling struct {
	net.Conn
	once    sync.Once
	settled chan struct{}
	err     error // why it ended before; written before settled is closed
	reads   int   // of one goroutine
}

func (s *settling) Read(b []byte) (int, error) {
	if s.reads++; s.reads == 2 {
		s.settle(nil)
	}
	n, err := s.Conn.Read(b)
	if err != nil {
		s.settle(err)
	}
	return n, err
}

func (s *settling) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	select {
	case <-s.settled:
		return n, err
	default:
	}
	if err != nil {
		err = refusal(s.Conn, err)
		s.settle(err)
	}
	return n, err
}

func (s *settling) Close() error {
	s.settle(errNotHTTP2)
	return s.Conn.Close()
}

func (s *settling) settle(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.settled)
	})
}

// failure is for after settled is closed.
func (s *settling) failure() error { return s.err }

var errEnded = errors.New("the connection of HTTP/2 ended")

var errNotHTTP2 = errors.New("what it says is not HTTP/2")

// open asks the proxy for a tunnel (RFC 9113, section 8.5). The place for it is reserved already. lost says that nothing
// more is to be asked on the connection: it broke, or ends.
func (c *muxConn) open(ctx context.Context, t name.Target) (conn net.Conn, lost bool, err error) {
	l := c.l
	l.waiting(ctx, true)
	alive, cancel := context.WithCancel(context.Background()) // of the whole stream
	asking, stop := context.WithTimeout(ctx, HandshakeLimit)
	defer stop()
	unwatch := context.AfterFunc(asking, cancel)
	up, far := net.Pipe()
	req := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: l.at.String()}, Host: t.String(),
		Header: http.Header{"User-Agent": {""}}, Body: far, ContentLength: -1,
	}
	if l.credentials != "" {
		req.Header.Set("Proxy-Authorization", l.credentials)
	}
	resp, err := c.http.RoundTrip(req.WithContext(alive))
	inTime := unwatch()
	fail := func(err error) error {
		cancel()
		up.Close()
		if resp != nil {
			resp.Body.Close()
		}
		return fault.Of(err)
	}
	switch {
	case !inTime && errors.Is(ctx.Err(), context.Canceled):
		return nil, false, fail(l.gaveUp(ctx))
	case !inTime:
		return nil, false, fail(l.lost(context.DeadlineExceeded, true))
	case err != nil:
		lost, err := c.broken(err)
		return nil, lost, fail(err)
	}
	if said := connect.ResponseOf(resp.StatusCode, resp.Header.Values("Proxy-Status")); !said.OK() {
		return nil, false, fail(l.refusedHTTP(said, t))
	}
	return newStream(c, resp.Body, up, cancel), false, nil
}

// broken tells what became of a request that got no response.
func (c *muxConn) broken(err error) (lost bool, told error) {
	var stream streamError
	if !errors.As(err, &stream) {
		// What the proxy says of its reasons (GOAWAY) is its own text, and shown to nobody.
		return true, fault.New(fault.HopRefused, c.l.label+" ended the connection instead of answering", errEnded)
	}
	err = stream
	switch stream.Code {
	case refusedStream: // it was not looked at (section 8.7)
		return true, fault.New(fault.HopRefused, c.l.label+" takes no more tunnels", err)
	case connectError:
		return false, fault.New(fault.ConnectUnreachable, c.l.label+" cannot reach the destination", err)
	}
	return false, fault.New(fault.HopRefused, fmt.Sprintf("%s broke off the request, with the code %d of HTTP/2", c.l.label, stream.Code), err)
}

// gaveUp is a request whose client is gone, or whose time is over.
func (l *link) gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.ConnectTimeout, "the request was given up while "+l.label+" was asked", ctx.Err())
	}
	return l.lost(context.DeadlineExceeded, false)
}
