package network

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// message is one of netlink (netlink(7)): a header, a fixed part, and attributes, which may hold others.
type message []byte

// newMessage begins one that wants an answer, if flags say no other.
func newMessage(kind, flags uint16, fixed []byte) *message {
	m := make(message, unix.SizeofNlMsghdr, 256)
	binary.NativeEndian.PutUint16(m[4:], kind)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|flags)
	m = append(m, fixed...)
	m.pad()
	return &m
}

func (m *message) pad() {
	for len(*m)%unix.NLMSG_ALIGNTO != 0 {
		*m = append(*m, 0)
	}
}

// add appends an attribute.
func (m *message) add(kind uint16, value []byte) *message {
	*m = binary.NativeEndian.AppendUint16(*m, uint16(unix.SizeofNlAttr+len(value)))
	*m = binary.NativeEndian.AppendUint16(*m, kind)
	*m = append(*m, value...)
	m.pad()
	return m
}

// text appends one that holds text, with the zero octet at its end.
func (m *message) text(kind uint16, s string) *message { return m.add(kind, append([]byte(s), 0)) }

// u32 appends one that holds a number of the host's order; be32 is for one of the network's.
func (m *message) u32(kind uint16, n uint32) *message {
	return m.add(kind, binary.NativeEndian.AppendUint32(nil, n))
}

func (m *message) be32(kind uint16, n uint32) *message {
	return m.add(kind, binary.BigEndian.AppendUint32(nil, n))
}

// nest appends one that holds those that fill appends.
func (m *message) nest(kind uint16, fill func(*message)) *message {
	at := len(*m)
	*m = binary.NativeEndian.AppendUint16(*m, 0)
	*m = binary.NativeEndian.AppendUint16(*m, kind|unix.NLA_F_NESTED)
	fill(m)
	binary.NativeEndian.PutUint16((*m)[at:], uint16(len(*m)-at))
	return m
}

// bytes is the whole message.
func (m *message) bytes() []byte {
	binary.NativeEndian.PutUint32(*m, uint32(len(*m)))
	return *m
}
