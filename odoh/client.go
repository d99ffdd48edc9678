package odoh

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
	"slices"
)

// Config is a target's configuration: its public key and what to do with it (section 5). It is safe for concurrent use.
type Config struct {
	suite  Suite
	algs   algorithms
	public hpke.PublicKey
	keyID  []byte
}

// ParseConfigs reads an ObliviousDoHConfigs (section 5) of at most [MaxConfigs] octets and gives the first
// configuration that is supported: the target lists them in the order in which it prefers them. Another version or
// another algorithm is passed over; if nothing is left, the error wraps [ErrUnsupported]. A list that is malformed
// anywhere is refused whole, with [ErrMalformed].
func ParseConfigs(b []byte) (*Config, error) {
	if len(b) > MaxConfigs {
		return nil, fmt.Errorf("%w: configurations of %d octets, and at most %d are read", ErrTooLong, len(b), MaxConfigs)
	}
	list, after, err := cutVector("configurations", b)
	switch {
	case err != nil:
		return nil, err
	case len(after) > 0:
		return nil, fmt.Errorf("%w: %d octets follow after the configurations", ErrMalformed, len(after))
	case len(list) == 0:
		return nil, fmt.Errorf("%w: the list of configurations is empty", ErrMalformed)
	}
	var found *Config
	seen := 0
	for ; len(list) > 0; seen++ {
		if len(list) < 2 {
			return nil, fmt.Errorf("%w: configuration %d: cut short in its version", ErrMalformed, seen)
		}
		version := binary.BigEndian.Uint16(list)
		var contents []byte
		if contents, list, err = cutVector(fmt.Sprintf("configuration %d", seen), list[2:]); err != nil {
			return nil, err
		}
		if version != version1 {
			continue
		}
		c, err := parseContents(contents)
		if err != nil {
			return nil, fmt.Errorf("configuration %d: %w", seen, err)
		}
		if found == nil {
			found = c
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %d are offered", ErrUnsupported, seen)
	}
	return found, nil
}

// parseContents reads an ObliviousDoHConfigContents. It gives nil for algorithms that are not supported.
func parseContents(b []byte) (*Config, error) {
	if len(b) < 6 {
		return nil, fmt.Errorf("%w: cut short in the algorithms", ErrMalformed)
	}
	s := Suite{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint16(b[4:])}
	key, rest, err := cutVector("public_key", b[6:])
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d octets follow after the public key", ErrMalformed, len(rest))
	case len(key) == 0:
		return nil, fmt.Errorf("%w: the public key is empty", ErrMalformed)
	}
	algs, ok := s.algorithms()
	if !ok {
		return nil, nil
	}
	public, err := algs.kem.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("%w: public_key: %w", ErrMalformed, err)
	}
	return newConfig(s, algs, public)
}

func newConfig(s Suite, algs algorithms, public hpke.PublicKey) (*Config, error) {
	c := &Config{suite: s, algs: algs, public: public}
	var err error
	c.keyID, err = algs.keyID(c.contents())
	return c, err
}

// contents writes the ObliviousDoHConfigContents.
func (c *Config) contents() []byte {
	var b []byte
	for _, id := range []uint16{c.suite.KEM, c.suite.KDF, c.suite.AEAD} {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	return appendVector(b, c.public.Bytes())
}

// Suite gives the algorithms.
func (c *Config) Suite() Suite { return c.suite }

// KeyID gives the identifier that queries carry (section 6.1): 32 octets for HKDF-SHA256.
func (c *Config) KeyID() []byte { return slices.Clone(c.keyID) }

// Seal encrypts a DNS query of 1 to [MaxPlain] octets to the target (section 7). The query and its padding have a
// multiple of block octets together, 128 being what RFC 8467 recommends; 0 adds none, for a query that is padded by
// EDNS already. It gives the body of the HTTP request, and what is needed to open its response. Every query has a key
// of its own, so no two can be linked by it. A query that is too long is [ErrTooLong].
func (c *Config) Seal(query []byte, block int) ([]byte, *Exchange, error) {
	plain, err := plaintext(query, block)
	if err != nil {
		return nil, nil, err
	}
	enc, sender, err := hpke.NewSender(c.public, c.algs.kdf, c.algs.aead, []byte("odoh query"))
	if err != nil {
		return nil, nil, fmt.Errorf("odoh: the target's key cannot be used: %w", err)
	}
	m := message{kind: typeQuery, keyID: c.keyID}
	sealed, err := sender.Seal(m.aad(), plain)
	if err != nil {
		return nil, nil, fmt.Errorf("odoh: encrypting: %w", err)
	}
	m.encrypted = append(enc, sealed...)
	secret, err := sender.Export("odoh response", c.algs.keyLen)
	if err != nil {
		return nil, nil, fmt.Errorf("odoh: deriving the secret of the response: %w", err)
	}
	return m.append(nil), &Exchange{algs: c.algs, plain: plain, secret: secret}, nil
}

// Exchange is one query on its way. It holds a secret.
type Exchange struct {
	algs   algorithms
	plain  []byte // Q_plain
	secret []byte
}

// Open decrypts the body of the HTTP response and gives the DNS message in it (section 7). The errors wrap
// [ErrDirection], [ErrMalformed], [ErrDecrypt] or [ErrPadding]; whatever they are, nothing of the body is to be used.
func (x *Exchange) Open(body []byte) ([]byte, error) {
	m, err := parseMessage(body, typeResponse)
	if err != nil {
		return nil, err
	}
	if want := x.algs.nonceSize(); len(m.keyID) != want {
		return nil, fmt.Errorf("%w: a nonce of %d octets, want %d", ErrMalformed, len(m.keyID), want)
	}
	aead, iv, err := x.algs.response(x.secret, x.plain, m.keyID)
	if err != nil {
		return nil, fmt.Errorf("odoh: deriving the key of the response: %w", err)
	}
	plain, err := aead.Open(nil, iv, m.encrypted, m.aad())
	if err != nil {
		return nil, ErrDecrypt
	}
	return parsePlaintext(plain)
}
