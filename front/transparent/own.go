package transparent

import (
	"net"
	"net/netip"
	"sync"
)

// ownMost bounds how many of its latest connections the program remembers.
const ownMost = 4096

// Own remembers the program's own connections of late, by both of their addresses: one of them that comes in at the door
// goes round in a circle. The zero Own remembers none.
type Own struct {
	mu             sync.Mutex
	younger, elder map[ends]struct{}
}

type ends struct{ from, to netip.AddrPort }

// Add remembers a connection, or a flow of datagrams. The address that was dialled counts.
func (o *Own) Add(conn net.Conn, to netip.AddrPort) {
	var from netip.AddrPort
	switch a := conn.LocalAddr().(type) {
	case *net.TCPAddr:
		from = a.AddrPort()
	case *net.UDPAddr:
		from = a.AddrPort()
	default:
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.younger == nil || len(o.younger) >= ownMost {
		o.elder, o.younger = o.younger, make(map[ends]struct{})
	}
	o.younger[ends{plain(from), plain(to)}] = struct{}{}
}

// Has says whether a connection is one of those.
func (o *Own) Has(from, to netip.AddrPort) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := ends{plain(from), plain(to)}
	_, young := o.younger[e]
	_, old := o.elder[e]
	return young || old
}
