package hello

// Limits of a connection of QUIC that is looked at.
const (
	maxQUIC    = 16 << 10 // of the handshake, in octets
	maxPackets = 16
	minInitial = 1200 // octets of a client's first datagrams (RFC 9000, section 14.1)
)

// QUIC reads the first datagrams of a client, in whatever order they come. The zero QUIC has read none.
type QUIC struct {
	initials Initials
	packets  int
}

// Add reads one datagram, and says what is known by now. What it gives does not change after it gives another state than
// More.
func (q *QUIC) Add(datagram []byte) (Said, State) {
	if len(datagram) < minInitial && q.packets == 0 {
		return Said{}, Nothing
	}
	for len(datagram) > 0 {
		if q.packets++; q.packets > maxPackets {
			return Said{}, Nothing
		}
		rest, ok := q.initials.Packet(datagram)
		if !ok {
			break
		}
		datagram = rest
	}
	if q.initials.keys == nil {
		return Said{}, Nothing
	}
	return handshake(q.initials.Message())
}
