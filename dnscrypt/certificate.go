package dnscrypt

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"watertight/name"
)

// Limits of certificates.
const (
	MaxCertificate  = 1024 // octets of one: 124, and extensions, of which none are defined
	MaxCertificates = 32   // in one answer
)

// Places in a certificate (draft, section "Certificates").
const (
	certLen     = 124
	atSignature = 8
	atSigned    = atSignature + ed25519.SignatureSize
	atMagic     = atSigned + keyLen
	atSerial    = atMagic + magicLen
	atStart     = atSerial + 4
	atEnd       = atStart + 4
)

var certMagic = []byte("DNSC")

// providerPrefix starts the name of every provider: protocol version 2.
const providerPrefix = "2.dnscrypt-cert."

// ProviderName reads a provider's name, whose TXT records are the certificates, and gives it in lower case without the
// root dot. A name that does not start with "2.dnscrypt-cert." is ErrProvider: the protocol demands it, and a relay lets
// no other through.
func ProviderName(s string) (string, error) {
	h, err := name.ParseHost(s)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrProvider, err)
	}
	n, ok := h.Name()
	if !ok || !strings.HasPrefix(n, providerPrefix) {
		return "", fmt.Errorf("%w: %q does not start with %s", ErrProvider, s, providerPrefix)
	}
	return n, nil
}

// Certificate is what a provider signs for one of its resolvers.
type Certificate struct {
	Encryption  Encryption
	Resolver    [keyLen]byte   // the resolver's X25519 key, valid for a short time
	ClientMagic [magicLen]byte // what queries under this certificate start with
	Serial      uint32         // the highest wins
	NotBefore   time.Time      // whole seconds, from 1970 to 2106
	NotAfter    time.Time      // the last second in which it is valid
}

// ParseCertificate reads a certificate, the whole data of a TXT record with its strings joined, and verifies its
// signature. It does not look at the time: [Certificate.ValidAt] does. Minor versions and extensions are passed over
// (draft, section "Certificates"), though the signature covers them. The errors wrap [ErrMalformed],
// [ErrUnsupported] or [ErrSignature].
func ParseCertificate(b []byte, provider ed25519.PublicKey) (Certificate, error) {
	switch {
	case len(provider) != ed25519.PublicKeySize:
		return Certificate{}, fmt.Errorf("%w: the provider's key has %d octets, not %d", ErrKey, len(provider), ed25519.PublicKeySize)
	case len(b) < certLen || len(b) > MaxCertificate:
		return Certificate{}, fmt.Errorf("%w: a certificate of %d octets, want %d to %d", ErrMalformed, len(b), certLen, MaxCertificate)
	case string(b[:len(certMagic)]) != string(certMagic):
		return Certificate{}, fmt.Errorf("%w: a certificate starts with %q", ErrMalformed, certMagic)
	}
	c := Certificate{
		Encryption:  Encryption(binary.BigEndian.Uint16(b[4:])),
		Resolver:    [keyLen]byte(b[atSigned:]),
		ClientMagic: [magicLen]byte(b[atMagic:]),
		Serial:      binary.BigEndian.Uint32(b[atSerial:]),
		NotBefore:   time.Unix(int64(binary.BigEndian.Uint32(b[atStart:])), 0),
		NotAfter:    time.Unix(int64(binary.BigEndian.Uint32(b[atEnd:])), 0),
	}
	if c.Encryption != XSalsa20Poly1305 && c.Encryption != XChaCha20Poly1305 {
		return Certificate{}, fmt.Errorf("%w: %s", ErrUnsupported, c.Encryption)
	}
	if !ed25519.Verify(provider, b[atSigned:], b[atSignature:atSigned]) {
		return Certificate{}, ErrSignature
	}
	if err := c.validate(); err != nil {
		return Certificate{}, err
	}
	return c, nil
}

// validate says what is wrong with a certificate, signed or to be signed.
func (c Certificate) validate() error {
	switch {
	case looksLikeQUIC(c.ClientMagic[:]):
		return fmt.Errorf("%w: the client magic starts with seven zeros", ErrMalformed)
	case c.NotAfter.Before(c.NotBefore):
		return fmt.Errorf("%w: a certificate that ends before it starts", ErrMalformed)
	}
	return nil
}

// looksLikeQUIC says whether a packet starts as one of QUIC might: seven zeros.
func looksLikeQUIC(b []byte) bool {
	return len(b) >= 7 && [7]byte(b) == [7]byte{}
}

// ValidAt says whether the certificate is valid at this time: nil, [ErrNotYet] or [ErrExpired]. Both ends belong to it.
func (c Certificate) ValidAt(now time.Time) error {
	now = now.Truncate(time.Second)
	switch {
	case now.Before(c.NotBefore):
		return fmt.Errorf("%w: it is from %s", ErrNotYet, c.NotBefore.UTC().Format(time.RFC3339))
	case now.After(c.NotAfter):
		return fmt.Errorf("%w: since %s", ErrExpired, c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// Choose gives the certificate to use of those in an answer: among the valid ones that are supported the one with the
// highest serial, and of two with the same serial XChaCha20 before XSalsa20. If none can be used, the error wraps
// [ErrNoneValid] and the reason against each. An answer with more than [MaxCertificates] is [ErrTooLong].
func Choose(records [][]byte, provider ed25519.PublicKey, now time.Time) (Certificate, error) {
	if len(records) > MaxCertificates {
		return Certificate{}, fmt.Errorf("%w: %d certificates, and at most %d are looked at", ErrTooLong, len(records), MaxCertificates)
	}
	var best Certificate
	var reasons []error
	found := false
	for i, b := range records {
		c, err := ParseCertificate(b, provider)
		if err == nil {
			err = c.ValidAt(now)
		}
		if err != nil {
			reasons = append(reasons, fmt.Errorf("certificate %d: %w", i, err))
			continue
		}
		if !found || c.Serial > best.Serial || c.Serial == best.Serial && c.Encryption > best.Encryption {
			best, found = c, true
		}
	}
	if !found {
		if len(records) == 0 {
			reasons = append(reasons, errors.New("the answer has none"))
		}
		return Certificate{}, fmt.Errorf("%w: %w", ErrNoneValid, errors.Join(reasons...))
	}
	return best, nil
}

// Sign writes the certificate with the provider's signature, as the data of a TXT record: 124 octets, which fit in one
// string. Times are cut to whole seconds.
func Sign(provider ed25519.PrivateKey, c Certificate) ([]byte, error) {
	if len(provider) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: the provider's key has %d octets, not %d", ErrKey, len(provider), ed25519.PrivateKeySize)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := slices.Concat(certMagic, binary.BigEndian.AppendUint16(nil, uint16(c.Encryption)), make([]byte, 2+ed25519.SignatureSize))
	b = append(b, c.Resolver[:]...)
	b = append(b, c.ClientMagic[:]...)
	b = binary.BigEndian.AppendUint32(b, c.Serial)
	for _, t := range []time.Time{c.NotBefore, c.NotAfter} {
		s := t.Unix()
		if s < 0 || s > 1<<32-1 {
			return nil, fmt.Errorf("%w: %s has no place in 32 bits", ErrMalformed, t.UTC().Format(time.RFC3339))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(s))
	}
	copy(b[atSignature:], ed25519.Sign(provider, b[atSigned:]))
	return b, nil
}
