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
	lost     bool // more went over it than was kept
}

// keep bounds what is kept of one direction of a link. What goes over it beyond that counts as a leak, as nobody saw it.
const keep = 1 << 20

func (l *link) String() string { return l.from + " > " + l.to.String() }

func (l *link) note(side *[]byte, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := min(len(b), keep-len(*side))
	l.lost = l.lost || room < len(b)
	*side = append(*side, b[:room]...)
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

// unseen says whether something went over the link that was not kept.
func (l *link) unseen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
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
