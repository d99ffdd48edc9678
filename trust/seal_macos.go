//go:build darwin

package trust

import "crypto/x509"

// bundle is where macOS has its authorities in a file, for programs that have nothing to do with keychains.
const bundle = "/etc/ssl/cert.pem"

// authorities reads them. Those that were added to a keychain are not among them.
func authorities() *x509.CertPool {
	own := x509.NewCertPool()
	if text, err := readFile(bundle, maxCAFile); err == nil {
		own.AppendCertsFromPEM(text)
	}
	return own
}
