// Package dnscrypt is the message format of DNSCrypt version 2 and of its anonymised form
// (https://dnscrypt.info/protocol, draft-denis-dprive-dnscrypt-08, ANONYMIZED-DNSCRYPT).
//
// It promises that a [Certificate] which [ParseCertificate] or [Choose] gives out was signed by the provider's key,
// that a response which [Exchange.Open] gives out was made by the holder of the certificate's key for this very query,
// and that a query is padded before it is encrypted. Both sides are here: [Client] and [Exchange], [Server] and
// [Reply], and what a relay reads and checks. It never sends anything, keeps no time (the caller says what time it is),
// looks at no DNS message, and never does without a check because one failed.
package dnscrypt

import (
	"crypto/ecdh"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/crypto/nacl/secretbox"
	//lint:ignore SA1019 the protocol puts the tag before the text and takes its key as NaCl does: no AEAD of the library does that
	"golang.org/x/crypto/poly1305"
	//lint:ignore SA1019 nacl/box agrees on keys too, but takes public keys of low order
	"golang.org/x/crypto/salsa20/salsa"
)

// Port is the one that resolvers and relays use by default, over UDP and TCP.
const Port = 443

// Limits and sizes, in octets.
const (
	// QueryOverhead is what a query has before and beside the padded DNS message: client magic, client key, half a
	// nonce, tag.
	QueryOverhead = magicLen + keyLen + halfNonce + tagLen
	// ResponseOverhead is the same for a response: resolver magic, nonce, tag.
	ResponseOverhead = magicLen + nonceLen + tagLen
	// MaxUDP is the longest datagram that is sent: what fits in the smallest IPv6 packet (RFC 8200, section 5).
	MaxUDP = 1280 - 40 - 8
	// MaxTCP is the longest message over TCP, without the two octets of its length.
	MaxTCP = 65535

	// MinMinimum is the first minimum of a padded query over UDP, and MaxMinimum the last: with it a query still has
	// room in [MaxUDP] when a relay's header stands before it. MaxRelayed is the largest minimum over TCP, for a query
	// that a relay sends on over UDP and whose answer must not be longer. All are multiples of the block.
	MinMinimum = 256
	MaxMinimum = (MaxUDP - RelayHeaderLen - QueryOverhead) / block * block
	MaxRelayed = 4096

	magicLen  = 8
	keyLen    = 32
	nonceLen  = chacha20.NonceSizeX
	halfNonce = nonceLen / 2
	tagLen    = poly1305.TagSize
	block     = 64 // padding goes to a multiple of it
	dnsHeader = 12 // RFC 1035, section 4.1.1: no message is shorter
)

// resolverMagic starts every response.
var resolverMagic = [magicLen]byte{0x72, 0x36, 0x66, 0x6e, 0x76, 0x57, 0x6a, 0x38}

// Errors that the functions wrap.
var (
	ErrMalformed   = errors.New("dnscrypt: malformed")
	ErrTooLong     = errors.New("dnscrypt: too long")
	ErrMagic       = errors.New("dnscrypt: not a message of this protocol and certificate")
	ErrNonce       = errors.New("dnscrypt: not the response to this query")
	ErrDecrypt     = errors.New("dnscrypt: the message cannot be decrypted")
	ErrPadding     = errors.New("dnscrypt: the padding is wrong")
	ErrKey         = errors.New("dnscrypt: the other side's key cannot be used")
	ErrProvider    = errors.New("dnscrypt: not the name of a provider")
	ErrSignature   = errors.New("dnscrypt: the certificate was not signed by the provider")
	ErrUnsupported = errors.New("dnscrypt: the certificate is for an encryption that is not supported")
	ErrExpired     = errors.New("dnscrypt: the certificate is no longer valid")
	ErrNotYet      = errors.New("dnscrypt: the certificate is not yet valid")
	ErrNoneValid   = errors.New("dnscrypt: no certificate can be used")
	ErrRelay       = errors.New("dnscrypt: not to be relayed")
)

// Encryption is how queries under a certificate are encrypted: its es-version.
type Encryption uint16

// The encryptions. Both agree on a key by X25519.
const (
	XSalsa20Poly1305  Encryption = 1 // NaCl's crypto_box
	XChaCha20Poly1305 Encryption = 2 // draft, appendix 1: Box-XChaChaPoly
)

// String gives the cipher's name.
func (e Encryption) String() string {
	switch e {
	case XSalsa20Poly1305:
		return "XSalsa20-Poly1305"
	case XChaCha20Poly1305:
		return "XChaCha20-Poly1305"
	}
	return fmt.Sprintf("es-version %d", uint16(e))
}

// box encrypts between two keys.
type box struct {
	encryption Encryption
	key        [keyLen]byte
}

// newBox agrees on a key. A public key of low order, which would give a secret that everybody knows, is ErrKey.
func newBox(e Encryption, private *ecdh.PrivateKey, public [keyLen]byte) (box, error) {
	pub, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return box{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	shared, err := private.ECDH(pub)
	if err != nil {
		return box{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	b := box{encryption: e}
	var zero [16]byte
	switch e {
	case XSalsa20Poly1305:
		salsa.HSalsa20(&b.key, &zero, (*[keyLen]byte)(shared), &salsa.Sigma)
	case XChaCha20Poly1305:
		key, err := chacha20.HChaCha20(shared, zero[:])
		if err != nil {
			return box{}, err
		}
		copy(b.key[:], key)
	default:
		return box{}, fmt.Errorf("%w: %s", ErrUnsupported, e)
	}
	return b, nil
}

// seal appends tag and ciphertext of m to dst.
func (b *box) seal(dst, m []byte, nonce *[nonceLen]byte) []byte {
	if b.encryption == XSalsa20Poly1305 {
		return secretbox.Seal(dst, m, nonce, &b.key)
	}
	stream, tagKey := b.stream(nonce)
	at := len(dst)
	dst = append(slices.Grow(dst, tagLen+len(m)), make([]byte, tagLen)...)
	dst = append(dst, m...)
	stream.XORKeyStream(dst[at+tagLen:], dst[at+tagLen:])
	var tag [tagLen]byte
	poly1305.Sum(&tag, dst[at+tagLen:], &tagKey)
	copy(dst[at:], tag[:])
	return dst
}

// open gives what seal was given, or ErrDecrypt.
func (b *box) open(sealed []byte, nonce *[nonceLen]byte) ([]byte, error) {
	if len(sealed) < tagLen {
		return nil, fmt.Errorf("%w: %d octets are left for a tag of %d", ErrMalformed, len(sealed), tagLen)
	}
	if b.encryption == XSalsa20Poly1305 {
		m, ok := secretbox.Open(nil, sealed, nonce, &b.key)
		if !ok {
			return nil, ErrDecrypt
		}
		return m, nil
	}
	stream, tagKey := b.stream(nonce)
	var tag [tagLen]byte
	poly1305.Sum(&tag, sealed[tagLen:], &tagKey)
	if subtle.ConstantTimeCompare(tag[:], sealed[:tagLen]) != 1 {
		return nil, ErrDecrypt
	}
	m := make([]byte, len(sealed)-tagLen)
	stream.XORKeyStream(m, sealed[tagLen:])
	return m, nil
}

// stream gives the key stream of XChaCha20 after its first 32 octets, which are the key of the tag, as in NaCl's
// secretbox. The library's counter has 32 bits and that of the draft 64; no message is long enough to tell.
func (b *box) stream(nonce *[nonceLen]byte) (*chacha20.Cipher, [keyLen]byte) {
	c, err := chacha20.NewUnauthenticatedCipher(b.key[:], nonce[:])
	if err != nil {
		panic(err) // the lengths are those of the types
	}
	var tagKey [keyLen]byte
	c.XORKeyStream(tagKey[:], tagKey[:])
	return c, tagKey
}

// pad appends padding (ISO/IEC 7816-4: 0x80, then zeros) to a copy of m until it has size octets. size > len(m).
func pad(m []byte, size int) []byte {
	b := make([]byte, size)
	copy(b, m)
	b[len(m)] = 0x80
	return b
}

// roundUp gives the smallest multiple of the block with room for n octets and one of padding.
func roundUp(n int) int { return (n + block) / block * block }

// unpad gives what stands before the padding: at least a DNS header.
func unpad(b []byte) ([]byte, error) {
	i := len(b) - 1
	for i >= 0 && b[i] == 0 {
		i--
	}
	if i < 0 || b[i] != 0x80 {
		return nil, ErrPadding
	}
	if i < dnsHeader {
		return nil, fmt.Errorf("%w: a DNS message of %d octets", ErrMalformed, i)
	}
	return b[:i], nil
}
