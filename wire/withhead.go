package wire

import "net"

// WithHead gives conn with head in front of what it has yet to read: conn itself where head is empty, a [*Headed]
// over a kernel socket, and otherwise a connection that relays treat as any other. A [*Headed] whose head was read
// to its end becomes its bare socket again. The head is kept, not copied.
func WithHead(conn net.Conn, head []byte) net.Conn {
	switch c := conn.(type) {
	case *Headed:
		return WithHead(c.TCPConn, join(c.TakeHead(), head))
	case *headedConn:
		return WithHead(c.Conn, join(c.takeHead(), head))
	case *net.TCPConn:
		if len(head) > 0 {
			return NewHeaded(c, head)
		}
	default:
		if len(head) > 0 {
			return &headedConn{Conn: conn, head: head}
		}
	}
	return conn
}

// join keeps the order: what was read from the front comes before what is still there.
func join(unread, read []byte) []byte {
	if len(unread) == 0 {
		return read
	}
	return append(read[:len(read):len(read)], unread...)
}

// headedConn is [Headed] over a connection that is no kernel socket: one with TLS, or an end of a pipe in memory.
type headedConn struct {
	net.Conn
	head []byte
}

// Read gives the octets read ahead, then the connection's.
func (h *headedConn) Read(b []byte) (int, error) {
	if len(h.head) > 0 {
		n := copy(b, h.head)
		h.head = h.head[n:]
		return n, nil
	}
	return h.Conn.Read(b)
}

// CloseWrite ends this direction where the connection can do that, and else both.
func (h *headedConn) CloseWrite() error {
	if c, ok := h.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return h.Conn.Close()
}

// Abort sees to it that the end is not taken for an orderly one, where the connection can do that.
func (h *headedConn) Abort() {
	if c, ok := h.Conn.(interface{ Abort() }); ok {
		c.Abort()
	}
}

func (h *headedConn) takeHead() []byte {
	head := h.head
	h.head = nil
	return head
}
