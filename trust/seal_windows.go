package trust

import (
	"bytes"
	"crypto/x509"
	"syscall"
	"unsafe"
)

// authorities reads those of this user and of this host that stand in the store now. Windows fetches others when it meets them; those
// are not among them, and neither is one that it distrusts.
func authorities() *x509.CertPool {
	own, not := x509.NewCertPool(), map[string]bool{}
	for _, der := range stored("Disallowed") {
		not[string(der)] = true
	}
	for _, der := range stored("ROOT") {
		if c, err := x509.ParseCertificate(der); err == nil && !not[string(der)] {
			own.AddCert(c)
		}
	}
	return own
}

// stored gives the certificates in a store of the system, in DER.
func stored(store string) (all [][]byte) {
	name, err := syscall.UTF16PtrFromString(store)
	if err != nil {
		return nil
	}
	handle, err := syscall.CertOpenSystemStore(0, name)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.CertCloseStore(handle, 0) }()
	var c *syscall.CertContext
	for {
		if c, err = syscall.CertEnumCertificatesInStore(handle, c); err != nil || c == nil { // the end is an error, too
			return all
		}
		all = append(all, bytes.Clone(unsafe.Slice(c.EncodedCert, c.Length)))
	}
}
