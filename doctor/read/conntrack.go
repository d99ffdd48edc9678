package read

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// TrackedFlow is a line of /proc/net/nf_conntrack: a connection, or what looks like one, that passes this host. It is there for half a
// minute after its last packet, and longer where there was an answer.
type TrackedFlow struct {
	Proto    string // "tcp" or "udp"
	From, To netip.AddrPort
	// Answers is where its answers come from: To, unless the firewall has handed it over to somebody else.
	Answers netip.AddrPort
	Packets uint64 // from From to To
	Counted bool   // else Packets is not known: net.netfilter.nf_conntrack_acct
}

// ParseTracked reads that table and gives what is wanted. What is wanted beyond 40,000 is left out, and cut is true.
func ParseTracked(b []byte, want func(TrackedFlow) bool) (all []TrackedFlow, cut bool) {
	lines(b, func(_ int, line string) {
		f := strings.Fields(line)
		if cut || len(f) < 10 || f[2] != "tcp" && f[2] != "udp" {
			return
		}
		flow := TrackedFlow{Proto: f[2]}
		var addrs []netip.Addr // src and dst of the way there, and of the way back
		var ports []uint16
		for _, word := range f[4:] {
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				continue
			}
			switch key {
			case "src", "dst":
				a, err := netip.ParseAddr(value)
				if err != nil || len(addrs) == 4 {
					return
				}
				addrs = append(addrs, a)
			case "sport", "dport":
				p, err := strconv.ParseUint(value, 10, 16)
				if err != nil || len(ports) == 4 {
					return
				}
				ports = append(ports, uint16(p))
			case "packets":
				if n, err := strconv.ParseUint(value, 10, 64); err == nil && len(addrs) == 2 {
					flow.Packets, flow.Counted = n, true
				}
			}
		}
		if len(addrs) != 4 || len(ports) != 4 {
			return
		}
		flow.From, flow.To = netip.AddrPortFrom(addrs[0], ports[0]), netip.AddrPortFrom(addrs[1], ports[1])
		flow.Answers = netip.AddrPortFrom(addrs[2], ports[2])
		if !want(flow) {
			return
		}
		if len(all) == maxTable {
			cut = true
			return
		}
		all = append(all, flow)
	})
	return all, cut
}

// OwnAddresses gives the addresses of a host from /proc/net/fib_trie and /proc/net/if_inet6.
func OwnAddresses(trie, inet6 []byte) []netip.Addr {
	var all []netip.Addr
	add := func(a netip.Addr) {
		if len(all) < maxTable && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	leaf := netip.Addr{}
	lines(trie, func(_ int, line string) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "|-- "); ok {
			leaf, _ = netip.ParseAddr(text) // none where it is not one
		} else if line == "/32 host LOCAL" && leaf.IsValid() {
			add(leaf)
		}
	})
	lines(inet6, func(_ int, line string) {
		text, _, _ := strings.Cut(line, " ")
		var groups []string
		for len(text) == 32 || len(groups) > 0 && len(text) >= 4 {
			groups, text = append(groups, text[:4]), text[4:]
		}
		if a, err := netip.ParseAddr(strings.Join(groups, ":")); err == nil && len(groups) == 8 {
			add(a)
		}
	})
	return all
}
