package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/fault"
	"watertight/route"
	"watertight/upstream"
	"watertight/wire"
)

const (
	max3Streams  = 100 // requests at once on a connection of HTTP/3
	silence3     = 30 * time.Second
	keepAlive3   = 10 * time.Second
	packetSize3  = 1200 // octets, the least that every way carries (RFC 9000, section 14)
	uniStreams3  = 3    // control, and QPACK's two (RFC 9114, section 6.2)
	noError3     = 0x100
	literalLabel = "192.0.2.1" // by which QUIC calls a far side of which only the channel knows where it is
)

// Errors of a connection of HTTP/3.
var (
	errFull3    = errors.New("gateway: the connection carries as much as it may")
	errRetired3 = errors.New("gateway: the connection takes no more requests")
)

// conn3 is an authenticated connection of HTTP/3 (RFC 9114), with the flow of datagrams that carries it and nothing else.
type conn3 struct {
	quic      *quic.Conn
	http      *http3.ClientConn
	transport *quic.Transport
	flow      net.Conn

	mu       sync.Mutex
	inFlight int // with what is reserved
	retired  bool
	hook     func()
}

// over3 makes a connection of HTTP/3 to the first of the servers that is there and proves to be the origin.
func (p *pool) over3(ctx context.Context, r route.Request, places []place) (*conn, error) {
	var first error
	for _, one := range places {
		three, err := p.connect3(ctx, r, one, one.keys)
		var rejected *tls.ECHRejectionError
		if errors.As(err, &rejected) && upstream.CheckECH(rejected.RetryConfigList) == nil { // as over TCP
			three, err = p.connect3(ctx, r, one, rejected.RetryConfigList)
		}
		if err == nil {
			c := &conn{carrier: three, pool: p, own: one.at.Host() == p.target.Host(), three: true, idle: idle2}
			go three.watch(p.known)
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	var f *fault.Error
	if errors.As(first, &f) {
		return nil, f
	}
	return nil, p.failure("does not answer over HTTP/3", first)
}

// connect3 connects to one server. No request travels before the handshake is complete (no 0-RTT), and no token links the
// connection to another.
func (o *origin) connect3(ctx context.Context, r route.Request, p place, keys []byte) (*conn3, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	flow, err := o.entry.Way.DialPacket(ctx, r, p.at)
	if err != nil {
		return nil, err
	}
	peer := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(literalLabel), p.at.Port()))
	transport := &quic.Transport{Conn: wire.PacketConn(flow, peer)}
	config := o.config(keys, []string{http3.NextProtoH3}, o.tickets3)
	config.MinVersion = tls.VersionTLS13
	conn, err := transport.Dial(ctx, peer, config, &quic.Config{
		HandshakeIdleTimeout:  handshakeLimit,
		MaxIdleTimeout:        silence3,
		KeepAlivePeriod:       keepAlive3,
		MaxIncomingStreams:    -1, // an origin opens none
		MaxIncomingUniStreams: uniStreams3,
		InitialPacketSize:     packetSize3,
	})
	if err != nil {
		_ = transport.Close()
		_ = flow.Close()
		return nil, err
	}
	// The transport dials nothing: it is handed the one connection.
	over := &http3.Transport{
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHead,
		Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
			return nil, errors.New("gateway: a connection to an origin is made by the channel alone")
		},
	}
	return &conn3{quic: conn, http: over.NewClientConn(conn), transport: transport, flow: flow, hook: func() {}}, nil
}

// watch waits for the end of the connection, and frees what it stands on.
func (c *conn3) watch(k *known) {
	<-c.quic.Context().Done()
	var silent *quic.IdleTimeoutError
	if errors.As(context.Cause(c.quic.Context()), &silent) {
		k.tried(false, time.Now()) // the way does not carry datagrams any more
	}
	_ = c.transport.Close()
	_ = c.flow.Close() // the transport leaves it to us
	c.mu.Lock()
	hook := c.hook
	c.mu.Unlock()
	hook()
}

func (c *conn3) setStateHook(hook func()) {
	c.mu.Lock()
	c.hook = hook
	c.mu.Unlock()
	if c.quic.Context().Err() != nil {
		hook() // it may have ended before
	}
}

// Err says why the connection takes no more requests; nil where it does.
func (c *conn3) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err()
}

func (c *conn3) err() error {
	switch {
	case c.quic.Context().Err() != nil:
		return context.Cause(c.quic.Context())
	case c.retired:
		return errRetired3
	}
	return nil
}

// Reserve keeps room for a request.
func (c *conn3) Reserve() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.err(); err != nil {
		return err
	}
	if c.inFlight >= max3Streams {
		return errFull3
	}
	c.inFlight++
	return nil
}

// Release gives back what Reserve kept.
func (c *conn3) Release() { c.done(false) }

func (c *conn3) done(retire bool) {
	c.mu.Lock()
	c.inFlight--
	c.retired = c.retired || retire
	hook := c.hook
	c.mu.Unlock()
	hook()
}

// InFlight is how many requests there are, with the room that is kept.
func (c *conn3) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inFlight
}

// Close ends the connection, with all that it carries.
func (c *conn3) Close() error { return c.quic.CloseWithError(noError3, "") }

// RoundTrip sends a request for which room was kept.
func (c *conn3) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == http.NoBody {
		r.Body = nil // else its end would travel by itself
	} else if r.Header.Get("Expect") != "" {
		asked := make(chan struct{})
		once := sync.OnceFunc(func() { close(asked) })
		r.Body = &awaited{ReadCloser: r.Body, ctx: r.Context(), asked: asked}
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: once}))
	}
	resp, err := c.http.RoundTrip(r)
	if err != nil {
		var of3 *http3.Error
		c.done(!errors.As(err, &of3) && r.Context().Err() == nil) // of3 is about one request
		return nil, err
	}
	resp.Body = &body3{ReadCloser: resp.Body, done: sync.OnceFunc(func() { c.done(false) })}
	return resp, nil
}

// body3 tells the connection when a response is over.
type body3 struct {
	io.ReadCloser
	done func()
}

func (b *body3) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// awaited is a body that is not read before the origin asks for it, or has thought about it for as long as it may (RFC 9110,
// section 10.1.1).
type awaited struct {
	io.ReadCloser
	ctx   context.Context
	asked <-chan struct{}
	once  sync.Once
}

func (a *awaited) Read(b []byte) (int, error) {
	a.once.Do(func() {
		timer := time.NewTimer(continueWait)
		defer timer.Stop()
		select {
		case <-a.asked:
		case <-timer.C:
		case <-a.ctx.Done():
		}
	})
	return a.ReadCloser.Read(b)
}
