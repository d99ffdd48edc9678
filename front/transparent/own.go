package transparent

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what the program remembers of its latest connections, in each of two generations.
const (
	ownMost = 4096
	// ownFor is how long one is remembered at least, unless there are too many. What goes round in a circle comes in at once;
	// later its port may be that of a client who wants the same far side.
	ownFor = 30 * time.Second
)

// Own remembers the program's own connections of late, by both of their addresses: one of them that comes in at the door
// goes round in a circle. The zero Own remembers none.
type Own struct {
	mu             sync.Mutex
	younger, elder map[ends]struct{}
	since          time.Time // when younger began
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
	o.age()
	if o.younger == nil || len(o.younger) >= ownMost {
		o.turn()
	}
	o.younger[ends{plain(from), plain(to)}] = struct{}{}
}

// age forgets what was long ago. o.mu is held.
func (o *Own) age() {
	past := time.Since(o.since)
	if past >= ownFor {
		o.turn()
	}
	if past >= 2*ownFor {
		o.elder = nil
	}
}

// turn begins a generation. o.mu is held.
func (o *Own) turn() {
	o.elder, o.younger, o.since = o.younger, make(map[ends]struct{}), time.Now()
}

// Has says whether a connection is one of those.
func (o *Own) Has(from, to netip.AddrPort) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.age()
	e := ends{plain(from), plain(to)}
	_, young := o.younger[e]
	_, old := o.elder[e]
	return young || old
}
