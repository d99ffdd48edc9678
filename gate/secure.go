package gate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Protocols of a port with TLS (RFC 7301), the preferred one first. A client that names none speaks HTTP/1.1 or SOCKS.
const (
	HTTP2 = "h2"
	HTTP1 = "http/1.1"
)

// ErrCertificate is a client's certificate that names no user.
var ErrCertificate = errors.New("the certificate names no user: its common name, or where it has none its one DNS name, is to be the user's name")

// ServerTLS makes the configuration of a port from its certificate and, unless nil, those who certify its clients: TLS 1.3
// alone. Without a certificate every handshake fails, until the caller says where one is found. Each call makes one whose sessions are resumed with no other.
func ServerTLS(cert *tls.Certificate, clients *x509.CertPool) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{HTTP2, HTTP1}}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	if clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, clients
		c.VerifyConnection = func(s tls.ConnectionState) error { // of resumed sessions too
			_, err := CertifiedUser(&s)
			return err
		}
	}
	return c
}

// CertifiedUser gives the user that a client's verified certificate names: by the common name of its subject, or where it
// has none by its one DNS name. It is empty where the client had to show no certificate.
func CertifiedUser(s *tls.ConnectionState) (string, error) {
	if len(s.VerifiedChains) == 0 {
		if len(s.PeerCertificates) > 0 {
			return "", ErrCertificate
		}
		return "", nil
	}
	c := s.VerifiedChains[0][0]
	user := c.Subject.CommonName
	if user == "" && len(c.DNSNames) == 1 {
		user = c.DNSNames[0]
	}
	if CheckUser(user) != nil {
		return "", ErrCertificate
	}
	return user, nil
}

// Vouches says whether a client's certificate is one of these authorities now.
func Vouches(clients *x509.CertPool, s *tls.ConnectionState) bool {
	if clients == nil || len(s.PeerCertificates) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: clients, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}
