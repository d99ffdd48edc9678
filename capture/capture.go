// Package capture holds packets that were seen on a network interface, and reads in them what an onlooker could:
// who was spoken to, which names stood in the clear, and whether a given name occurs in any disguise.
//
// It promises that what it did not see is said: a capture that lost a packet, or was not drained, is an error and
// never a proof. It never sends anything but the marker by which it learns that it has read everything before it.
package capture

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Proto is what a packet is, as far as an onlooker cares.
type Proto string

// The kinds of packet that are told apart. Control is what makes a link work and carries no name: ARP (RFC 826),
// neighbour discovery (RFC 4861) and multicast listener reports (RFC 3810).
const (
	TCP     Proto = "tcp"
	UDP     Proto = "udp"
	ICMP    Proto = "icmp"
	Control Proto = "control"
	Other   Proto = "other"
)

// Packet is one packet as one interface saw it.
type Packet struct {
	Time     time.Time
	Point    string // where it was seen
	Outgoing bool   // sent by the host that owns the interface
	Length   int    // in octets on the wire; more than len(Frame) if it was cut
	Frame    []byte // from the link-layer header on

	Proto    Proto
	From, To netip.AddrPort // port 0 where the protocol has none
	Payload  []byte         // what TCP or UDP carries, or all that follows the IP header; part of Frame
	seq      uint32         // TCP's sequence number of Payload's first octet
	syn      bool
	ends     bool
	about    *Packet // of an error of ICMP: the packet that it answers, as far as it is quoted
}

// Ethernet types (IEEE 802) and IP protocol numbers.
const (
	etherIPv4   = 0x0800
	etherARP    = 0x0806
	etherIPv6   = 0x86dd
	etherMarker = 0x88b5 // local experimental (IEEE 802)

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

const (
	ethernetHeader = 14
	quotedAt       = 8 // octets into an error of ICMP, the packet begins that it answers
)

// Decode reads an Ethernet frame as far as it can. What it cannot read is a packet of kind Other, never an error:
// an unreadable packet is still a packet that left.
func Decode(frame []byte) Packet {
	p := Packet{Frame: frame, Length: len(frame), Proto: Other}
	if len(frame) < ethernetHeader {
		return p
	}
	body := frame[ethernetHeader:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		p.Proto = Control
	case etherIPv4:
		p.ipv4(body)
	case etherIPv6:
		p.ipv6(body)
	}
	return p
}

// Framed puts an Ethernet header before a packet that came without one, of the kind that an Ethernet type names: for interfaces
// that have no such headers. Both addresses in it are zero.
func Framed(kind uint16, packet []byte) []byte {
	b := make([]byte, ethernetHeader, ethernetHeader+len(packet))
	binary.BigEndian.PutUint16(b[12:], kind)
	return append(b, packet...)
}

// About gives the packet that an error of ICMP is about, as far as it is quoted, or nil.
func (p *Packet) About() *Packet { return p.about }

// Opens says whether the packet begins a connection of TCP, or answers one that does.
func (p *Packet) Opens() bool { return p.syn }

// Closes says whether the packet is the last of its direction of a connection of TCP.
func (p *Packet) Closes() bool { return p.ends }

// Sequence gives the sequence number of the first octet of a TCP packet's payload.
func (p *Packet) Sequence() uint32 {
	if p.syn {
		return p.seq + 1
	}
	return p.seq
}

func (p *Packet) ipv4(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	header := int(b[0]&15) * 4
	if header < 20 || len(b) < header {
		return
	}
	// A total length of 0 is a packet that segmentation offload will cut up later.
	if total := int(binary.BigEndian.Uint16(b[2:])); total >= header && total < len(b) {
		b = b[:total]
	}
	p.From = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:])), 0)
	p.To = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:])), 0)
	p.Payload = b[header:]
	if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 { // later fragments have no ports
		p.transport(b[9], b[header:])
	}
}

func (p *Packet) ipv6(b []byte) {
	if len(b) < 40 || b[0]>>4 != 6 {
		return
	}
	if total := 40 + int(binary.BigEndian.Uint16(b[4:])); total > 40 && total < len(b) {
		b = b[:total]
	}
	p.From = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), 0)
	p.To = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:])), 0)
	next, rest := b[6], b[40:]
	p.Payload = rest
	for len(rest) >= 8 {
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options (RFC 8200, section 4)
			skip := 8 + int(rest[1])*8
			if skip > len(rest) {
				return
			}
			next, rest = rest[0], rest[skip:]
		case 44: // fragment
			if binary.BigEndian.Uint16(rest[2:])&^7 != 0 {
				return
			}
			next, rest = rest[0], rest[8:]
		default:
			p.transport(next, rest)
			return
		}
	}
}

func (p *Packet) transport(proto byte, b []byte) {
	ports := func() {
		p.From = netip.AddrPortFrom(p.From.Addr(), binary.BigEndian.Uint16(b))
		p.To = netip.AddrPortFrom(p.To.Addr(), binary.BigEndian.Uint16(b[2:]))
	}
	switch {
	case proto == protoTCP && len(b) >= 20 && int(b[12]>>4)*4 <= len(b):
		ports()
		p.Proto = TCP
		p.seq = binary.BigEndian.Uint32(b[4:])
		p.syn = b[13]&2 != 0
		p.ends = b[13]&5 != 0 // FIN or RST
		p.Payload = b[int(b[12]>>4)*4:]
	case proto == protoUDP && len(b) >= 8:
		ports()
		p.Proto = UDP
		p.Payload = b[8:]
	case proto == protoICMP:
		p.Proto = ICMP
		p.Payload = b
		if len(b) > quotedAt && (b[0] == 3 || b[0] == 11 || b[0] == 12) { // RFC 792
			p.about = new(Packet)
			p.about.ipv4(b[quotedAt:])
		}
	case proto == protoICMPv6 && len(b) >= 1:
		p.Payload = b
		p.Proto = ICMP
		if t := b[0]; t >= 130 && t <= 137 || t == 143 {
			p.Proto = Control
		}
		if len(b) > quotedAt && b[0] >= 1 && b[0] <= 4 { // RFC 4443, section 3
			p.about = new(Packet)
			p.about.ipv6(b[quotedAt:])
		}
	}
}
