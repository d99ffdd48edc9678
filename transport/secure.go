package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"

	"github.com/quic-go/quic-go"

	"watertight/stamp"
	"watertight/trust"
)

var errHash = errors.New("no certificate of the chain has a hash of the stamp")

// protocol is what is spoken under TLS.
type protocol struct {
	alpn     []string // its identifications (RFC 7301), the one that is liked best first
	name     string   // what messages call it
	optional bool     // a server need not choose one

	uniStreams int64                     // of QUIC: how many the server may open; -1 for none
	noError    quic.ApplicationErrorCode // of QUIC: the end of a connection with which nothing is wrong
}

// secure makes authenticated connections to an upstream, for every kind that runs over TLS. It is the strict profile
// only (RFC 8310, section 5).
type secure struct {
	c       *Client
	speaks  protocol
	config  *tls.Config // without a session cache
	tickets *trust.Tickets
}

func newSecure(c *Client, speaks protocol) (*secure, error) {
	if c.up.ServerName == "" {
		return nil, errors.New("no name for its certificate to cover")
	}
	roots, err := c.up.Roots()
	if err != nil {
		return nil, err
	}
	s := &secure{c: c, speaks: speaks, tickets: trust.NewTickets()}
	s.config = &tls.Config{
		MinVersion:       tls.VersionTLS13,
		ServerName:       c.up.ServerName,
		RootCAs:          roots,
		NextProtos:       speaks.alpn,
		VerifyConnection: s.verify,
		Time:             c.now,
	}
	return s, nil
}

// fresh gives the configuration of one new connection: the only way to get one.
func (s *secure) fresh() *tls.Config {
	config := s.config.Clone()
	config.ClientSessionCache = s.tickets.Current()
	return config
}

func (s *secure) forget() { s.tickets.Forget() }

// verify checks the hashes of a stamp and the pins. crypto/tls calls it on every connection, resumed ones too, after
// the chain and the name are verified. A pin may be of any certificate of a verified chain (RFC 7858, section 4.2).
func (s *secure) verify(cs tls.ConnectionState) error {
	if hashes := s.c.up.Hashes; len(hashes) > 0 {
		named := stamp.Stamp{Hashes: hashes}
		if !slices.ContainsFunc(cs.VerifiedChains, named.MatchChain) {
			return errHash
		}
	}
	if len(s.c.up.Pins) > 0 && !trust.Pinned(s.c.up.Pins, cs.VerifiedChains) {
		return trust.ErrPin
	}
	if len(cs.VerifiedChains) > 0 {
		s.c.options.Floor.Raise(cs.VerifiedChains[0][0].NotBefore, s.c.now()) // its authority signed it then or later
	}
	return nil
}

// connect gives an authenticated connection to the upstream.
func (s *secure) connect(ctx context.Context) (*tls.Conn, *Failure) {
	return reach(ctx, s.c, func(ctx context.Context, to netip.AddrPort) (*tls.Conn, *Failure) {
		return hidden(ctx, s, to, s.handshake)
	})
}

func (s *secure) handshake(ctx context.Context, to netip.AddrPort, config *tls.Config) (*tls.Conn, *Failure) {
	raw, fail := s.c.dial(ctx, to)
	if fail != nil {
		return nil, fail
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		fail := s.rejected(err, func() error { return s.verify(conn.ConnectionState()) })
		if fail == nil {
			fail = s.failure(ctx, err)
		}
		fail.spoke = ctx.Err() == nil && !isTimeout(err)
		return nil, fail
	}
	if !s.speaks.optional && conn.ConnectionState().NegotiatedProtocol == "" {
		conn.Close()
		return nil, s.c.unreachable("does not speak "+s.speaks.name, nil)
	}
	return conn, nil
}

// failure tells a server that proved the wrong thing from a connection that ended.
func (s *secure) failure(ctx context.Context, err error) *Failure {
	var host x509.HostnameError
	switch flaw := trust.FlawOf(err); {
	case errors.Is(err, errHash):
		return s.c.untrusted("none of its certificates has a hash of the stamp", "take a fresh stamp from the resolver's operator", err)
	case flaw == trust.WrongPin:
		return s.c.untrusted("none of its keys is pinned", "compare `pins` with what the resolver's operator publishes", err)
	case errors.As(err, &host) && host.Host != s.c.up.ServerName: // the public name of ECH
		return s.c.untrusted("it rejected Encrypted Client Hello, and its certificate does not cover "+host.Host, s.c.freshKeys(), err)
	case flaw == trust.WrongName:
		return s.c.untrusted("its certificate does not cover "+s.c.up.ServerName, "check the name in the URL, or give `name:`", err)
	case flaw == trust.Authority:
		return s.c.untrusted("its certificate is from an unknown authority", "give the authority's certificate with `ca:` or `--ca`", err)
	case flaw == trust.Validity:
		return s.c.untrusted("its certificate is expired or not valid yet", "check this host's clock; if it is right, the resolver's operator has to renew", err)
	case flaw == trust.NotTLS:
		return s.c.untrusted("it does not speak TLS on that port", "check address and port of the resolver", err)
	case ctx.Err() != nil || isTimeout(err):
		return s.c.timeout(err)
	case flaw == trust.Protocol:
		return s.c.unreachable("does not speak "+s.speaks.name+" on that port", err)
	case flaw == trust.Version:
		return s.c.untrusted("it does not speak TLS 1.3", "older versions of TLS are not accepted", err)
	case flaw == trust.Ended:
		return s.c.unreachable("closed the connection during the TLS handshake", err)
	}
	return s.c.untrusted("the TLS handshake failed", "", err)
}
