package read

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Hook is where in the way of a packet a chain stands; empty for one that others jump to.
type Hook string

// FirewallTable is a table of nf_tables, as far as it matters whether it holds.
type FirewallTable struct {
	Family, Name string
	// Dormant says that none of its chains is in force (`flags dormant`).
	Dormant bool
	// Owner is the port of netlink of the program that keeps it for itself, which is its process mostly: the table is gone with it. 0: nobody.
	Owner uint32
}

// FirewallRule is what a rule of nf_tables does, as far as it matters whether packets are handed over to a program of this host.
type FirewallRule struct {
	Family string // ip, ip6, inet and others
	Table  string
	Chain  string
	// Redirect and TPROXY are the ports that it hands packets over to; 0 where it does not.
	Redirect, TPROXY uint16
	// To is the address that they go to by DNAT, as far as the rule has one by itself; not valid for a redirect, which is to this host.
	To netip.Addr
	// Unread says that it hands over to a port that is not read: one out of a map, or of a part that is not nf_tables' own (iptables-nft).
	Unread bool
	// TurnsAway says that it drops or rejects.
	TurnsAway bool
	// Counted says that it counts its packets, and Packets how many there were.
	Counted bool
	Packets uint64
}

// HandsOver says whether the rule hands packets over.
func (r FirewallRule) HandsOver() bool { return r.Redirect > 0 || r.TPROXY > 0 || r.Unread }

// String is the rule as evidence.
func (r FirewallRule) String() string {
	text := fmt.Sprintf("table %s %s, chain %s:", r.Family, r.Table, r.Chain)
	switch {
	case r.Redirect > 0 && r.To.IsValid():
		text += fmt.Sprintf(" dnat to %s", netip.AddrPortFrom(r.To, r.Redirect))
	case r.Redirect > 0:
		text += fmt.Sprintf(" redirect to port %d", r.Redirect)
	case r.TPROXY > 0:
		text += fmt.Sprintf(" tproxy to port %d", r.TPROXY)
	case r.Unread:
		text += " handed over, to a port that is not read"
	case r.TurnsAway:
		text += " drop or reject"
	}
	if r.Counted {
		text += fmt.Sprintf(", %d packets", r.Packets)
	}
	return text
}

// FirewallChain is a chain that stands in the way of packets.
type FirewallChain struct {
	Family, Table, Name string
	Hook                Hook // prerouting, input, forward, output, postrouting, ingress, egress; empty for others
	Drops               bool // what no rule accepts
}

// Messages and attributes of nf_tables (linux/netfilter/nf_tables.h).
const (
	nftNewTable = 0
	nftNewChain = 3
	nftNewRule  = 6

	nftTableDormant = 1

	nftVerdictDrop = 0
	nftNATDest     = 1
)

var (
	nftFamilies = map[byte]string{1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
	nftHooks    = []Hook{"prerouting", "input", "forward", "output", "postrouting"}
	netdevHooks = []Hook{"ingress", "egress"} // of a device, which have numbers of their own
)

// Limits of what one message says: attributes of one level, and the registers that a rule sets.
const (
	maxAttributes = 1024
	maxRegisters  = 64
)

// attribute is one of netlink (netlink(7)).
type attribute struct {
	kind  uint16
	value []byte
}

// attributes splits them. What is cut short ends them.
func attributes(b []byte) []attribute {
	var all []attribute
	for len(b) >= 4 && len(all) < maxAttributes {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		all = append(all, attribute{binary.NativeEndian.Uint16(b[2:]) & 0x3fff, b[4:n]})
		b = b[min(len(b), (n+3)&^3):]
	}
	return all
}

// get gives the value of the first of a kind.
func get(all []attribute, kind uint16) []byte {
	for _, a := range all {
		if a.kind == kind {
			return a.value
		}
	}
	return nil
}

func attributeText(b []byte) string {
	text, _, _ := strings.Cut(string(b), "\x00")
	return text
}

func be32(b []byte) (uint32, bool) {
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// ParseFirewallTable reads a message of nf_tables that tells of a table, without its header.
func ParseFirewallTable(kind uint16, data []byte) (FirewallTable, bool) {
	if kind&0xff != nftNewTable || len(data) < 4 {
		return FirewallTable{}, false
	}
	all := attributes(data[4:])
	t := FirewallTable{Family: family(data[0]), Name: attributeText(get(all, 1))}
	flags, _ := be32(get(all, 2))
	t.Dormant = flags&nftTableDormant != 0
	t.Owner, _ = be32(get(all, 7))
	return t, true
}

// targetAddr is where the target DNAT of iptables-nft leads: what of it is nf_tables' own is a revision and octets of another time
// (linux/netfilter/nf_nat.h). Not valid: it is not read.
func targetAddr(family byte, revision, info []byte) netip.Addr {
	rev, ok := be32(revision)
	if !ok {
		return netip.Addr{}
	}
	if family == 2 && rev == 0 && len(info) >= 12 { // nf_nat_ipv4_multi_range_compat: how many, flags, address
		return netip.AddrFrom4([4]byte(info[8:12]))
	}
	if len(info) < 20 { // nf_nat_range: flags, address
		return netip.Addr{}
	}
	if family == 2 {
		return netip.AddrFrom4([4]byte(info[4:8]))
	}
	return netip.AddrFrom16([16]byte(info[4:20]))
}

// ParseFirewallRule reads a message of nf_tables that tells of a rule, without its header.
func ParseFirewallRule(kind uint16, data []byte) (FirewallRule, bool) {
	if kind&0xff != nftNewRule || len(data) < 4 {
		return FirewallRule{}, false
	}
	all := attributes(data[4:])
	r := FirewallRule{Family: family(data[0]), Table: attributeText(get(all, 1)), Chain: attributeText(get(all, 2))}
	registers := map[uint32][]byte{} // ports and addresses that were put there
	for _, e := range attributes(get(all, 4)) {
		parts := attributes(e.value)
		about := attributes(get(parts, 2))
		port := func(kind uint16) uint16 {
			n, _ := be32(get(about, kind))
			if v := registers[n]; len(v) >= 2 && (v[0] != 0 || v[1] != 0) {
				return binary.BigEndian.Uint16(v)
			}
			r.Unread = true
			return 0
		}
		switch attributeText(get(parts, 1)) {
		case "immediate":
			to, _ := be32(get(about, 1))
			value := attributes(get(about, 2))
			if v := get(value, 1); len(v) >= 2 && len(registers) < maxRegisters {
				registers[to] = v
			}
			if code, ok := be32(get(attributes(get(value, 2)), 1)); ok && code == nftVerdictDrop {
				r.TurnsAway = true
			}
		case "reject":
			r.TurnsAway = true
		case "counter":
			if n := get(about, 2); len(n) == 8 {
				r.Counted, r.Packets = true, binary.BigEndian.Uint64(n)
			}
		case "redir":
			r.Redirect = port(1)
		case "nat":
			if to, ok := be32(get(about, 1)); ok && to == nftNATDest {
				r.Redirect = port(5)
				n, _ := be32(get(about, 3))
				r.To, _ = netip.AddrFromSlice(registers[n])
			}
		case "tproxy":
			r.TPROXY = port(3)
		case "target": // of iptables-nft; its DROP is a verdict as above
			target := attributeText(get(about, 1))
			r.Unread = slices.Contains([]string{"REDIRECT", "TPROXY", "DNAT"}, target)
			if target == "DNAT" {
				r.To = targetAddr(data[0], get(about, 2), get(about, 3))
			}
			r.TurnsAway = r.TurnsAway || target == "REJECT"
		}
	}
	return r, true
}

// ParseFirewallChain reads a message of nf_tables that tells of a chain, without its header.
func ParseFirewallChain(kind uint16, data []byte) (FirewallChain, bool) {
	if kind&0xff != nftNewChain || len(data) < 4 {
		return FirewallChain{}, false
	}
	all := attributes(data[4:])
	c := FirewallChain{Family: family(data[0]), Table: attributeText(get(all, 1)), Name: attributeText(get(all, 3))}
	hooks := nftHooks
	if c.Family == "netdev" {
		hooks = netdevHooks
	}
	if n, ok := be32(get(attributes(get(all, 4)), 1)); ok && int64(n) < int64(len(hooks)) {
		c.Hook = hooks[n]
	}
	policy, ok := be32(get(all, 5))
	c.Drops = ok && policy == nftVerdictDrop
	return c, true
}

func family(b byte) string {
	if text, ok := nftFamilies[b]; ok {
		return text
	}
	return fmt.Sprintf("family %d", b)
}
