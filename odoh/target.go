package odoh

import (
	"crypto/hpke"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"slices"
)

// Target is the other end: it holds the private key of one configuration. It is safe for concurrent use.
type Target struct {
	config *Config
	key    hpke.PrivateKey
}

// NewTarget makes a target with a fresh key. A suite that is not supported is [ErrUnsupported].
func NewTarget(s Suite) (*Target, error) {
	algs, ok := s.algorithms()
	if !ok {
		return nil, fmt.Errorf("%w: %+v", ErrUnsupported, s)
	}
	key, err := algs.kem.GenerateKey()
	if err != nil {
		return nil, err
	}
	return newTarget(s, algs, key)
}

func newTarget(s Suite, algs algorithms, key hpke.PrivateKey) (*Target, error) {
	config, err := newConfig(s, algs, key.PublicKey())
	if err != nil {
		return nil, err
	}
	return &Target{config: config, key: key}, nil
}

// Configs writes an ObliviousDoHConfigs with the configurations of these targets, the preferred one first (section 5).
func Configs(targets ...*Target) []byte {
	var list []byte
	for _, t := range targets {
		list = binary.BigEndian.AppendUint16(list, version1)
		list = appendVector(list, t.config.contents())
	}
	return appendVector(nil, list)
}

// Open decrypts the body of a request and gives the DNS query in it, and what is needed to answer (section 8). The
// errors wrap [ErrDirection], [ErrMalformed], [ErrKeyID], [ErrDecrypt] or [ErrPadding].
func (t *Target) Open(body []byte) ([]byte, *Answer, error) {
	m, err := parseMessage(body, typeQuery)
	if err != nil {
		return nil, nil, err
	}
	if subtle.ConstantTimeCompare(m.keyID, t.config.keyID) != 1 {
		return nil, nil, ErrKeyID
	}
	if len(m.encrypted) < encLen+tagLen {
		return nil, nil, fmt.Errorf("%w: encrypted_message of %d octets", ErrMalformed, len(m.encrypted))
	}
	algs := t.config.algs
	recipient, err := hpke.NewRecipient(m.encrypted[:encLen], t.key, algs.kdf, algs.aead, []byte("odoh query"))
	if err != nil {
		return nil, nil, ErrDecrypt
	}
	plain, err := recipient.Open(m.aad(), m.encrypted[encLen:])
	if err != nil {
		return nil, nil, ErrDecrypt
	}
	query, err := parsePlaintext(plain)
	if err != nil {
		return nil, nil, err
	}
	secret, err := recipient.Export("odoh response", algs.keyLen)
	if err != nil {
		return nil, nil, fmt.Errorf("odoh: deriving the secret of the response: %w", err)
	}
	return slices.Clone(query), &Answer{algs: algs, plain: plain, secret: secret}, nil
}

// Answer is one query that waits for its response. It holds a secret.
type Answer struct {
	algs   algorithms
	plain  []byte // Q_plain
	secret []byte
}

// Seal encrypts a DNS response of 1 to [MaxPlain] octets. The response and its padding have a multiple of block octets
// together, 468 being what RFC 8467 recommends; 0 adds none. A response that is too long is [ErrTooLong].
func (a *Answer) Seal(response []byte, block int) ([]byte, error) {
	nonce := make([]byte, a.algs.nonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	plain, err := plaintext(response, block)
	if err != nil {
		return nil, err
	}
	return a.seal(plain, nonce)
}

func (a *Answer) seal(plain, nonce []byte) ([]byte, error) {
	aead, iv, err := a.algs.response(a.secret, a.plain, nonce)
	if err != nil {
		return nil, fmt.Errorf("odoh: deriving the key of the response: %w", err)
	}
	m := message{kind: typeResponse, keyID: nonce}
	m.encrypted = aead.Seal(nil, iv, plain, m.aad())
	return m.append(nil), nil
}
