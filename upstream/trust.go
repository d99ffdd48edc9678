package upstream

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxCAFile bounds a CA file, in octets.
const maxCAFile = 4 << 20

func parsePins(list []string) (pins [][32]byte, errs []error) {
	if len(list) > maxPins {
		return nil, []error{&SpecError{Field: "pins", Index: maxPins, Err: fmt.Errorf("more than %d pins", maxPins)}}
	}
	for i, text := range list {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 32 {
			err := fmt.Errorf("%.60q is not the base64 form of a SHA-256 (44 characters)", text)
			errs = append(errs, &SpecError{Field: "pins", Index: i, Err: err})
			continue
		}
		pins = append(pins, [32]byte(raw))
	}
	return pins, errs
}

// readCA reads the certificates of a PEM file. One that cannot be read is an error: what is listed is to be trusted.
func readCA(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxCAFile {
		return nil, fmt.Errorf("%s is larger than %d octets", path, maxCAFile)
	}
	var list [][]byte
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(list)+1, err)
		}
		list = append(list, block.Bytes)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return list, nil
}

// Roots gives the authorities that alone are trusted, or nil for those of the system: what [crypto/tls.Config] means
// by RootCAs.
func (u Upstream) Roots() (*x509.CertPool, error) {
	if len(u.CA) == 0 {
		return nil, nil
	}
	p := x509.NewCertPool()
	for _, der := range u.CA {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, errors.Join(errors.New("a CA certificate that cannot be read"), err)
		}
		p.AddCert(c)
	}
	return p, nil
}
