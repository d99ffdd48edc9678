package memory

import "crypto/tls"

// What a resolver can show of itself, for [Fault].

// Expired shows a certificate that was good once.
func Expired(a *Authority, c *tls.Config) { c.Certificates = []tls.Certificate{a.expired} }

// WrongName shows a certificate for somebody else.
func WrongName(a *Authority, c *tls.Config) { c.Certificates = []tls.Certificate{a.wrongName} }

// UnknownCA shows a certificate of an authority that nobody trusts.
func UnknownCA(a *Authority, c *tls.Config) { c.Certificates = []tls.Certificate{a.unknown} }

// OldTLS speaks TLS 1.2 and nothing newer.
func OldTLS(_ *Authority, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
