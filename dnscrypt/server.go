package dnscrypt

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// Server is the other end: it holds the private key of one certificate. It is safe for concurrent use.
type Server struct {
	certificate Certificate
	private     *ecdh.PrivateKey
}

// NewServer makes a key pair and completes the certificate with its public key, for [Sign]. The client magic is taken
// from the key, as servers do, unless the certificate has one.
func NewServer(c Certificate) (*Server, error) {
	if c.Encryption != XSalsa20Poly1305 && c.Encryption != XChaCha20Poly1305 {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, c.Encryption)
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newServer(c, private)
}

func newServer(c Certificate, private *ecdh.PrivateKey) (*Server, error) {
	c.Resolver = [keyLen]byte(private.PublicKey().Bytes())
	if c.ClientMagic == [magicLen]byte{} {
		c.ClientMagic = [magicLen]byte(c.Resolver[:])
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Server{certificate: c, private: private}, nil
}

// Certificate gives the completed certificate.
func (s *Server) Certificate() Certificate { return s.certificate }

// Open decrypts a query and gives the DNS message in it, and what is needed to answer. The errors wrap [ErrMagic],
// [ErrMalformed], [ErrTooLong], [ErrKey], [ErrDecrypt] or [ErrPadding]; such a query gets no answer.
func (s *Server) Open(packet []byte) ([]byte, *Reply, error) {
	switch {
	case len(packet) > MaxTCP:
		return nil, nil, fmt.Errorf("%w: a query of %d octets", ErrTooLong, len(packet))
	case len(packet) < magicLen || [magicLen]byte(packet) != s.certificate.ClientMagic:
		return nil, nil, fmt.Errorf("%w: a query starts otherwise", ErrMagic)
	case len(packet) < QueryOverhead:
		return nil, nil, fmt.Errorf("%w: a query of %d octets", ErrMalformed, len(packet))
	}
	b, err := newBox(s.certificate.Encryption, s.private, [keyLen]byte(packet[magicLen:]))
	if err != nil {
		return nil, nil, err
	}
	r := &Reply{box: b, length: len(packet)}
	copy(r.nonce[:], packet[magicLen+keyLen:][:halfNonce])
	var nonce [nonceLen]byte
	copy(nonce[:], r.nonce[:])
	padded, err := b.open(packet[QueryOverhead-tagLen:], &nonce)
	if err != nil {
		return nil, nil, err
	}
	if len(padded)%block != 0 {
		return nil, nil, fmt.Errorf("%w: %d octets with padding are no multiple of %d", ErrPadding, len(padded), block)
	}
	query, err := unpad(padded)
	if err != nil {
		return nil, nil, err
	}
	return query, r, nil
}

// Reply is one query that waits for its response. It holds a secret.
type Reply struct {
	box    box
	nonce  [halfNonce]byte
	length int // of the query's packet
}

// SealUDP encrypts a DNS response for UDP. The packet is never longer than that of the query, whatever the padding
// would like: a response that has no room is [ErrTooLong], and the caller truncates it and sets TC.
func (r *Reply) SealUDP(response []byte) ([]byte, error) { return r.seal(response, r.length) }

// SealTCP encrypts a DNS response for TCP, without the two octets of length that stand before it there.
func (r *Reply) SealTCP(response []byte) ([]byte, error) { return r.seal(response, MaxTCP) }

func (r *Reply) seal(response []byte, limit int) ([]byte, error) {
	if len(response) < dnsHeader {
		return nil, fmt.Errorf("%w: a DNS message of %d octets", ErrMalformed, len(response))
	}
	least, room := roundUp(len(response)), (limit-ResponseOverhead)/block*block
	if least > room {
		return nil, fmt.Errorf("%w: a response of %d octets, and with its padding at most %d have room", ErrTooLong, len(response), room)
	}
	// The same query gets the same padding, so that asking often does not tell the length (section "Padding for
	// resolver responses").
	prf := hmac.New(sha256.New, r.box.key[:])
	prf.Write(r.nonce[:])
	size := min(least+int(prf.Sum(nil)[0]%4)*block, room)

	var nonce [nonceLen]byte
	copy(nonce[:], r.nonce[:])
	if _, err := rand.Read(nonce[halfNonce:]); err != nil {
		return nil, err
	}
	return r.packet(pad(response, size), &nonce), nil
}

func (r *Reply) packet(padded []byte, nonce *[nonceLen]byte) []byte {
	b := make([]byte, 0, ResponseOverhead+len(padded))
	b = append(b, resolverMagic[:]...)
	b = append(b, nonce[:]...)
	return r.box.seal(b, padded, nonce)
}
