package dns

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// errNoTLS is what a Serve method gives that has no TLS configuration.
var errNoTLS = errors.New("dns: this transport needs a TLS configuration")

// Credentials gives the configuration for those who connect from now on: certificates, and what is asked of clients. The door
// sets what the transport asks for, and TLS 1.3 where no lowest version is set. It is called for every handshake; what
// it gave must not be changed afterwards, and the same certificates are best given as the same value.
type Credentials func() *tls.Config

// credentials gives each handshake the configuration of its time, completed for one transport.
type credentials struct {
	source Credentials
	alpn   []string
	last   atomic.Pointer[completed]
}

// completed is a configuration and what was made of it.
type completed struct{ from, to *tls.Config }

// tlsFor gives the configuration of a transport with these protocols (RFC 7301), the preferred one first.
func tlsFor(source Credentials, alpn ...string) (*tls.Config, error) {
	if source == nil {
		return nil, errNoTLS
	}
	c := &credentials{source: source, alpn: alpn}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			config, err := c.current()
			if err != nil || config.GetConfigForClient == nil {
				return config, err
			}
			chosen, err := config.GetConfigForClient(hello)
			if err != nil || chosen == nil {
				return config, err
			}
			return c.complete(chosen), nil
		},
	}, nil
}

// current gives the configuration of this moment. The same one is completed once: its session tickets stay good.
func (c *credentials) current() (*tls.Config, error) {
	from := c.source()
	if from == nil {
		return nil, errNoTLS
	}
	if last := c.last.Load(); last != nil && last.from == from {
		return last.to, nil
	}
	to := c.complete(from)
	c.last.Store(&completed{from, to})
	return to, nil
}

func (c *credentials) complete(from *tls.Config) *tls.Config {
	to := from.Clone()
	to.NextProtos = c.alpn
	if to.MinVersion == 0 {
		to.MinVersion = tls.VersionTLS13
	}
	return to
}

// ServeTLS is [Door.ServeTCP] with TLS (RFC 7858). A client whose handshake fails gets nothing more: never clear text.
func (d *Door) ServeTLS(ctx context.Context, l *net.TCPListener, source Credentials) error {
	config, err := tlsFor(source, "dot")
	if err != nil {
		_ = l.Close()
		return err
	}
	return d.serveStreams(ctx, l, TLS, func(s *serving, conn net.Conn, c Client) {
		if secure := s.handshake(conn, config); secure != nil {
			defer secure.Close()
			s.newStream(secure, c).serve()
		}
	})
}

// handshake gives the connection with TLS, or nil.
func (s *serving) handshake(conn net.Conn, config *tls.Config) *tls.Conn {
	secure := tls.Server(conn, config)
	ctx, cancel := context.WithTimeout(s.draining, s.d.o.Stall)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		s.d.stats.cutOff.Add(1)
		return nil
	}
	_ = conn.SetDeadline(time.Time{})
	return secure
}
