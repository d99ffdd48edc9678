package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

// Limits of what is read.
const (
	MaxPins     = 16
	maxCAFile   = 4 << 20 // octets
	maxPairFile = 1 << 20 // octets
)

// FieldError says which field of a description is wrong.
type FieldError struct {
	Field string // as in the configuration file
	Index int    // in a list, otherwise 0
	Err   error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// ParsePins reads pins: each the base64 of the SHA-256 of a SubjectPublicKeyInfo. Each error is a [*FieldError].
func ParsePins(list []string) (pins [][32]byte, errs []error) {
	if len(list) > MaxPins {
		return nil, []error{&FieldError{Field: "pins", Index: MaxPins, Err: fmt.Errorf("more than %d pins", MaxPins)}}
	}
	for i, text := range list {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != 32 {
			err := fmt.Errorf("%.60q is not the base64 form of a SHA-256 (44 characters)", text)
			errs = append(errs, &FieldError{Field: "pins", Index: i, Err: err})
			continue
		}
		pins = append(pins, [32]byte(raw))
	}
	return pins, errs
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is larger than %d octets", path, limit)
	}
	return text, nil
}

// ReadCA reads the certificates of a PEM file. One that cannot be read is an error: what is listed is to be trusted.
func ReadCA(path string) ([][]byte, error) {
	text, err := readFile(path, maxCAFile)
	if err != nil {
		return nil, err
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

// ReadPair reads a certificate with its chain, in PEM form, and the key that belongs to it: what [Server] has as Cert and
// Key. Each error is a [*FieldError] about `cert` or `key`, and holds nothing of what is in the files.
func ReadPair(certFile, keyFile string) (cert [][]byte, key []byte, err error) {
	certPEM, err := readFile(certFile, maxPairFile)
	if err != nil {
		return nil, nil, &FieldError{Field: "cert", Err: err}
	}
	keyPEM, err := readFile(keyFile, maxPairFile)
	if err != nil {
		return nil, nil, &FieldError{Field: "key", Err: err}
	}
	defer clear(keyPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, nil, &FieldError{Field: "cert", Err: errors.Join(fmt.Errorf("%s and %s are no certificate with its key", certFile, keyFile), err)}
	}
	key, err = x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, nil, &FieldError{Field: "key", Err: err}
	}
	return pair.Certificate, key, nil
}
