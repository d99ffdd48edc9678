package hello

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

// version is what the versions of QUIC differ in. The keys of the first packets are no secret: everyone on the way can
// open them.
type version struct {
	salt    []byte
	label   string
	initial byte // the type of the packet, in its first octet
}

var versions = map[int]version{
	1:          {[]byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}, "quic ", 0x00},   // RFC 9001, section 5.2
	0x6b3343cf: {[]byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}, "quicv2 ", 0x10}, // RFC 9369, section 3
}

// Initials is what a client says at the start of a connection of QUIC, put together from its packets in whatever order they
// come. The zero Initials has seen none.
type Initials struct {
	// Most bounds what is kept, in octets. Zero means 16 KiB.
	Most int

	keys *initialKeys
	data []byte
	have []bool
}

func (q *Initials) most() int {
	if q.Most == 0 {
		return maxQUIC
	}
	return q.Most
}

type initialKeys struct {
	aead cipher.AEAD
	iv   []byte
	mask cipher.Block // of the header
}

// Message gives the handshake as far as there is no gap in it, without the record layer that QUIC does not have.
func (q *Initials) Message() []byte {
	for i, have := range q.have {
		if !have {
			return q.data[:i]
		}
	}
	return q.data
}

// Packet reads the first packet of a datagram, and gives what follows it; false where that cannot be read.
func (q *Initials) Packet(b []byte) (rest []byte, ok bool) {
	const long, kind = 0xc0, 0x30
	r := reader{b: b}
	first := byte(r.number(1))
	v, known := versions[r.number(4)]
	if r.bad || !known || first&long != long || first&kind != v.initial {
		return nil, false
	}
	destination := r.vector(1)
	r.vector(1) // source
	r.counted() // token
	length := r.varint()
	at := len(b) - len(r.b)
	if r.bad || len(destination) > 20 || length > uint64(len(r.b)) || length < 20 {
		return nil, false
	}
	if q.keys == nil {
		if q.keys = v.derive(destination); q.keys == nil {
			return nil, false
		}
	}
	end := at + int(length)
	q.open(append([]byte(nil), b[:end]...), at)
	return b[end:], true
}

// derive gives the keys of a client's first packets (RFC 9001, section 5.2).
func (v version) derive(destination []byte) *initialKeys {
	secret, err := hkdf.Extract(sha256.New, destination, v.salt)
	if err != nil {
		return nil
	}
	client := expandLabel(secret, "client in", sha256.Size)
	block, err := aes.NewCipher(expandLabel(client, v.label+"key", 16))
	if err != nil {
		return nil
	}
	mask, err := aes.NewCipher(expandLabel(client, v.label+"hp", 16))
	if err != nil {
		return nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil
	}
	return &initialKeys{aead, expandLabel(client, v.label+"iv", 12), mask}
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func expandLabel(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		return nil // and no cipher takes such a key
	}
	return out
}

// open takes the protection off a packet whose number begins at an offset (RFC 9001, section 5.4), and reads it. One that
// does not open is passed over.
func (q *Initials) open(b []byte, at int) {
	mask := make([]byte, aes.BlockSize)
	q.keys.mask.Encrypt(mask, b[at+4:at+20])
	b[0] ^= mask[0] & 0x0f
	n := int(b[0]&3) + 1
	nonce := append([]byte(nil), q.keys.iv...)
	for i := range n {
		b[at+i] ^= mask[1+i]
		nonce[len(nonce)-n+i] ^= b[at+i]
	}
	if frames, err := q.keys.aead.Open(nil, nonce, b[at+n:], b[:at+n]); err == nil {
		q.frames(frames)
	}
}

// frames keeps what CRYPTO frames carry (RFC 9000, section 19.6).
func (q *Initials) frames(b []byte) {
	const padding, ping, ack, crypto = 0x00, 0x01, 0x02, 0x06
	r := reader{b: b}
	for !r.bad && len(r.b) > 0 {
		switch r.varint() {
		case padding, ping:
		case ack:
			r.varint() // largest
			r.varint() // delay
			for ranges := 2*min(r.varint(), uint64(len(r.b))) + 1; ranges > 0 && !r.bad; ranges-- {
				r.varint()
			}
		case crypto:
			offset := r.varint()
			data := r.counted()
			if !r.bad && offset < uint64(q.most()) && int(offset)+len(data) <= q.most() {
				q.keep(int(offset), data)
			}
		default:
			return
		}
	}
}

// keep puts a part in its place. What came first stands.
func (q *Initials) keep(offset int, data []byte) {
	if end := offset + len(data); end > len(q.data) {
		q.data = append(q.data, make([]byte, end-len(q.data))...)
		q.have = append(q.have, make([]bool, end-len(q.have))...)
	}
	for i, b := range data {
		if !q.have[offset+i] {
			q.data[offset+i], q.have[offset+i] = b, true
		}
	}
}
