package dnswire

import (
	"net/netip"
	"strconv"
	"strings"
)

// ReverseName gives the name under which an address has its PTR record (RFC 1035 section 3.5, RFC 3596 section 2.5).
// An IPv4-mapped address is taken for the IPv4 address it stands for.
func ReverseName(addr netip.Addr) string {
	addr = addr.Unmap()
	var b strings.Builder
	if addr.Is4() {
		for _, octet := range reversed(addr.AsSlice()) {
			b.WriteString(strconv.Itoa(int(octet)))
			b.WriteByte('.')
		}
		b.WriteString("in-addr.arpa")
		return b.String()
	}
	const hex = "0123456789abcdef"
	for _, octet := range reversed(addr.AsSlice()) {
		b.Write([]byte{hex[octet&0xF], '.', hex[octet>>4], '.'})
	}
	b.WriteString("ip6.arpa")
	return b.String()
}

func reversed(b []byte) []byte {
	out := make([]byte, len(b))
	for i, v := range b {
		out[len(b)-1-i] = v
	}
	return out
}

// ParseReverse reads the name of a PTR record, canonical, back into the network it stands for: a whole address has
// all its bits, a shorter name fewer. It says false where the name is not one.
func ParseReverse(name string) (netip.Prefix, bool) {
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		return parseReverse(rest, 4, 1, 10, 255)
	}
	if rest, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		return parseReverse(rest, 32, 0, 16, 15)
	}
	return netip.Prefix{}, false
}

// parseReverse reads labels of one number each, the last first. octetsEach is 1 where a label stands for an octet
// and 0 where it stands for half of one.
func parseReverse(s string, most, octetsEach, base int, limit uint64) (netip.Prefix, bool) {
	labels := strings.SplitN(s, ".", most+1)
	if len(labels) > most {
		return netip.Prefix{}, false
	}
	var raw [16]byte
	for i := range labels {
		label := labels[len(labels)-1-i]
		n, err := strconv.ParseUint(label, base, 16)
		if err != nil || n > limit || len(label) > 1 && (octetsEach == 0 || label[0] == '0') {
			return netip.Prefix{}, false
		}
		switch {
		case octetsEach == 1:
			raw[i] = byte(n)
		case i%2 == 0:
			raw[i/2] = byte(n) << 4
		default:
			raw[i/2] |= byte(n)
		}
	}
	if octetsEach == 1 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(raw[:4])), 8*len(labels)), true
	}
	return netip.PrefixFrom(netip.AddrFrom16(raw), 4*len(labels)), true
}
