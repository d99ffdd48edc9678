package dnscrypt

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
)

// Client encrypts queries under one certificate with one key pair. Its key is public to the resolver, which can link
// the queries that share it: make one Client for a session, or a fresh one for every query, which costs two
// multiplications on the curve. It is safe for concurrent use, and does not watch over the certificate's validity.
type Client struct {
	certificate Certificate
	public      [keyLen]byte
	box         box
}

// NewClient makes a key pair and agrees on a key with the resolver. A certificate with a key that cannot be used is
// [ErrKey], one for an unknown encryption [ErrUnsupported].
func NewClient(c Certificate) (*Client, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newClient(c, private)
}

func newClient(c Certificate, private *ecdh.PrivateKey) (*Client, error) {
	b, err := newBox(c.Encryption, private, c.Resolver)
	if err != nil {
		return nil, err
	}
	return &Client{certificate: c, public: [keyLen]byte(private.PublicKey().Bytes()), box: b}, nil
}

// Certificate gives the certificate.
func (c *Client) Certificate() Certificate { return c.certificate }

// NextMinimum is the minimum for UDP after a response that was truncated: 64 octets more, at most [MaxMinimum].
func NextMinimum(minimum int) int { return min(minimum+block, MaxMinimum) }

// SealUDP encrypts a DNS query for UDP. Padded it has at least minimum octets, a multiple of 64 from [MinMinimum] to
// [MaxMinimum], so that the response, which may not be longer, has room. A query that has no room in a datagram is
// [ErrTooLong]: it goes over TCP.
func (c *Client) SealUDP(query []byte, minimum int) ([]byte, *Exchange, error) {
	if minimum < MinMinimum || minimum > MaxMinimum || minimum%block != 0 {
		return nil, nil, fmt.Errorf("%w: a minimum of %d octets, want a multiple of %d from %d to %d", ErrMalformed, minimum, block, MinMinimum, MaxMinimum)
	}
	return c.seal(query, max(minimum, roundUp(len(query))), MaxMinimum)
}

// SealTCP encrypts a DNS query for TCP, without the two octets of length that stand before it there. The padding is of
// a random length, up to 256 octets. Where a relay will send the query on over UDP, minimum says how long the padded
// query shall be at least, so that the response has room: a multiple of 64, at most [MaxRelayed]; otherwise it is 0.
func (c *Client) SealTCP(query []byte, minimum int) ([]byte, *Exchange, error) {
	if minimum < 0 || minimum > MaxRelayed || minimum%block != 0 {
		return nil, nil, fmt.Errorf("%w: a minimum of %d octets, want a multiple of %d up to %d", ErrMalformed, minimum, block, MaxRelayed)
	}
	var random [1]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, nil, err
	}
	const room = (MaxTCP - QueryOverhead - RelayHeaderLen) / block * block
	size := roundUp(len(query)) + int(random[0]%4)*block
	if roundUp(len(query)) <= room {
		size = min(size, room)
	}
	return c.seal(query, max(minimum, size), room)
}

func (c *Client) seal(query []byte, size, limit int) ([]byte, *Exchange, error) {
	if len(query) < dnsHeader {
		return nil, nil, fmt.Errorf("%w: a DNS message of %d octets", ErrMalformed, len(query))
	}
	if size > limit {
		return nil, nil, fmt.Errorf("%w: a query of %d octets, and with its padding at most %d have room", ErrTooLong, len(query), limit)
	}
	x := &Exchange{box: c.box}
	if _, err := rand.Read(x.nonce[:]); err != nil {
		return nil, nil, err
	}
	return c.packet(pad(query, size), x.nonce), x, nil
}

// packet writes client magic, client key, nonce and the encrypted query. The other half of the nonce is zero.
func (c *Client) packet(padded []byte, half [halfNonce]byte) []byte {
	b := make([]byte, 0, QueryOverhead+len(padded))
	b = append(b, c.certificate.ClientMagic[:]...)
	b = append(b, c.public[:]...)
	b = append(b, half[:]...)
	var nonce [nonceLen]byte
	copy(nonce[:], half[:])
	return c.box.seal(b, padded, &nonce)
}

// Exchange is one query on its way. It holds a secret.
type Exchange struct {
	box   box
	nonce [halfNonce]byte
}

// Open decrypts the response and gives the DNS message in it, without padding. The errors wrap [ErrMalformed],
// [ErrMagic], [ErrNonce], [ErrDecrypt] or [ErrPadding]. Over UDP such a packet is to be thrown away and the response
// waited for further: anybody can send one. Whether the message is truncated is for the caller to see.
func (x *Exchange) Open(packet []byte) ([]byte, error) {
	switch {
	case len(packet) > MaxTCP:
		return nil, fmt.Errorf("%w: a response of %d octets", ErrTooLong, len(packet))
	case len(packet) < ResponseOverhead:
		return nil, fmt.Errorf("%w: a response of %d octets", ErrMalformed, len(packet))
	case [magicLen]byte(packet) != resolverMagic:
		return nil, fmt.Errorf("%w: a response starts otherwise", ErrMagic)
	}
	nonce := [nonceLen]byte(packet[magicLen:])
	if subtle.ConstantTimeCompare(nonce[:halfNonce], x.nonce[:]) != 1 {
		return nil, ErrNonce
	}
	padded, err := x.box.open(packet[magicLen+nonceLen:], &nonce)
	if err != nil {
		return nil, err
	}
	return unpad(padded)
}
