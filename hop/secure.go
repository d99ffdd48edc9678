package hop

import (
	"crypto/tls"
	"errors"
	"net"

	"github.com/quic-go/quic-go/http3"

	"watertight/clock"
	"watertight/fault"
	"watertight/trust"
)

// protocolH2 is the identification of HTTP/2 (RFC 9113, section 3.2).
const protocolH2 = "h2"

// protocols gives what is offered in the TLS handshake with a proxy (RFC 7301).
func protocols(scheme string) []string {
	switch scheme {
	case SchemeHTTPS:
		return []string{"http/1.1"}
	case SchemeH2:
		return []string{protocolH2}
	case SchemeH3:
		return []string{http3.NextProtoH3}
	}
	return nil // SOCKS has no identification
}

// encrypt makes sure, over raw, that the other end is the proxy and nobody else. The deadline of raw bounds it. It does not
// close raw.
func (l *link) encrypt(raw net.Conn) (*tls.Conn, error) {
	var behind *clock.Behind
	if err := l.trusted.CheckClock(); errors.As(err, &behind) {
		f := fault.New(fault.HopRefused, "the certificate of "+l.label+" cannot be checked: "+behind.Error(), err)
		f.Hint = behind.Hint
		return nil, f
	}
	conn := tls.Client(raw, l.trusted.Config())
	if err := conn.Handshake(); err != nil {
		return nil, l.unproved(err)
	}
	return conn, nil
}

// unproved says why a TLS handshake failed.
func (l *link) unproved(err error) error {
	if isTimeout(err) {
		return l.lost(err, false)
	}
	flaw := trust.FlawOf(err)
	if flaw == trust.Unknown && isClosed(err) {
		flaw = trust.Ended
	}
	what, hint := " cannot be trusted: the TLS handshake failed", "check the scheme and the port of the channel's upstream proxy"
	switch flaw {
	case trust.WrongPin:
		what, hint = " cannot be trusted: none of its keys is pinned", "compare `pins` with what the proxy's operator publishes"
	case trust.WrongName:
		what, hint = " cannot be trusted: its certificate does not cover "+l.Server.Name, "check the host in the proxy's URL, or give the `name` that its certificate has"
	case trust.Authority:
		what, hint = " cannot be trusted: its certificate is from an unknown authority", "give the authority's certificate as the proxy's `ca`"
	case trust.Validity:
		what, hint = " cannot be trusted: its certificate is expired or not valid yet", "check this host's clock; if it is right, the proxy's operator has to renew"
	case trust.NotTLS:
		what = " does not speak TLS on that port"
	case trust.Protocol:
		what, hint = " does not speak the protocol of "+l.Scheme+":// over TLS", "https:// is for HTTP/1.1 and h2:// for HTTP/2: write the scheme that the proxy speaks"
	case trust.Version:
		what, hint = " does not speak TLS 1.3", "older versions of TLS are not accepted; ask the proxy's operator for TLS 1.3"
	case trust.Unproved:
		return l.unwelcome(err)
	case trust.Ended:
		what = " closed the connection during the TLS handshake"
	}
	f := fault.New(fault.HopRefused, l.label+what, err)
	f.Hint = hint
	return f
}

// unwelcome is a proxy that wants a certificate of ours, or another one.
func (l *link) unwelcome(err error) error {
	what, hint := " asks for a certificate", "give the proxy's `cert` and `key`"
	if len(l.Server.Cert) > 0 {
		what, hint = " did not take the certificate that it was shown", "check the proxy's `cert` and `key`"
	}
	f := fault.New(fault.HopAuth, l.label+what, err)
	f.Hint = hint
	return f
}

// refusal gives what the other end said before it closed, where err says that it is gone: with TLS 1.3 it judges our
// certificate while we speak already.
func refusal(conn net.Conn, err error) error {
	secured, ok := conn.(*tls.Conn)
	if !ok || !isClosed(err) {
		return err
	}
	if _, said := secured.Read(make([]byte, 1)); trust.Refused(said) {
		return said
	}
	return err
}
