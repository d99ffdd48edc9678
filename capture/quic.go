package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// maxHello bounds what is kept of the start of a connection of QUIC, in octets.
const maxHello = 64 << 10

// quicSalt is that of version 1 of QUIC (RFC 9001, section 5.2): the keys of the first packets are no secret, and everyone
// on the way can open them.
var quicSalt = []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}

// QUICHello is what a client says in the clear at the start of a connection of QUIC (RFC 9001, section 5.2), put together
// from its datagrams in whatever order they come. The zero QUICHello has seen none.
type QUICHello struct {
	keys *initialKeys
	data []byte
	have []bool
}

type initialKeys struct {
	aead cipher.AEAD
	iv   []byte
	mask cipher.Block // of the header
}

// Add reads one datagram of the client. It passes over what it cannot read.
func (h *QUICHello) Add(datagram []byte) {
	for len(datagram) > 0 {
		rest, ok := h.packet(datagram)
		if !ok {
			return
		}
		datagram = rest
	}
}

// Message gives the ClientHello as far as there is no gap in it, without the record layer that QUIC does not have.
func (h *QUICHello) Message() []byte {
	for i, have := range h.have {
		if !have {
			return h.data[:i]
		}
	}
	return h.data
}

// ServerName is that of the ClientHello.
func (h *QUICHello) ServerName() (string, bool) { return helloServerName(h.Message()) }

// packet reads the first packet of a datagram, and gives what follows it.
func (h *QUICHello) packet(b []byte) (rest []byte, ok bool) {
	const longHeader, initial, version1 = 0xc0, 0x00, 1
	r := reader{b: b}
	first := r.number(1)
	if first&longHeader != longHeader || first&0x30 != initial || r.number(4) != version1 {
		return nil, false
	}
	destination := r.vector(1)
	r.vector(1) // source
	r.take(r.varint())
	length := r.varint()
	at := len(b) - len(r.b)
	if r.bad || length > len(r.b) || length < 20 {
		return nil, false
	}
	if h.keys == nil && !h.derive(destination) {
		return nil, false
	}
	h.open(append([]byte(nil), b[:at+length]...), at)
	return b[at+length:], true
}

func (h *QUICHello) derive(destination []byte) bool {
	secret, err := hkdf.Extract(sha256.New, destination, quicSalt)
	if err != nil {
		return false
	}
	client := expandLabel(secret, "client in", sha256.Size)
	block, err := aes.NewCipher(expandLabel(client, "quic key", 16))
	if err != nil {
		return false
	}
	mask, err := aes.NewCipher(expandLabel(client, "quic hp", 16))
	if err != nil {
		return false
	}
	aead, err := cipher.NewGCM(block)
	h.keys = &initialKeys{aead, expandLabel(client, "quic iv", 12), mask}
	return err == nil
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
func expandLabel(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		return make([]byte, n)
	}
	return out
}

// open takes the protection off a packet whose number begins at an offset (RFC 9001, section 5.4), and reads it.
func (h *QUICHello) open(b []byte, at int) {
	mask := make([]byte, aes.BlockSize)
	h.keys.mask.Encrypt(mask, b[at+4:at+20])
	b[0] ^= mask[0] & 0x0f
	n := int(b[0]&3) + 1
	nonce := append([]byte(nil), h.keys.iv...)
	for i := range n {
		b[at+i] ^= mask[1+i]
		nonce[len(nonce)-n+i] ^= b[at+i]
	}
	frames, err := h.keys.aead.Open(nil, nonce, b[at+n:], b[:at+n])
	if err == nil {
		h.frames(frames)
	}
}

// frames keeps what CRYPTO frames carry (RFC 9000, section 19.6).
func (h *QUICHello) frames(b []byte) {
	const padding, ping, ack, crypto = 0x00, 0x01, 0x02, 0x06
	r := reader{b: b}
	for !r.bad && len(r.b) > 0 {
		switch r.varint() {
		case padding, ping:
		case ack:
			r.varint() // largest
			r.varint() // delay
			ranges := r.varint()
			for range 2*min(ranges, maxHello) + 1 {
				r.varint()
			}
		case crypto:
			offset := r.varint()
			data := r.take(r.varint())
			if !r.bad && offset < maxHello && offset+len(data) <= maxHello {
				h.keep(offset, data)
			}
		default:
			return
		}
	}
}

func (h *QUICHello) keep(offset int, data []byte) {
	if end := offset + len(data); end > len(h.data) {
		h.data = append(h.data, make([]byte, end-len(h.data))...)
		h.have = append(h.have, make([]bool, end-len(h.have))...)
	}
	copy(h.data[offset:], data)
	for i := range data {
		h.have[offset+i] = true
	}
}

// varint takes a variable-length integer (RFC 9000, section 16).
func (r *reader) varint() int {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	b := r.take(1 << (r.b[0] >> 6))
	if len(b) == 0 {
		return 0
	}
	var v [8]byte
	copy(v[8-len(b):], b)
	v[8-len(b)] &= 0x3f
	return int(binary.BigEndian.Uint64(v[:]))
}

// quicNames reads the server names of connections of QUIC: one for each pair of ends whose first packets were seen.
func quicNames(packets []Packet) (out []Read) {
	type flow struct {
		point    string
		from, to netip.AddrPort
	}
	hellos := map[flow]*QUICHello{}
	named := map[flow]bool{}
	for _, p := range packets {
		f := flow{p.Point, p.From, p.To}
		if p.Proto != UDP || named[f] {
			continue
		}
		if hellos[f] == nil {
			hellos[f] = &QUICHello{}
		}
		hellos[f].Add(p.Payload)
		if host, ok := hellos[f].ServerName(); ok {
			named[f] = true
			out = append(out, read(p, BySNI, host, ""))
		}
	}
	return out
}
