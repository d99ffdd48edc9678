package hop

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/clock"
	"watertight/connect"
	"watertight/fault"
	"watertight/masque"
	"watertight/name"
	"watertight/wire"
)

// Times and sizes of a connection to an HTTP/3 proxy.
const (
	// h3Silence is after how long without a sign of the proxy a connection is dead, and h3KeepAlive how often one is asked for.
	h3Silence   = 30 * time.Second
	h3KeepAlive = 10 * time.Second
	// h3Patience is after how long without a sign of the proxy a request is given up on this connection and asked on another.
	// What the connection carries already goes on: a network may come back.
	h3Patience = 4 * time.Second
	// h3Credit is how long a place for one more stream is waited for, before another connection is made.
	h3Credit = time.Second
	// h3Window is how much is held of one tunnel whose reader is slow, in octets, and h3Initial how much at first. What is held
	// of all of them is no more than that together, so that none of them stops another.
	h3Window  = 1 << 20
	h3Initial = 1 << 18
	// h3Interims bounds how many interim responses may come before the final one.
	h3Interims = 8
)

// Codes of HTTP/3 (RFC 9114, section 8.1).
const (
	h3NoError         = 0x100
	h3RequestRejected = 0x10b
	h3Cancelled       = 0x10c
	h3ConnectError    = 0x10f
)

// h3Conn is one connection of HTTP/3 to a proxy, with the flow of datagrams that carries it and nothing else.
type h3Conn struct {
	l         *link
	conn      *quic.Conn
	http      *http3.ClientConn
	transport *quic.Transport
	flow      net.Conn
}

// newH3Conn makes sure that the other end of a flow is the proxy, and speaks HTTP/3 with it. It closes the flow if it fails. No
// request travels before the handshake is complete (no 0-RTT), and no token links the connection to another.
func newH3Conn(ctx context.Context, l *link, flow net.Conn, peer *net.UDPAddr, size uint16) (*h3Conn, error) {
	var behind *clock.Behind
	if err := l.trusted.CheckClock(); errors.As(err, &behind) {
		flow.Close()
		f := fault.New(fault.HopRefused, "the certificate of "+l.label+" cannot be checked: "+behind.Error(), err)
		f.Hint = behind.Hint
		return nil, f
	}
	transport := &quic.Transport{Conn: wire.PacketConn(flow, peer)}
	conn, err := transport.Dial(ctx, peer, l.trusted.Config(), &quic.Config{
		HandshakeIdleTimeout:           HandshakeLimit, // ctx may end it before
		MaxIdleTimeout:                 h3Silence,
		KeepAlivePeriod:                h3KeepAlive,
		MaxIncomingStreams:             -1, // a proxy opens none
		MaxIncomingUniStreams:          3,  // control, and QPACK's two (RFC 9114, section 6.2)
		InitialStreamReceiveWindow:     h3Initial,
		MaxStreamReceiveWindow:         h3Window,
		InitialConnectionReceiveWindow: h3Streams * h3Window,
		MaxConnectionReceiveWindow:     h3Streams * h3Window,
		EnableDatagrams:                true,
		InitialPacketSize:              size,
	})
	if err != nil {
		_ = transport.Close()
		_ = flow.Close()
		return nil, l.noQUIC(ctx, err)
	}
	// The transport dials nothing: it is handed the one connection.
	over := &http3.Transport{
		EnableDatagrams:        true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: connect.MaxHead,
		Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
			return nil, errors.New("a connection to a proxy is made by the channel alone")
		},
	}
	return &h3Conn{l: l, conn: conn, http: over.NewClientConn(conn), transport: transport, flow: flow}, nil
}

// noQUIC says why a handshake of QUIC failed.
func (l *link) noQUIC(ctx context.Context, err error) error {
	const alert = 0x100 // that of TLS is added to it (RFC 9001, section 4.8)
	var (
		hop     *fault.Error
		version *quic.VersionNegotiationError
		said    *quic.TransportError
	)
	switch {
	case errors.As(err, &hop): // the flow broke, and whoever carried it says why
		return hop
	case errors.Is(err, syscall.ECONNREFUSED):
		return fault.New(fault.ConnectRefused, "nobody takes datagrams there", err)
	case errors.As(err, &version):
		return fault.New(fault.HopRefused, l.label+" does not speak version 1 of QUIC", err)
	case errors.As(err, &said) && said.Remote && said.ErrorCode == alert+120: // no_application_protocol
		f := fault.New(fault.HopRefused, l.label+" does not speak HTTP/3", err)
		f.Hint = "https:// is for HTTP/1.1 over TLS: write the scheme that the proxy speaks"
		return f
	case errors.As(err, &said) && said.Remote && (said.ErrorCode == alert+116 || said.ErrorCode == alert+42): // certificate_required, bad_certificate
		return l.unwelcome(err)
	case errors.As(err, &said) && !said.ErrorCode.IsCryptoError():
		return fault.New(fault.HopRefused, l.label+" ended the connection during the handshake", err)
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
		return l.gaveUp(ctx)
	case ctx.Err() != nil || isTimeout(err):
		return fault.New(fault.ConnectTimeout, "no answer in time", err)
	}
	return l.unproved(err)
}

func (c *h3Conn) take(tunnels int) bool { return tunnels < h3Streams }

func (c *h3Conn) dead() <-chan struct{} { return c.conn.Context().Done() }

// release ends the connection and its flow.
func (c *h3Conn) release() {
	_ = c.conn.CloseWithError(h3NoError, "")
	_ = c.transport.Close()
	_ = c.flow.Close() // the transport leaves it to us
}

// request is what both kinds of tunnels are asked for with.
func (c *h3Conn) request(host string) *http.Request {
	r := &http.Request{Method: http.MethodConnect, Host: host, URL: &url.URL{Scheme: "https", Host: host}, Header: http.Header{"User-Agent": {""}}}
	if c.l.credentials != "" {
		r.Header.Set("Proxy-Authorization", c.l.credentials)
	}
	return r
}

// ask sends a request on a stream of its own and waits for the response to be 2xx. Failing, it leaves nothing behind; what the
// proxy never looked at is an [*unasked], and all else a [*fault.Error].
func (c *h3Conn) ask(ctx context.Context, r *http.Request, t name.Target) (*http3.RequestStream, error) {
	l := c.l
	stream, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	l.waiting(ctx, true)
	asking, stop := context.WithTimeout(ctx, HandshakeLimit)
	defer stop()
	unwatch := context.AfterFunc(asking, func() { _ = stream.SetDeadline(longAgo) })
	var silent atomic.Bool
	heard := c.conn.ConnectionStats().PacketsReceived
	patience := time.AfterFunc(h3Patience, func() {
		if c.conn.ConnectionStats().PacketsReceived == heard {
			silent.Store(true)
			_ = stream.SetDeadline(longAgo)
		}
	})
	err = stream.SendRequestHeader(r)
	var resp *http.Response
	for range h3Interims {
		if err != nil {
			break
		}
		if resp, err = stream.ReadResponse(); err == nil && resp.StatusCode/100 != 1 {
			break
		}
	}
	inTime := unwatch()
	patience.Stop()
	fail := func(err error) (*http3.RequestStream, error) {
		stream.CancelRead(h3Cancelled)
		stream.CancelWrite(h3Cancelled)
		return nil, err
	}
	switch {
	case !inTime && errors.Is(ctx.Err(), context.Canceled):
		return fail(l.gaveUp(ctx))
	case err != nil && silent.Load():
		return fail(&unasked{err: l.lost(context.DeadlineExceeded, false)})
	case !inTime, isTimeout(err) && c.conn.Context().Err() == nil:
		return fail(l.lost(context.DeadlineExceeded, true))
	case err != nil:
		return fail(c.broken(err))
	}
	if said := connect.ResponseOf(resp.StatusCode, resp.Header.Values("Proxy-Status")); !said.OK() {
		return fail(l.refusedHTTP(said, t))
	}
	if resp.ContentLength > 0 || resp.Header.Get("Content-Length") != "" {
		return fail(l.nonsense(errors.New("a length of a tunnel"))) // RFC 9110, section 9.3.6
	}
	return stream, nil
}

// open opens a stream, if there is a place for one within a moment.
func (c *h3Conn) open(ctx context.Context) (*http3.RequestStream, error) {
	c.l.waiting(ctx, false)
	opening, stop := context.WithTimeout(ctx, h3Credit)
	defer stop()
	stream, err := c.http.OpenRequestStream(opening)
	switch {
	case err == nil:
		return stream, nil
	case ctx.Err() != nil:
		return nil, c.l.gaveUp(ctx)
	case opening.Err() != nil && c.conn.Context().Err() == nil:
		return nil, &unasked{err: fault.New(fault.Limit, c.l.label+" takes no more tunnels on a connection", err), full: true}
	}
	return nil, &unasked{err: c.ended(err)}
}

// ended is a connection that broke, or that the proxy ended.
func (c *h3Conn) ended(err error) error {
	var hop *fault.Error
	if cause := context.Cause(c.conn.Context()); errors.As(cause, &hop) {
		return hop // the flow broke, and whoever carried it says why
	}
	var remote *quic.TransportError
	if errors.As(err, &remote) && remote.Remote && remote.ErrorCode.IsCryptoError() {
		return c.l.unwelcome(err) // with TLS 1.3 it says only now what it thinks of our certificate
	}
	// What the proxy says of its reasons is its own text, and shown to nobody.
	return fault.New(fault.HopRefused, c.l.label+" ended the connection instead of answering", errors.New("the connection of HTTP/3 ended"))
}

// broken tells what became of a request that got no response.
func (c *h3Conn) broken(err error) error {
	var (
		of3    *http3.Error
		ofQUIC *quic.TransportError
	)
	switch {
	case c.conn.Context().Err() != nil, errors.As(err, &ofQUIC): // a stream may hear of it first
		return &unasked{err: c.ended(err)}
	case !errors.As(err, &of3):
		return c.l.nonsense(err)
	}
	switch of3.ErrorCode {
	case h3RequestRejected: // it was not looked at (RFC 9114, section 4.1.1)
		return &unasked{err: fault.New(fault.HopRefused, c.l.label+" takes no more tunnels", err), full: true}
	case h3ConnectError:
		return fault.New(fault.ConnectUnreachable, c.l.label+" cannot reach the destination", err)
	}
	return fault.New(fault.HopRefused, fmt.Sprintf("%s broke off the request, with the code %#x of HTTP/3", c.l.label, uint64(of3.ErrorCode)), err)
}

// tunnel asks the proxy for a tunnel to t (RFC 9114, section 4.4).
func (c *h3Conn) tunnel(ctx context.Context, t name.Target, done func()) (net.Conn, error) {
	stream, err := c.ask(ctx, c.request(t.String()), t)
	if err != nil {
		return nil, err
	}
	return &h3Stream{c: c, stream: stream, done: done}, nil
}

// packets asks the proxy for a flow of datagrams to t (RFC 9298, section 3.4).
func (c *h3Conn) packets(ctx context.Context, t name.Target, done func()) (net.Conn, error) {
	l := c.l
	l.waiting(ctx, false)
	select {
	case <-c.http.ReceivedSettings():
	case <-c.conn.Context().Done():
		return nil, &unasked{err: c.ended(context.Cause(c.conn.Context()))}
	case <-ctx.Done():
		return nil, l.gaveUp(ctx)
	}
	// Both have to be known before the request (RFC 9298, section 3.4; RFC 9297, section 2.1.1).
	if s := c.http.Settings(); !s.EnableExtendedConnect || !s.EnableDatagrams {
		return nil, l.noDatagrams("it does not speak connect-udp", errAnswered)
	}
	r := c.request(l.at.String())
	path, err := url.PathUnescape(masque.Path(t))
	if err != nil {
		return nil, fault.New(fault.Internal, "a target that no path can be made of", err)
	}
	r.Proto = masque.Protocol
	r.URL.Path, r.URL.RawPath = path, masque.Path(t)
	r.Header.Set(masque.CapsuleProtocol, masque.CapsuleProtocolTrue)
	stream, err := c.ask(ctx, r, t)
	if err != nil {
		return nil, err
	}
	return newH3Flow(c, stream, done), nil
}
