package wire

import (
	"io"
	"net"
)

// Headed is a connection of which some octets were read ahead: they come first from Read, then the socket's own.
// A relay takes the head, sends it on, and goes on with the bare socket.
type Headed struct {
	*net.TCPConn
	head []byte
}

// NewHeaded puts head in front of what conn has yet to read.
func NewHeaded(conn *net.TCPConn, head []byte) *Headed { return &Headed{TCPConn: conn, head: head} }

// Read gives the octets read ahead, then the socket's.
func (h *Headed) Read(b []byte) (int, error) {
	if len(h.head) > 0 {
		n := copy(b, h.head)
		h.head = h.head[n:]
		return n, nil
	}
	return h.TCPConn.Read(b)
}

// WriteTo writes the octets read ahead, then the socket's.
func (h *Headed) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(h.TakeHead())
	if err != nil {
		return int64(n), err
	}
	m, err := h.TCPConn.WriteTo(w)
	return int64(n) + m, err
}

// TakeHead gives the octets read ahead and forgets them.
func (h *Headed) TakeHead() []byte {
	head := h.head
	h.head = nil
	return head
}
