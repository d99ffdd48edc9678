package dns

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"watertight/acme"
)

// errNoTLS is what a Serve method gives that has no TLS configuration.
var errNoTLS = errors.New("dns: this transport needs a TLS configuration")

// errStranger ends the handshake of a client that is not on the list and is asked for no certificate.
var errStranger = errors.New("dns: that client is not served")

// Credentials gives the configuration for those who connect from now on: certificates, and what is asked of clients. Where
// it demands certificates of clients that it verifies ([tls.RequireAndVerifyClientCert]), these prove who a client is, and it
// is served from any address; otherwise [Options.Clients] are served. The door sets what the transport asks for, and TLS
// 1.3 where no lowest version is set. It is called for every handshake; what it gave must not be changed afterwards, and
// the same certificates are best given as the same value: sessions are resumed as long as it stays the same.
type Credentials func() *tls.Config

// credentials gives each handshake the configuration of its time, completed for one transport.
type credentials struct {
	source  Credentials
	alpn    []string
	packets bool // of QUIC
	last    atomic.Pointer[completed]
}

// completed is a configuration and what was made of it.
type completed struct {
	from, to *tls.Config
	key      [32]byte // of its session tickets
	made     time.Time
}

// keyAge is for how long one key makes session tickets. It opens them as long again: TLS allows a week (RFC 8446, section
// 4.6.1).
const keyAge = 24 * time.Hour

// tlsFor gives the configuration of a transport with these protocols (RFC 7301), the preferred one first.
func (d *Door) tlsFor(source Credentials, p Proto, alpn ...string) (*credentials, *tls.Config, error) {
	if source == nil {
		return nil, nil, errNoTLS
	}
	c := &credentials{source: source, alpn: alpn, packets: p == QUIC || p == HTTP3}
	return c, &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: alpn,
		// Whether a client is served is decided by the very configuration of its handshake: another may be in force a moment later.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			config, err := c.choose(hello)
			if err == nil && !acme.IsAnswer(config) && !demanding(config) && !d.serves(clientOf(hello.Conn.RemoteAddr(), p)) {
				return nil, errStranger
			}
			return config, err
		},
	}, nil
}

// choose gives the configuration of one handshake.
func (c *credentials) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	config, err := c.current()
	if err != nil || config.GetConfigForClient == nil {
		return config, err
	}
	chosen, err := config.GetConfigForClient(hello)
	if err != nil || chosen == nil {
		return config, err
	}
	if acme.IsAnswer(chosen) { // it is no client, and the connection carries nothing
		if c.packets {
			return nil, errStranger
		}
		return chosen, nil
	}
	return c.complete(chosen, nil), nil
}

// current gives the configuration of this moment. The same one is completed once a day: its session tickets stay good for
// two at most.
func (c *credentials) current() (*tls.Config, error) {
	from := c.source()
	if from == nil {
		return nil, errNoTLS
	}
	last := c.last.Load()
	same := last != nil && last.from == from
	if same && time.Since(last.made) < keyAge {
		return last.to, nil
	}
	next := &completed{from: from, made: time.Now()}
	_, _ = rand.Read(next.key[:]) // it never fails
	keys := [][32]byte{next.key}
	if same && time.Since(last.made) < 2*keyAge {
		keys = append(keys, last.key)
	}
	next.to = c.complete(from, keys)
	c.last.Store(next)
	return next.to, nil
}

// complete makes a configuration of a transport. Its tickets are its own: a session that began under other certificates, or
// with another authority for clients, is not resumed.
func (c *credentials) complete(from *tls.Config, keys [][32]byte) *tls.Config {
	to := from.Clone()
	to.NextProtos = c.alpn
	if to.MinVersion == 0 {
		to.MinVersion = tls.VersionTLS13
	}
	if keys != nil {
		to.SetSessionTicketKeys(keys)
	}
	return to
}

// demanding says whether a configuration wants each client to prove who it is.
func demanding(c *tls.Config) bool { return c.ClientAuth == tls.RequireAndVerifyClientCert }

// demands says whether certificates are demanded now: then nobody is turned away for an address.
func (c *credentials) demands() bool {
	config, err := c.current()
	return err == nil && demanding(config)
}

// ServeTLS is [Door.ServeTCP] with TLS (RFC 7858). A client whose handshake fails gets nothing more: never clear text.
func (d *Door) ServeTLS(ctx context.Context, l *net.TCPListener, source Credentials) error {
	own, config, err := d.tlsFor(source, TLS, "dot")
	if err != nil {
		_ = l.Close()
		return err
	}
	return d.serveStreams(ctx, l, TLS, own.demands, func(s *serving, conn net.Conn, c Client) {
		if secure := s.handshake(conn, config); secure != nil {
			defer secure.Close()
			s.newStream(secure, c).serve()
		}
	})
}

// handshakeFailed counts a client that did not get as far as a question.
func (d *Door) handshakeFailed() {
	d.stats.handshakes.Add(1)
	d.stats.cutOff.Add(1)
}

// handshake gives the connection with TLS, or nil.
func (s *serving) handshake(conn net.Conn, config *tls.Config) *tls.Conn {
	secure := tls.Server(conn, config)
	ctx, cancel := context.WithTimeout(s.draining, s.d.o.Stall)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		s.d.handshakeFailed()
		return nil
	}
	if secure.ConnectionState().NegotiatedProtocol == acme.Protocol {
		_ = secure.Close() // the validation of a certificate ends here, and nobody was asked who he is
		return nil
	}
	_ = conn.SetDeadline(time.Time{})
	return secure
}
