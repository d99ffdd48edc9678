package leaktest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/name"
)

// http2Conns speaks HTTP/2 with a door, over connections that end with it.
type http2Conns struct {
	*http.Transport
	mu    sync.Mutex
	ended bool
	conns []net.Conn
}

func http2To(d Door) *http2Conns {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	c := new(http2Conns)
	c.Transport = &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("HTTP/2 is spoken inside TLS")
		},
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := d.Dial(ctx, "h2")
			if err != nil {
				return nil, unreached(d, err)
			}
			if err := c.add(conn); err != nil {
				return nil, err
			}
			return conn, nil
		},
		Protocols:              protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: apiHead,
	}
	return c
}

// add notes a connection, and closes one that comes too late.
func (c *http2Conns) add(conn net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = conn.Close()
		return net.ErrClosed
	}
	c.conns = append(c.conns, conn)
	return nil
}

// close ends every connection: one that the transport keeps would be kept for ever.
func (c *http2Conns) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.CloseIdleConnections()
}

// http3Conn is one connection of HTTP/3.
type http3Conn struct {
	quic *quic.Conn
	http *http3.ClientConn
}

// dialHTTP3 makes one to a door.
func dialHTTP3(ctx context.Context, d Door) (*http3Conn, error) {
	conn, err := d.QUIC(ctx, http3.NextProtoH3)
	if err != nil {
		return nil, err
	}
	over := &http3.Transport{
		DisableCompression:     true,
		EnableDatagrams:        true,
		MaxResponseHeaderBytes: apiHead,
		Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
			return nil, errors.New("a connection to a door is made by who has the door")
		},
	}
	return &http3Conn{conn, over.NewClientConn(conn)}, nil
}

func (c *http3Conn) close() {
	_ = c.quic.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// asksTunnel is the request for a tunnel to t (RFC 9113, section 8.5; RFC 9114, section 4.4).
func asksTunnel(ctx context.Context, d Door, t name.Target, body io.ReadCloser) *http.Request {
	r := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: d.Address.String()}, Host: t.String(),
		Header: http.Header{"User-Agent": {""}}, Body: body, ContentLength: -1,
	}
	if said := d.Proof.basic(); said != "" {
		r.Header.Set("Proxy-Authorization", said)
	}
	return r.WithContext(ctx)
}

// byHTTP2 is a way in by a stream of HTTP/2.
func byHTTP2(ctx context.Context, d Door, t name.Target) (net.Conn, error) {
	over := http2To(d)
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx)) // of the whole stream
	near, far := net.Pipe()
	end := func() {
		cancel()
		_ = far.Close()
		over.close()
	}
	stop := context.AfterFunc(ctx, cancel)
	response, err := over.RoundTrip(asksTunnel(alive, d, t, far))
	if err != nil {
		end()
		return nil, err
	}
	if err := tunnelled(response.StatusCode, response.Body); err != nil {
		_ = response.Body.Close()
		end()
		return nil, err
	}
	if !stop() {
		_ = response.Body.Close()
		end()
		return nil, context.Cause(ctx)
	}
	go func() {
		defer end()
		defer response.Body.Close()
		_, _ = io.Copy(far, response.Body)
	}()
	return &stream{Conn: near, end: end}, nil
}

// byHTTP3 is a way in by a stream of HTTP/3.
func byHTTP3(ctx context.Context, d Door, t name.Target) (net.Conn, error) {
	c, err := dialHTTP3(ctx, d)
	if err != nil {
		return nil, unreached(d, err)
	}
	stop := context.AfterFunc(ctx, c.close)
	s, err := c.open(ctx, asksTunnel(ctx, d, t, nil))
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	near, far := net.Pipe()
	end := func() {
		_ = far.Close()
		c.close()
	}
	go func() {
		_, _ = io.Copy(s, far)
		_ = s.Close()
	}()
	go func() {
		defer end()
		_, _ = io.Copy(far, s)
	}()
	return &stream{Conn: near, end: end}, nil
}

// open makes a request on a stream of its own, which carries something else once there is an answer.
func (c *http3Conn) open(ctx context.Context, r *http.Request) (*http3.RequestStream, error) {
	s, err := c.http.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.SendRequestHeader(r); err != nil {
		return nil, err
	}
	response, err := s.ReadResponse()
	if err != nil {
		return nil, err
	}
	return s, tunnelled(response.StatusCode, response.Body)
}

// tunnelled says that there is a tunnel, or why not, by the status of a door and by what it says besides.
func tunnelled(status int, body io.Reader) error {
	switch {
	case status/100 == 2:
		return nil
	case status == http.StatusProxyAuthRequired:
		return errStranger
	}
	var said struct {
		Code string `json:"error"`
	}
	b, err := io.ReadAll(io.LimitReader(body, apiHead))
	if err != nil || json.Unmarshal(b, &said) != nil || said.Code == "" {
		return &refusedError{fmt.Sprintf("%d", status)}
	}
	return &refusedError{fmt.Sprintf("%d (%s)", status, said.Code)}
}

// stream is a tunnel inside of a connection of its own, which ends with it.
type stream struct {
	net.Conn
	end  func()
	once sync.Once
}

// Close ends the tunnel and its connection.
func (s *stream) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.end)
	return err
}
