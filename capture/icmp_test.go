package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// ip makes a packet of IP with a payload, without checksums.
func ip(from, to string, v4proto byte, payload []byte) []byte {
	a, b := netip.MustParseAddr(from), netip.MustParseAddr(to)
	var h []byte
	if a.Is4() {
		h = make([]byte, 20)
		h[0], h[9] = 0x45, v4proto
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
		copy(h[12:], a.AsSlice())
		copy(h[16:], b.AsSlice())
	} else {
		h = make([]byte, 40)
		h[0], h[6] = 0x60, map[byte]byte{protoICMP: protoICMPv6, protoUDP: protoUDP}[v4proto]
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		copy(h[8:], a.AsSlice())
		copy(h[24:], b.AsSlice())
	}
	return append(h, payload...)
}

func ethernet(packet []byte) Packet {
	f := make([]byte, ethernetHeader, ethernetHeader+len(packet))
	binary.BigEndian.PutUint16(f[12:], etherIPv4)
	if packet[0]>>4 == 6 {
		binary.BigEndian.PutUint16(f[12:], etherIPv6)
	}
	return Decode(append(f, packet...))
}

func datagram(from, to uint16) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	return b
}

func icmpError(kind byte, about []byte) []byte {
	return append([]byte{kind, 1, 0, 0, 0, 0, 0, 0}, about...)
}

func TestAnErrorOfICMPBelongsToTheConversationThatItIsAbout(t *testing.T) {
	for _, f := range []struct {
		me, resolver, other string
		unreachable, echo   byte
	}{
		{"192.0.2.1", "198.51.100.7", "203.0.113.9", 3, 8},
		{"2001:db8::1", "2001:db8:7::7", "2001:db8:9::9", 1, 128},
	} {
		peers := []Peer{{UDP, netip.AddrPortFrom(netip.MustParseAddr(f.resolver), 853)}}
		asked := ip(f.me, f.resolver, protoUDP, datagram(4000, 853))
		replied := ip(f.resolver, f.me, protoUDP, datagram(853, 4000))
		elsewhere := ip(f.me, f.other, protoUDP, datagram(4000, 853))
		for _, c := range []struct {
			what   string
			packet []byte
			good   bool
		}{
			{"the resolver's port is closed", ip(f.resolver, f.me, protoICMP, icmpError(f.unreachable, asked)), true},
			{"a router says that the resolver is unreachable", ip(f.other, f.me, protoICMP, icmpError(f.unreachable, asked)), true},
			{"a late reply finds a closed socket", ip(f.me, f.resolver, protoICMP, icmpError(f.unreachable, replied)), true},
			{"an error about a packet for a stranger", ip(f.other, f.me, protoICMP, icmpError(f.unreachable, elsewhere)), false},
			{"an error that is sent to a stranger", ip(f.me, f.other, protoICMP, icmpError(f.unreachable, replied)), false},
			{"an error about an error", ip(f.resolver, f.me, protoICMP,
				icmpError(f.unreachable, ip(f.me, f.resolver, protoICMP, icmpError(f.unreachable, replied)))), false},
			{"a ping", ip(f.me, f.resolver, protoICMP, icmpError(f.echo, asked)), false},
			{"an error that quotes nothing", ip(f.me, f.resolver, protoICMP, icmpError(f.unreachable, nil)), false},
		} {
			p := ethernet(c.packet)
			if good := len(Strangers([]Packet{p}, peers)) == 0; p.Proto != ICMP || good != c.good {
				t.Errorf("%s (%s): permitted %v", c.what, p, good)
			}
		}
	}
}
