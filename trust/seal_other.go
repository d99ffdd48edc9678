//go:build !darwin && !windows

package trust

import "crypto/x509"

// authorities gives none: here Go reads files of the system, and verifies by itself.
func authorities() *x509.CertPool { return nil }
