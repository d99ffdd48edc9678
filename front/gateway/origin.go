package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"watertight/fault"
	"watertight/name"
	"watertight/route"
	"watertight/upstream"
)

const (
	connectLimit    = 45 * time.Second // for one connection to an origin, handshake included
	handshakeLimit  = 15 * time.Second
	continueWait    = 2 * time.Second // how long an origin may think about Expect: 100-continue before the body is asked for
	maxResponseHead = 256 << 10       // octets
	originPing      = 15 * time.Second
)

// origin is one origin of one entry.
type origin struct {
	entry   *Entry
	target  name.Target
	tickets tls.ClientSessionCache
	// tickets3 are those of HTTP/3: one is never shown to who gave the other.
	tickets3 tls.ClientSessionCache
	known    *known
}

func newOrigin(m match, k *known) *origin {
	return &origin{entry: m.entry, target: m.target, tickets: tls.NewLRUClientSessionCache(4), tickets3: tls.NewLRUClientSessionCache(4), known: k}
}

// connect gives an authenticated connection to the origin that speaks one of protocols (RFC 7301), with Encrypted Client
// Hello (RFC 9849) where its own records have keys. The error is a [*fault.Error].
func (o *origin) connect(ctx context.Context, r route.Request, protocols ...string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	f, err := o.find(ctx, r)
	if err != nil {
		return nil, err
	}
	defer f.drop()
	conn, _, err := o.connectTo(ctx, r, f, protocols)
	return conn, err
}

// connectTo connects to the first of the servers that is there and proves to be the origin, and says which that was.
func (o *origin) connectTo(ctx context.Context, r route.Request, f *found, protocols []string) (*tls.Conn, place, error) {
	var first error
	for _, p := range f.places {
		if !p.tcp {
			continue
		}
		conn, err := o.connectAt(ctx, r, p, f, protocols)
		if err == nil {
			return conn, p, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		first = o.hint("speaks HTTP/3 alone", "send it through a channel that carries datagrams, without `http3: off`", nil)
	}
	return nil, place{}, first
}

// connectAt connects to one server.
func (o *origin) connectAt(ctx context.Context, r route.Request, p place, f *found, protocols []string) (*tls.Conn, error) {
	raw, err, ok := f.take(p.at, o.target)
	if !ok {
		raw, err = o.entry.Way.Dial(ctx, r, p.at)
	}
	if err != nil {
		return nil, err
	}
	conn, err := o.handshake(ctx, raw, p.keys, protocols)
	var rejected *tls.ECHRejectionError
	if !errors.As(err, &rejected) {
		return conn, o.told(ctx, err)
	}
	// The server has proved that it may reject the keys, and may send others: they are tried once (RFC 9849, section 6.1.6).
	if upstream.CheckECH(rejected.RetryConfigList) == nil {
		if raw, err = o.entry.Way.Dial(ctx, r, p.at); err != nil {
			return nil, err
		}
		conn, err = o.handshake(ctx, raw, rejected.RetryConfigList, protocols)
	}
	return conn, o.told(ctx, err)
}

// handshake makes raw a connection of TLS, or closes it.
func (o *origin) handshake(ctx context.Context, raw net.Conn, keys []byte, protocols []string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn := tls.Client(raw, o.config(keys, protocols, o.tickets))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// config is by what a server proves that it is the origin, whatever led to it.
func (o *origin) config(keys []byte, protocols []string, tickets tls.ClientSessionCache) *tls.Config {
	config := &tls.Config{
		MinVersion:                     tls.VersionTLS12,
		ServerName:                     o.target.Host().String(),
		RootCAs:                        o.entry.Roots,
		NextProtos:                     protocols,
		ClientSessionCache:             tickets,
		EncryptedClientHelloConfigList: keys,
	}
	if keys != nil {
		config.MinVersion = tls.VersionTLS13
	}
	return config
}

// told makes a fault of what went wrong in a handshake, and nil of nil.
func (o *origin) told(ctx context.Context, err error) error {
	var (
		rejected  *tls.ECHRejectionError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		f         *fault.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.As(err, &rejected):
		return o.hint("rejected Encrypted Client Hello, and is not asked without", "its own record asks for it: try again when the record has changed", err)
	case errors.As(err, &host):
		return o.hint("showed a certificate that does not cover "+fault.OneLine(host.Host), "check the name in `to`", err)
	case errors.As(err, &authority):
		return o.hint("showed a certificate of an unknown authority", "give the authority's certificate as `ca` of the entry", err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return o.hint("showed a certificate that is expired or not valid yet", "check this host's clock; if it is right, the origin's operator has to renew", err)
	case errors.As(err, &record):
		return o.hint("does not speak TLS on that port", "check the port", err)
	case ctx.Err() != nil, isTimeout(err):
		t := fault.New(fault.ConnectTimeout, o.target.Host().String()+" did not complete the TLS handshake in time", err)
		t.Target, t.Channel = o.target.String(), o.entry.Channel
		return t
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return o.failure("closed the connection during the TLS handshake", err)
	}
	return o.hint("failed in the TLS handshake", "see if another client reaches it, with TLS 1.2 or later", err)
}

// watched ends the reading of a request's body where the origin has ended the connection, of HTTP/1.1: net/http waits for the
// rest of the body then, which a client that waits for the answer never sends.
type watched struct {
	net.Conn
	user atomic.Pointer[clientBody] // of the last request
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil {
		w.user.Load().leave()
	}
	return n, err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// failure is the fault of an origin that was reached and did not do its part.
func (o *origin) failure(what string, cause error) *fault.Error {
	f := fault.New(fault.OriginFailed, o.target.Host().String()+" "+what, cause)
	f.Target, f.Channel = o.target.String(), o.entry.Channel
	return f
}

func (o *origin) hint(what, hint string, cause error) *fault.Error {
	f := o.failure(what, cause)
	f.Hint = hint
	return f
}

// label stands where net/http wants an address; it is literal so that nothing could ever be looked up.
const label = "192.0.2.1:443"

// clientConn speaks HTTP over a connection that is authenticated already: what TLS agreed on. The transport dials nothing, it
// is handed that one connection.
// under is that connection, where HTTP/1.1 is spoken; nil otherwise.
func clientConn(ctx context.Context, given *tls.Conn) (cc *http.ClientConn, under *watched, err error) {
	var conn net.Conn = given // net/http knows HTTP/2 by the type
	if given.ConnectionState().NegotiatedProtocol != "h2" {
		under = &watched{Conn: given}
		conn = under
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	transport := &http.Transport{
		Proxy:                  nil,
		Protocols:              protocols,
		DisableCompression:     true, // what the origin encodes, the client decodes
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: maxResponseHead,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("gateway: an origin is never reached in clear")
		},
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			once := conn
			conn = nil
			if once == nil {
				return nil, net.ErrClosed
			}
			return once, nil
		},
		HTTP2: &http.HTTP2Config{SendPingTimeout: originPing, PingTimeout: pingTimeout},
	}
	if cc, err = transport.NewClientConn(ctx, "https", label); err != nil {
		_ = given.Close()
		return nil, nil, err
	}
	return cc, under, nil
}

// brokeOff says whether an error means that a connection ended.
func brokeOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "connection reset")
}
