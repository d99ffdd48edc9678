package capture

import (
	"net/netip"

	"watertight/hello"
)

// maxHello bounds what is kept of the start of a connection of QUIC, in octets.
const maxHello = 64 << 10

// QUICHello is what a client says in the clear at the start of a connection of QUIC (RFC 9001, section 5.2), put together
// from its datagrams in whatever order they come. The zero QUICHello has seen none.
type QUICHello struct{ initials hello.Initials }

// Add reads one datagram of the client. It passes over what it cannot read.
func (h *QUICHello) Add(datagram []byte) {
	h.initials.Most = maxHello
	for len(datagram) > 0 {
		rest, ok := h.initials.Packet(datagram)
		if !ok {
			return
		}
		datagram = rest
	}
}

// Message gives the ClientHello as far as there is no gap in it, without the record layer that QUIC does not have.
func (h *QUICHello) Message() []byte { return h.initials.Message() }

// ServerName is that of the ClientHello.
func (h *QUICHello) ServerName() (string, bool) { return helloServerName(h.Message()) }

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
