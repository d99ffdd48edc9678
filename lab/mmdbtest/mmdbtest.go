// Package mmdbtest writes files that say whose a network is, in the format of MaxMind (https://maxmind.github.io/MaxMind-DB/),
// for tests. It knows what a canary reads of them, and nothing more.
package mmdbtest

import (
	"encoding/binary"
	"net/netip"

	"watertight/visit"
)

// node is one of the search tree: it leads on, or to the data.
type node struct {
	to   [2]*node
	data int // its place in the data section; -1: none
}

// Build gives a file in which networks have these holders.
func Build(networks map[netip.Prefix]visit.Network) []byte {
	root := &node{data: -1}
	var data []byte
	for p, n := range networks {
		addr, bits := p.Addr().AsSlice(), p.Bits()
		if p.Addr().Is4() { // IPv4 is the lowest of IPv6
			addr, bits = append(make([]byte, 12), addr...), bits+96
		}
		at := root
		for i := range bits {
			side := addr[i/8] >> (7 - i%8) & 1
			if at.to[side] == nil {
				at.to[side] = &node{data: -1}
			}
			at = at.to[side]
		}
		at.data = len(data)
		data = append(data, table(
			text("autonomous_system_number"), number(n.Number), text("autonomous_system_organization"), text(n.Name),
			text("country"), table(text("iso_code"), text(n.Country)),
		)...)
	}
	var inner []*node
	index := map[*node]uint32{}
	for list := []*node{root}; len(list) > 0; list = list[1:] {
		if list[0] != nil && list[0].data < 0 {
			index[list[0]] = uint32(len(inner))
			inner = append(inner, list[0])
			list = append(list, list[0].to[0], list[0].to[1])
		}
	}
	const separator = 16
	var b []byte
	for _, n := range inner {
		for _, to := range n.to {
			value := uint32(len(inner)) // nothing
			switch {
			case to == nil:
			case to.data >= 0:
				value += separator + uint32(to.data)
			default:
				value = index[to]
			}
			b = binary.BigEndian.AppendUint32(b, value)
		}
	}
	b = append(append(b, make([]byte, separator)...), data...)
	b = append(b, "\xab\xcd\xefMaxMind.com"...)
	return append(b, table(
		text("node_count"), number(uint32(len(inner))), text("record_size"), number(32), text("ip_version"), number(6),
		text("database_type"), text("Test"), text("binary_format_major_version"), number(2), text("binary_format_minor_version"), number(0),
		text("build_epoch"), number(1), text("languages"), []byte{0, 4}, text("description"), table(),
	)...)
}

// The types of the data section.
const (
	typeText   = 2 << 5
	typeNumber = 6 << 5 // of 32 bits
	typeTable  = 7 << 5
)

func text(s string) []byte {
	if len(s) < 29 {
		return append([]byte{typeText | byte(len(s))}, s...)
	}
	return append([]byte{typeText | 29, byte(len(s) - 29)}, s...)
}

func number(n uint32) []byte {
	return append([]byte{typeNumber | 4}, binary.BigEndian.AppendUint32(nil, n)...)
}

// table has keys and values by turns.
func table(parts ...[]byte) []byte {
	b := []byte{typeTable | byte(len(parts)/2)}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
