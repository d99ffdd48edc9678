package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"

	"watertight/trust"
	"watertight/upstream"
)

// hidden makes a connection with try: with Encrypted Client Hello (RFC 9849) where a list of keys is in force, and then
// never without. A server that rejects the list has to prove that it may, and may send another: that one is tried, once,
// on a new connection, and kept for nothing else (section 6.1.6).
func hidden[Conn io.Closer](ctx context.Context, s *secure, to netip.AddrPort, try func(context.Context, netip.AddrPort, *tls.Config) (Conn, *Failure)) (Conn, *Failure) {
	config := s.fresh()
	list := s.c.notice.keys()
	config.EncryptedClientHelloConfigList = list
	conn, fail := try(ctx, to, config)
	if fail == nil || list == nil {
		return conn, fail
	}
	var rejected *tls.ECHRejectionError
	if errors.As(fail, &rejected) && upstream.CheckECH(rejected.RetryConfigList) == nil {
		config = s.fresh()
		config.EncryptedClientHelloConfigList = rejected.RetryConfigList
		if conn, fail = try(ctx, to, config); fail == nil {
			s.c.notice.outdated()
			return conn, nil
		}
	}
	if fail.spoke {
		s.c.notice.refused(list)
	}
	return conn, fail
}

// rejected gives the failure of a connection that ended because ECH was rejected, or nil where it was not that. crypto/tls
// has verified by then that the server is the public name, to the authorities that are trusted for the upstream; pinned
// says whether it proved what the upstream's pins and hashes ask for.
func (s *secure) rejected(err error, pinned func() error) *Failure {
	var rejection *tls.ECHRejectionError
	if !errors.As(err, &rejection) {
		return nil
	}
	if err := pinned(); err != nil {
		return s.c.untrusted("it rejected Encrypted Client Hello, and showed no key that is pinned", s.c.freshKeys(), err)
	}
	fail := s.c.unreachable("rejected Encrypted Client Hello, and is not asked without", err)
	fail.Fault.Hint = s.c.freshKeys()
	return fail
}

// unseen is what is known of a pin where the certificate of a server that rejected ECH is not shown: QUIC tells nobody.
func (s *secure) unseen() error {
	if len(s.c.up.Pins)+len(s.c.up.Hashes) > 0 {
		return trust.ErrPin
	}
	return nil
}

// freshKeys is what to do where the keys of ECH do not do.
func (c *Client) freshKeys() string {
	if c.up.ECH != nil {
		return "take a fresh list for `ech` from the resolver's operator"
	}
	return "its own record asks for Encrypted Client Hello: it is asked without when the time of that record is over"
}
