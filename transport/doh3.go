package transport

import (
	"context"
	"crypto/tls"
	"errors"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/dnswire"
)

// doh3 opens connections of DNS over HTTPS over HTTP/3 (RFC 9114).
type doh3 struct {
	*secure
	dohRequests
}

func newDoH3(c *Client) (opener, error) { return newHTTP3(c) }

func newHTTP3(c *Client) (*doh3, error) {
	s, err := newSecure(c, protocol{
		alpn: []string{http3.NextProtoH3}, name: "HTTP/3",
		uniStreams: 3, // control, and QPACK's two (RFC 9114, section 6.2)
		noError:    0x100,
	})
	if err != nil {
		return nil, err
	}
	requests, err := newDoHRequests(c)
	return &doh3{s, requests}, err
}

func (d *doh3) open(ctx context.Context) (link, *Failure) { return d.openBy(ctx, d.tryQUIC) }

// openBy connects by try.
func (d *doh3) openBy(ctx context.Context, try tryQUIC) (link, *Failure) {
	conn, fail := d.connectQUIC(ctx, try)
	if fail != nil {
		return nil, fail
	}
	// The transport dials nothing: it is handed the one connection.
	transport := &http3.Transport{
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
			return nil, errors.New("a resolver's connection is made by the channel alone")
		},
	}
	return &doh3Link{dohRequests: d.dohRequests, conn: conn, http: transport.NewClientConn(conn.Conn)}, nil
}

// doh3Link is one HTTP/3 connection of DNS over HTTPS.
type doh3Link struct {
	dohRequests
	conn *quicConn
	http *http3.ClientConn
}

func (l *doh3Link) done() <-chan struct{} { return l.conn.Context().Done() }

// room is true: a question over the far side's limit of streams waits for one that ends.
func (l *doh3Link) room() bool { return true }

func (l *doh3Link) close() { _ = l.conn.Close() }

func (l *doh3Link) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	return l.ask(ctx, l.http, q)
}
