package upstream

import (
	"crypto/x509"

	"watertight/trust"
)

// SpecError says which field of a spec is wrong, as in the configuration file: url, addresses, pins, ca, name, relay or ech.
type SpecError = trust.FieldError

// Roots gives the authorities that alone are trusted, or nil for those of the system: what [crypto/tls.Config] means
// by RootCAs.
func (u Upstream) Roots() (*x509.CertPool, error) { return trust.Roots(u.CA) }
