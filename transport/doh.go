package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"watertight/dnswire"
	"watertight/fault"
)

const mediaType = "application/dns-message"

// doh opens connections of DNS over HTTPS (RFC 8484), over HTTP/2 alone.
type doh struct {
	*secure
	url *url.URL
}

func newDoH(c *Client) (opener, error) {
	s, err := newSecure(c, protocol{alpn: "h2", name: "HTTP/2", required: true})
	if err != nil {
		return nil, err
	}
	u, err := url.Parse("https://" + c.up.Host + c.up.Path)
	if err != nil {
		return nil, err
	}
	return &doh{s, u}, nil
}

func (d *doh) open(ctx context.Context) (link, *Failure) {
	conn, fail := d.connect(ctx)
	if fail != nil {
		return nil, fail
	}
	l, fail := newDoHLink(ctx, d.c, d.url, conn)
	if fail != nil { // a nil *dohLink would be a link
		return nil, fail
	}
	return l, nil
}

// dohLink is one HTTP/2 connection of DNS over HTTPS.
type dohLink struct {
	c     *Client
	url   *url.URL
	conn  *http.ClientConn
	ended chan struct{}
	once  sync.Once
}

// newDoHLink speaks HTTP/2 over a connection that is authenticated already. The transport dials nothing: it is handed
// that one connection.
func newDoHLink(ctx context.Context, c *Client, to *url.URL, conn *tls.Conn) (*dohLink, *Failure) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	given := conn
	transport := &http.Transport{
		Proxy:                  nil,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 16 << 10,
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
	cc, err := transport.NewClientConn(ctx, "https", c.up.Addrs[0].String())
	if err != nil {
		conn.Close()
		return nil, c.unreachable("does not speak HTTP/2", err)
	}
	l := &dohLink{c: c, url: to, conn: cc, ended: make(chan struct{})}
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

func (l *dohLink) done() <-chan struct{} { return l.ended }

func (l *dohLink) room() bool { return l.conn.Available() > 0 }

func (l *dohLink) close() {
	l.conn.Close()
	l.once.Do(func() { close(l.ended) })
}

// exchange posts a question, with ID 0 (RFC 8484, section 4.1), and reads the reply.
func (l *dohLink) exchange(ctx context.Context, q dnswire.Question) (*dnswire.Answer, *Failure) {
	msg, err := dnswire.Query(q, 0, dnswire.PadQuery)
	if err != nil {
		return nil, badQuestion(q, err)
	}
	resp, err := l.conn.RoundTrip(l.request(ctx, msg))
	if err != nil {
		return nil, l.lost(ctx, err)
	}
	defer resp.Body.Close()
	if fail := l.check(resp); fail != nil {
		return nil, fail
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, dnswire.MaxMessage+1))
	if err != nil {
		return nil, l.lost(ctx, err)
	}
	a, err := dnswire.ParseAnswer(body, q, 0)
	if err != nil {
		return nil, l.c.malformed(err)
	}
	if age := age(resp.Header); age > 0 {
		a = a.Aged(age)
	}
	return a, nil
}

// request says as little as it can: no user agent, no cookie, no language (RFC 8484, section 8.2).
func (l *dohLink) request(ctx context.Context, msg []byte) *http.Request {
	r := &http.Request{
		Method: http.MethodPost,
		URL:    l.url,
		Host:   l.url.Host,
		Header: http.Header{
			"Accept":       {mediaType},
			"Content-Type": {mediaType},
			"User-Agent":   {""}, // none at all
		},
		ContentLength: int64(len(msg)),
		Body:          io.NopCloser(bytes.NewReader(msg)),
	}
	return r.WithContext(ctx)
}

func (l *dohLink) lost(ctx context.Context, err error) *Failure {
	if ctx.Err() != nil {
		return l.c.timeout(err)
	}
	return l.c.broke(err)
}

// check refuses what is not a DNS message. A redirect names a server that nobody configured (RFC 8484, section 3).
func (l *dohLink) check(resp *http.Response) *Failure {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return l.c.unreachable("redirects to another place (HTTP "+strconv.Itoa(resp.StatusCode)+"), and redirects are never followed", nil)
	case resp.StatusCode != http.StatusOK:
		return l.c.unreachable("answered HTTP "+strconv.Itoa(resp.StatusCode), nil)
	}
	got := resp.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(got); err != nil || media != mediaType {
		if got == "" {
			got = "something"
		}
		return l.c.unreachable("answered "+fault.OneLine(got)+" instead of a DNS message", nil)
	}
	return nil
}

// age is how long an HTTP cache kept the response (RFC 9111, section 5.1); TTLs shrink by it (RFC 8484, section 5.1).
func age(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Age"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
