package capture

import "net/netip"

// Peer is someone with whom packets may be exchanged.
type Peer struct {
	Proto Proto
	At    netip.AddrPort // port 0 permits every port
}

// String gives the peer as in "tcp 192.0.2.1:443".
func (p Peer) String() string { return string(p.Proto) + " " + p.At.String() }

func (p Peer) matches(proto Proto, at netip.AddrPort) bool {
	return p.Proto == proto && p.At.Addr() == at.Addr() && (p.At.Port() == 0 || p.At.Port() == at.Port())
}

// Between says whether the packet is one between some host and the peer, in either direction. An error of ICMP is,
// where it tells the sender of such a packet about it.
func (p Peer) Between(packet Packet) bool {
	if about := packet.about; about != nil {
		return about.about == nil && about.From.Addr() == packet.To.Addr() && p.Between(*about)
	}
	return p.matches(packet.Proto, packet.To) || p.matches(packet.Proto, packet.From)
}

// Strangers gives the packets that were exchanged with anyone but the permitted peers. What makes the link work
// ([Control]) is no conversation.
func Strangers(packets []Packet, permitted []Peer) []Packet {
	var out []Packet
next:
	for _, p := range packets {
		if p.Proto == Control {
			continue
		}
		for _, peer := range permitted {
			if peer.Between(p) {
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}

// String describes a packet in one line, without what it carries.
func (p Packet) String() string {
	way := "in "
	if p.Outgoing {
		way = "out"
	}
	return p.Time.Format("15:04:05.000000") + " " + p.Point + " " + way + " " + string(p.Proto) + " " + p.From.String() + " > " + p.To.String()
}
