package memory

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"watertight/capture"
)

// link is one connection as an onlooker on its way sees it.
type link struct {
	from string
	to   netip.AddrPort

	mu       sync.Mutex
	up, down []byte
}

// keep bounds what is kept of one direction of a link: a test that moves more has said what it had to say.
const keep = 1 << 20

func (l *link) String() string { return l.from + " > " + l.to.String() }

func (l *link) note(side *[]byte, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*side = append(*side, b[:min(len(b), keep-len(*side))]...)
}

// reads says how the onlooker can read a text on the link, or "".
func (l *link) reads(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range [][]byte{l.up, l.down} {
		if hits := capture.Search([]capture.Packet{{Frame: b}}, text); len(hits) > 0 {
			return hits[0].Form
		}
	}
	return ""
}

// tap notes what goes over a connection.
type tap struct {
	net.Conn
	link *link
}

// Read notes what came.
func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.link.note(&t.link.down, b[:n])
	return n, err
}

// Write notes what goes, whether it arrives or not.
func (t *tap) Write(b []byte) (int, error) {
	t.link.note(&t.link.up, b)
	return t.Conn.Write(b)
}

// CloseWrite ends this direction.
func (t *tap) CloseWrite() error {
	c, ok := t.Conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("%T has no half-close", t.Conn)
	}
	return c.CloseWrite()
}

func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }
