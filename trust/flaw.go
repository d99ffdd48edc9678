package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// Flaw is what was wrong with a handshake, as far as its error says.
type Flaw int

// Flaws.
const (
	Unknown   Flaw = iota
	WrongPin       // none of its keys is pinned
	WrongName      // its certificate covers another name
	Authority      // its certificate is from an unknown authority
	Validity       // its certificate is expired or not valid yet
	NotTLS         // it does not speak TLS
	Protocol       // it speaks no protocol that was asked for (RFC 7301)
	Version        // it speaks older versions of TLS only
	Unproved       // it wants to know who we are, and did not take what it was shown
	Ended          // the connection broke off
)

// FlawOf reads the error of a handshake, or of the first octets after it: with TLS 1.3 a server says only then what it
// thinks of a client's certificate (RFC 8446, section 4.4.2.4).
func FlawOf(err error) Flaw {
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		op        *net.OpError
	)
	switch {
	case err == nil:
		return Unknown
	case errors.Is(err, ErrPin):
		return WrongPin
	case errors.As(err, &host):
		return WrongName
	case errors.As(err, &authority):
		return Authority
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Validity
	case errors.As(err, &record):
		return NotTLS
	case strings.Contains(err.Error(), "no application protocol"):
		return Protocol
	case strings.Contains(err.Error(), "protocol version"):
		return Version
	case Refused(err):
		return Unproved
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE),
		errors.As(err, &op) && (op.Op == "read" || op.Op == "write"):
		return Ended
	}
	return Unknown
}

// Refused says that the other side did not take our certificate, or missed one (RFC 8446, section 6.2). crypto/tls has no
// type for the alerts of others.
func Refused(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return false
	}
	alert := op.Err.Error()
	return strings.Contains(alert, "certificate") || strings.Contains(alert, "access denied")
}
