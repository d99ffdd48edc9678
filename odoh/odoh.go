// Package odoh is the message format of Oblivious DNS over HTTPS (RFC 9230): a query is encrypted to a target and
// carried there by a proxy, so that the proxy knows who asks and the target what is asked, and neither both.
//
// It promises that a response which [Exchange.Open] gives out was made by the holder of the target's key for this very
// query, and that its padding is nothing but zeros. Both sides are here: [Config] and [Exchange] are the client's,
// [Target] and [Answer] the target's. It never sends anything, never fetches a configuration and never trusts one:
// whoever hands a configuration to [ParseConfigs] vouches for where it came from. It looks at no DNS message.
package odoh

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// MediaType is the content type of both messages (section 4.1).
const MediaType = "application/oblivious-dns-message"

// Limits, in octets.
const (
	MaxConfigs = 4096 // a list of configurations: two octets of length and what follows
	MaxMessage = 1 + 2 + maxKeyID + 2 + maxVector
	// MaxPlain is how long a DNS message and its padding may be together: what is left of a vector after two lengths,
	// the encapsulated key and the tag of the AEAD.
	MaxPlain = maxVector - 4 - encLen - tagLen

	maxVector = 65535
	maxKeyID  = sha512.Size // the output of the largest KDF, and more than the nonce of a response
	encLen    = 32          // Nenc of DHKEM(X25519, HKDF-SHA256), RFC 9180 section 7.1
	tagLen    = 16          // of every AEAD below
	nonceLen  = 12          // Nn of every AEAD below
)

// Versions, message types and the one KEM (sections 5 and 6.1; RFC 9180, section 7.1).
const (
	version1     = 0x0001
	typeQuery    = 0x01
	typeResponse = 0x02
	kemX25519    = 0x0020
)

// Errors that the functions wrap.
var (
	ErrMalformed   = errors.New("odoh: malformed")
	ErrUnsupported = errors.New("odoh: no configuration that is supported")
	ErrTooLong     = errors.New("odoh: too long")
	ErrKeyID       = errors.New("odoh: encrypted to another key")         // a target answers 401 (section 8)
	ErrDecrypt     = errors.New("odoh: the message cannot be decrypted")  // a target answers 400
	ErrPadding     = errors.New("odoh: the padding is not made of zeros") // likewise
	ErrDirection   = errors.New("odoh: not the type of message expected") // a query for a response, or the reverse
)

// Suite is the set of algorithms of a configuration, as the HPKE registry numbers them.
type Suite struct{ KEM, KDF, AEAD uint16 }

// Default is what every target has: X25519, HKDF-SHA256, AES-128-GCM (section 9).
var Default = Suite{kemX25519, 0x0001, 0x0001}

// algorithms is a suite that is supported.
type algorithms struct {
	kem    hpke.KEM
	kdf    hpke.KDF
	aead   hpke.AEAD
	hash   func() hash.Hash                      // of the KDF
	keyLen int                                   // Nk of the AEAD
	open   func(key []byte) (cipher.AEAD, error) // the AEAD itself, for responses
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// algorithms gives the suite's algorithms, and whether all three are supported.
func (s Suite) algorithms() (a algorithms, ok bool) {
	if s.KEM != kemX25519 {
		return a, false
	}
	switch s.KDF {
	case 0x0001:
		a.hash = sha256.New
	case 0x0002:
		a.hash = sha512.New384
	case 0x0003:
		a.hash = sha512.New
	default:
		return a, false
	}
	switch s.AEAD {
	case 0x0001:
		a.keyLen, a.open = 16, gcm
	case 0x0002:
		a.keyLen, a.open = 32, gcm
	case 0x0003:
		a.keyLen, a.open = chacha20poly1305.KeySize, chacha20poly1305.New
	default:
		return a, false
	}
	var errs [3]error
	a.kem, errs[0] = hpke.NewKEM(s.KEM)
	a.kdf, errs[1] = hpke.NewKDF(s.KDF)
	a.aead, errs[2] = hpke.NewAEAD(s.AEAD)
	return a, errors.Join(errs[:]...) == nil
}

// nonceSize is the length of a response's nonce: max(Nn, Nk), section 8.
func (a algorithms) nonceSize() int { return max(nonceLen, a.keyLen) }

// response gives the AEAD of a response and its nonce: derive_secrets, section 6.2.
func (a algorithms) response(secret, plainQuery, nonce []byte) (cipher.AEAD, []byte, error) {
	salt := appendVector(append([]byte(nil), plainQuery...), nonce)
	prk, err := hkdf.Extract(a.hash, secret, salt)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Expand(a.hash, prk, "odoh key", a.keyLen)
	if err != nil {
		return nil, nil, err
	}
	iv, err := hkdf.Expand(a.hash, prk, "odoh nonce", nonceLen)
	if err != nil {
		return nil, nil, err
	}
	aead, err := a.open(key)
	return aead, iv, err
}

// keyID is the identifier of a configuration: Expand(Extract("", contents), "odoh key id", Nh), section 6.1.
func (a algorithms) keyID(contents []byte) ([]byte, error) {
	prk, err := hkdf.Extract(a.hash, contents, nil)
	if err != nil {
		return nil, err
	}
	return hkdf.Expand(a.hash, prk, "odoh key id", a.hash().Size())
}

// message is an ObliviousDoHMessage (section 6.1).
type message struct {
	kind      byte
	keyID     []byte // of a response: its nonce
	encrypted []byte
}

func parseMessage(b []byte, kind byte) (message, error) {
	if len(b) == 0 {
		return message{}, fmt.Errorf("%w: the message is empty", ErrMalformed)
	}
	if b[0] != kind {
		return message{}, fmt.Errorf("%w: type %d, want %d", ErrDirection, b[0], kind)
	}
	m := message{kind: b[0]}
	var err error
	rest := b[1:]
	if m.keyID, rest, err = cutVector("key_id", rest); err != nil {
		return message{}, err
	}
	if m.encrypted, rest, err = cutVector("encrypted_message", rest); err != nil {
		return message{}, err
	}
	switch {
	case len(rest) > 0:
		return message{}, fmt.Errorf("%w: %d octets follow after the message", ErrMalformed, len(rest))
	case len(m.encrypted) == 0:
		return message{}, fmt.Errorf("%w: encrypted_message is empty", ErrMalformed)
	}
	return m, nil
}

func (m message) append(dst []byte) []byte {
	return appendVector(appendVector(append(dst, m.kind), m.keyID), m.encrypted)
}

// aad is what is authenticated beside the encrypted part: type, length of the key id, key id (section 6.2).
func (m message) aad() []byte { return appendVector([]byte{m.kind}, m.keyID) }

// plaintext writes an ObliviousDoHMessagePlaintext (section 6.1). The DNS message and its padding have a multiple of
// block octets together; 0 pads nothing.
func plaintext(dns []byte, block int) ([]byte, error) {
	if len(dns) == 0 {
		return nil, fmt.Errorf("%w: the DNS message is empty", ErrMalformed)
	}
	if block < 0 {
		return nil, fmt.Errorf("%w: padding to a multiple of %d octets", ErrMalformed, block)
	}
	size := len(dns)
	if size <= MaxPlain && block > 0 && block <= MaxPlain {
		size = (size + block - 1) / block * block
	}
	if size > MaxPlain || block > MaxPlain {
		return nil, fmt.Errorf("%w: %d octets with padding to a multiple of %d, and %d have room", ErrTooLong, len(dns), block, MaxPlain)
	}
	return appendVector(appendVector(nil, dns), make([]byte, size-len(dns))), nil
}

// parsePlaintext gives the DNS message of an ObliviousDoHMessagePlaintext.
func parsePlaintext(b []byte) ([]byte, error) {
	dns, rest, err := cutVector("dns_message", b)
	if err != nil {
		return nil, err
	}
	padding, rest, err := cutVector("padding", rest)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d octets follow after the padding", ErrMalformed, len(rest))
	case len(dns) == 0:
		return nil, fmt.Errorf("%w: the DNS message is empty", ErrMalformed)
	}
	var sum byte
	for _, c := range padding {
		sum |= c
	}
	if sum != 0 {
		return nil, ErrPadding
	}
	return dns, nil
}

// appendVector appends b with its length in two octets before it. b has at most maxVector octets.
func appendVector(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
}

// cutVector reads a vector with two octets of length.
func cutVector(field string, b []byte) (v, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%w: %s: cut short in its length", ErrMalformed, field)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, fmt.Errorf("%w: %s: %d octets are announced and %d are left", ErrMalformed, field, n, len(b)-2)
	}
	return b[2 : 2+n], b[2+n:], nil
}
