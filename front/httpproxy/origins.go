package httpproxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/name"
	"watertight/route"
)

const (
	// originIdle is how long a connection to an origin waits for the client's next request. It is short: bursts use
	// it again, and a connection that the origin is about to close does not swallow a request that cannot be repeated.
	originIdle = 2 * time.Second
	// continueWait is how long the origin may think about an Expect: 100-continue before the body is asked for.
	continueWait = 2 * time.Second
	// maxResponseHead bounds the head of a response, in octets.
	maxResponseHead = 256 << 10
)

// origins are the connections to origins of one client connection. They are shared with no other client, since
// another one may have another channel; and they are not used across a change of routes, nor for another identity.
type origins struct {
	transport *http.Transport
	epoch     uint64
	identity  client.Identity
}

// errNoTLS is what a bug would get: the door fetches http:// only.
var errNoTLS = errors.New("httpproxy: the door does not speak TLS to origins")

// get gives the transport for the routes in force and the identity of the request.
func (o *origins) get(d *Door, from netip.AddrPort, identity client.Identity) *http.Transport {
	now := d.epoch.Load()
	if o.transport != nil && o.epoch == now && o.identity == identity {
		return o.transport
	}
	o.close()
	o.epoch, o.identity = now, identity
	o.transport = &http.Transport{
		Proxy: nil,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			t, err := name.Parse(addr)
			if err != nil {
				return nil, err
			}
			conn, err := d.dialPlain(ctx, from, identity, t)
			if err != nil {
				return nil, err
			}
			return &originConn{Conn: conn}, nil
		},
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return nil, errNoTLS },
		DisableCompression:     true,
		MaxIdleConns:           8,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        originIdle,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: maxResponseHead,
		Protocols:              new(http.Protocols),
	}
	o.transport.Protocols.SetHTTP1(true)
	return o.transport
}

// originConn tells the exchange that uses it when reading from the origin fails: net/http waits for the rest of the
// request's body then, which a client that waits for the answer never sends.
type originConn struct {
	net.Conn
	gone atomic.Pointer[func()] // for the last exchange that has a body
}

func (c *originConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		if gone := c.gone.Load(); gone != nil {
			(*gone)()
		}
	}
	return n, err
}

// close ends the connections that no exchange uses, and dials that no exchange waits for.
func (o *origins) close() {
	if o.transport != nil {
		o.transport.CloseIdleConnections()
	}
}

// dialPlain connects to an origin for a request in clear text.
func (d *Door) dialPlain(ctx context.Context, from netip.AddrPort, identity client.Identity, t name.Target) (net.Conn, error) {
	return d.o.Dialer.Dial(ctx, route.Request{Door: event.DoorHTTP, Client: from, Identity: identity, Target: t, PlainHTTP: true})
}

// sharedOrigins are those of a connection whose requests are served at once.
type sharedOrigins struct {
	mu sync.Mutex
	of origins
}

func (o *sharedOrigins) get(d *Door, from netip.AddrPort, identity client.Identity) *http.Transport {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.of.get(d, from, identity)
}

func (o *sharedOrigins) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.of.close()
}
