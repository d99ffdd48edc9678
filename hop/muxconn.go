package hop

//lint:file-ignore SA1019 its successor in net/http sends no extended CONNECT: it refuses the field :protocol

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"watertight/connect"
	"watertight/fault"
	"watertight/masque"
	"watertight/name"
)

// How long a connection may be silent before it is asked whether it lives, and how long the answer may take. Together they
// are less than HandshakeLimit: what was asked on a connection that died is asked again on another while its client waits.
const (
	muxPing = 5 * time.Second
	muxPong = 4 * time.Second
)

// streamWindow is how much is held of one tunnel whose reader is slow, in octets.
const streamWindow = 1 << 20

// noExtended is how the library says that the other side does not take extended CONNECT.
const noExtended = "extended connect not supported"

// muxConn is one connection of HTTP/2 to a proxy.
type muxConn struct {
	l      *link
	http   *http2.ClientConn
	local  net.Addr
	remote net.Addr
	ended  <-chan struct{}
}

func (c *muxConn) take(int) bool { return c.http.ReserveNewRequest() }

func (c *muxConn) dead() <-chan struct{} { return c.ended }

// release lets what was written last be sent.
func (c *muxConn) release() {
	ctx, cancel := context.WithTimeout(context.Background(), streamLinger)
	defer cancel()
	_ = c.http.Shutdown(ctx)
	_ = c.http.Close()
}

// newMuxConn speaks HTTP/2 over a connection that is authenticated already, and waits for the settings of the other side:
// before them nobody knows how many tunnels it takes. The deadline of what is under conn bounds that.
func newMuxConn(l *link, conn *tls.Conn) (*muxConn, error) {
	if conn.ConnectionState().NegotiatedProtocol != protocolH2 {
		f := fault.New(fault.HopRefused, l.label+" does not speak HTTP/2", nil)
		f.Hint = "write https:// for a proxy that speaks HTTP/1.1 over TLS"
		return nil, f
	}
	heard := &settling{Conn: conn, settled: make(chan struct{}), ended: make(chan struct{})}
	// The transport dials nothing: it is handed the one connection.
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("a connection to a proxy is made by the channel alone")
	}
	transport, err := http2.ConfigureTransports(&http.Transport{
		Proxy: nil, DialContext: dial, DialTLSContext: dial, DisableCompression: true,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
	})
	if err != nil {
		return nil, l.lost(err, false)
	}
	transport.MaxHeaderListSize = connect.MaxHead
	transport.ReadIdleTimeout, transport.PingTimeout, transport.WriteByteTimeout = muxPing, muxPong, muxPing+muxPong
	over, err := transport.NewClientConn(heard)
	if err != nil {
		return nil, l.lost(err, false)
	}
	c := &muxConn{l: l, http: over, local: conn.LocalAddr(), remote: conn.RemoteAddr(), ended: heard.ended}
	<-heard.settled
	if err := heard.failure(); err != nil {
		return c, l.lost(err, false)
	}
	return c, nil
}

// settling notices when all that came first was taken in: more is read only then. The first that a server sends are its
// settings (RFC 9113, section 3.4).
type settling struct {
	net.Conn
	once    sync.Once
	settled chan struct{}
	err     error // why it ended before; written before settled is closed
	reads   int   // of one goroutine

	end   sync.Once
	ended chan struct{}
}

func (s *settling) Read(b []byte) (int, error) {
	if s.reads++; s.reads == 2 {
		s.settle(nil)
	}
	n, err := s.Conn.Read(b)
	if err != nil {
		s.settle(err)
		s.over()
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
	s.over()
	return s.Conn.Close()
}

func (s *settling) over() { s.end.Do(func() { close(s.ended) }) }

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

// tunnel asks the proxy for a tunnel to t (RFC 9113, section 8.5).
func (c *muxConn) tunnel(ctx context.Context, t name.Target, done func()) (net.Conn, error) {
	s, err := c.ask(ctx, &http.Request{URL: &url.URL{Scheme: "https", Host: c.l.at.String()}, Host: t.String(), Header: http.Header{}}, t, done)
	if err != nil { // a nil *stream would be a net.Conn
		return nil, err
	}
	return s, nil
}

// packets asks the proxy for a flow of datagrams to t (RFC 8441, section 4; RFC 9298, section 3.4).
func (c *muxConn) packets(ctx context.Context, t name.Target, done func()) (net.Conn, error) {
	path, err := url.PathUnescape(masque.Path(t))
	if err != nil {
		return nil, fault.New(fault.Internal, "a target that no path can be made of", err)
	}
	at := c.l.at.String()
	s, err := c.ask(ctx, &http.Request{
		URL: &url.URL{Scheme: "https", Host: at, Path: path, RawPath: masque.Path(t)}, Host: at,
		Header: http.Header{":protocol": {masque.Protocol}, masque.CapsuleProtocol: {masque.CapsuleProtocolTrue}},
	}, t, done)
	if err != nil {
		return nil, err
	}
	return newCapsuleFlow(c.l, s), nil
}

// ask asks the proxy by CONNECT. The place for it is reserved already. What the proxy never looked at is an [*unasked].
func (c *muxConn) ask(ctx context.Context, req *http.Request, t name.Target, done func()) (*stream, error) {
	l := c.l
	l.waiting(ctx, true)
	alive, cancel := context.WithCancel(context.Background()) // of the whole stream
	asking, stop := context.WithTimeout(ctx, HandshakeLimit)
	defer stop()
	unwatch := context.AfterFunc(asking, cancel)
	up, far := net.Pipe()
	req.Method, req.Body, req.ContentLength = http.MethodConnect, far, -1
	req.Header.Set("User-Agent", "")
	if l.credentials != "" {
		req.Header.Set("Proxy-Authorization", l.credentials)
	}
	resp, err := c.http.RoundTrip(req.WithContext(alive))
	inTime := unwatch()
	fail := func(err error) (*stream, error) {
		cancel()
		up.Close()
		if resp != nil {
			resp.Body.Close()
		}
		return nil, err
	}
	switch {
	case !inTime && errors.Is(ctx.Err(), context.Canceled):
		return fail(l.gaveUp(ctx))
	case !inTime:
		return fail(l.lost(context.DeadlineExceeded, true))
	case err != nil:
		return fail(c.broken(err))
	}
	if said := connect.ResponseOf(resp.StatusCode, resp.Header.Values("Proxy-Status")); !said.OK() {
		return fail(l.refusedHTTP(said, t))
	}
	return newStream(c, resp.Body, up, cancel, done), nil
}

// broken tells what became of a request that got no response.
func (c *muxConn) broken(err error) error {
	var stream http2.StreamError
	switch {
	case strings.Contains(err.Error(), noExtended):
		return c.l.noDatagrams("it does not speak connect-udp", nil)
	case !errors.As(err, &stream):
		// What the proxy says of its reasons (GOAWAY) is its own text, and shown to nobody.
		return &unasked{err: fault.New(fault.HopRefused, c.l.label+" ended the connection instead of answering", errEnded)}
	}
	err = fmt.Errorf("stream error %d", stream.Code)
	switch stream.Code {
	case http2.ErrCodeRefusedStream: // it was not looked at (section 8.7)
		return &unasked{err: fault.New(fault.HopRefused, c.l.label+" takes no more tunnels", err), full: true}
	case http2.ErrCodeConnect:
		return fault.New(fault.ConnectUnreachable, c.l.label+" cannot reach the destination", err)
	}
	return fault.New(fault.HopRefused, fmt.Sprintf("%s broke off the request, with the code %d of HTTP/2", c.l.label, stream.Code), err)
}

// gaveUp is a request whose client is gone, or whose time is over.
func (l *link) gaveUp(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fault.New(fault.ConnectTimeout, "the request was given up while "+l.label+" was asked", ctx.Err())
	}
	return l.lost(context.DeadlineExceeded, false)
}
