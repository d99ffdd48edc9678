package trust

import (
	"crypto/x509"
	"errors"
)

var errSystemVerifies = errors.New("certificates would be verified by the system, which reaches the network by itself, past every channel: " +
	"remove x509usefallbackroots=0 from the variable GODEBUG")

// Seal takes the verification of certificates away from the system, where Go would leave it to that: on macOS and on Windows. It
// fetches issuers and revocations from wherever a certificate says (RFC 5280, section 4.2.2.1), looks the hosts up by its own
// resolver, and does so before it trusts anyone. From then on the authorities of the system are a list, which stays as it is and is short of those
// that cannot be read, and nothing is fetched. The program calls it before it verifies anything, and ends where it fails.
func Seal() error { return seal(authorities()) }

// seal makes a list of authorities those of the system; nil: Go reads a list of the system itself.
func seal(own *x509.CertPool) error {
	if own == nil {
		return nil
	}
	x509.SetFallbackRoots(own) // with godebug x509usefallbackroots=1, as go.mod has it, they are no second choice
	if now, err := x509.SystemCertPool(); err != nil || !now.Equal(own) {
		return errSystemVerifies
	}
	return nil
}
