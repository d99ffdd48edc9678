// Package masque is connect-udp in octets: HTTP Datagrams and the capsules that carry them (RFC 9297), the payloads of UDP in
// them, and the paths that say whom they go to (RFC 9298).
//
// It promises that every length is bounded, that what it does not know is passed over as the standards want it, and that a
// target comes out as a [name.Target], so that a name which is an address in disguise is an address. It never dials and
// never looks a name up.
package masque

import (
	"errors"
	"io"
)

// Protocol is what an extended CONNECT asks for (RFC 9298, section 3.4).
const Protocol = "connect-udp"

// CapsuleProtocol is the field that says that a stream carries capsules (RFC 9297, section 3.4), and CapsuleProtocolTrue its
// value.
const (
	CapsuleProtocol     = "Capsule-Protocol"
	CapsuleProtocolTrue = "?1"
)

// MaxPayload is the most octets of a UDP payload (RFC 9298, section 5).
const MaxPayload = 65527

// maxVarint is the most octets of a number (RFC 9000, section 16).
const maxVarint = 8

// maxDatagram is the most octets of an HTTP Datagram that carries a UDP payload, the number of its context before it.
const maxDatagram = maxVarint + MaxPayload

// maxSkipped bounds a capsule of a type that is passed over, in octets, and maxSkips how many follow each other: more is no
// use of an extension.
const (
	maxSkipped = 1 << 20
	maxSkips   = 256
)

// Errors of what the other side sent.
var (
	ErrMalformed = errors.New("masque: a capsule or an HTTP datagram is malformed")
	ErrTooLong   = errors.New("masque: a capsule is too long")
)

// datagram is the type of the capsule that carries an HTTP Datagram (RFC 9297, section 3.5).
const datagram = 0

// AppendUDP appends an HTTP Datagram that carries a UDP payload: that of context 0 (RFC 9298, section 5).
func AppendUDP(dst, payload []byte) []byte {
	return append(append(dst, 0), payload...)
}

// ParseUDP gives the UDP payload of an HTTP Datagram; false for what belongs to another context, which nobody registered, and
// which is to be dropped (RFC 9298, section 4).
func ParseUDP(b []byte) (payload []byte, ok bool, err error) {
	context, n := varint(b)
	if n == 0 || len(b)-n > MaxPayload {
		return nil, false, ErrMalformed
	}
	return b[n:], context == 0, nil
}

// AppendCapsule appends the capsule of an HTTP Datagram that carries a UDP payload of at most MaxPayload octets.
func AppendCapsule(dst, payload []byte) []byte {
	dst = appendVarint(append(dst, datagram), uint64(1+len(payload)))
	return AppendUDP(dst, payload)
}

// CapsuleOverhead is the most octets that AppendCapsule puts before a payload.
const CapsuleOverhead = 1 + 4 + 1

// Reader reads the UDP payloads from the capsules of a stream. Capsules of other types, and contexts that nobody registered,
// are passed over (RFC 9297, section 3.2; RFC 9298, section 4).
type Reader struct {
	from io.Reader
	buf  []byte // grows as far as the datagrams that come
	head [1]byte
}

// NewReader reads from a stream, an octet at a time where it has to: one that has a buffer serves best.
func NewReader(from io.Reader) *Reader { return &Reader{from: from} }

// Next gives the next payload, which is valid until it is called again. The error is [ErrMalformed], [ErrTooLong], or the
// stream's: io.EOF at the end of a capsule, io.ErrUnexpectedEOF in it.
func (r *Reader) Next() ([]byte, error) {
	for range maxSkips {
		kind, err := r.varint()
		if err != nil {
			return nil, err
		}
		length, err := r.varint()
		if err != nil {
			return nil, unexpected(err)
		}
		if kind != datagram {
			if err := r.skip(length); err != nil {
				return nil, err
			}
			continue
		}
		if length > maxDatagram {
			return nil, ErrTooLong
		}
		if uint64(len(r.buf)) < length {
			r.buf = make([]byte, length)
		}
		value := r.buf[:length]
		if _, err := io.ReadFull(r.from, value); err != nil {
			return nil, unexpected(err)
		}
		payload, ok, err := ParseUDP(value)
		if err != nil {
			return nil, err
		}
		if ok {
			return payload, nil
		}
	}
	return nil, ErrTooLong
}

func (r *Reader) skip(length uint64) error {
	if length > maxSkipped {
		return ErrTooLong
	}
	if _, err := io.CopyN(io.Discard, r.from, int64(length)); err != nil {
		return unexpected(err)
	}
	return nil
}

// varint reads a number. The error is io.EOF only before its first octet.
func (r *Reader) varint() (uint64, error) {
	if _, err := io.ReadFull(r.from, r.head[:]); err != nil {
		return 0, err
	}
	v := uint64(r.head[0] & 0x3f)
	for range 1<<(r.head[0]>>6) - 1 {
		if _, err := io.ReadFull(r.from, r.head[:]); err != nil {
			return 0, unexpected(err)
		}
		v = v<<8 | uint64(r.head[0])
	}
	return v, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// varint reads a number of RFC 9000, section 16, and says how many octets it has; 0 where it is cut off.
func varint(b []byte) (uint64, int) {
	if len(b) == 0 {
		return 0, 0
	}
	n := 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v := uint64(b[0] & 0x3f)
	for _, octet := range b[1:n] {
		v = v<<8 | uint64(octet)
	}
	return v, n
}

// appendVarint appends a number in as few octets as it has room in. It is no larger than a payload may be long, and a little.
func appendVarint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(dst, byte(v))
	case v < 1<<14:
		return append(dst, byte(v>>8)|0x40, byte(v))
	}
	return append(dst, byte(v>>24)|0x80, byte(v>>16), byte(v>>8), byte(v))
}
