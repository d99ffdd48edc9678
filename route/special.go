package route

import "net/netip"

// specials are the networks that are not of the public internet (RFC 6890 and the IANA special-purpose registries).
var specials = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "this host (RFC 1122)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "a shared address (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address (RFC 1122)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "a protocol address (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "a documentation address (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a deprecated relay address (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "a private address (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "a benchmarking address (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "a documentation address (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "a documentation address (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address (RFC 5771)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address (RFC 1112)"},
	{netip.MustParsePrefix("::/128"), "this host (RFC 4291)"},
	{netip.MustParsePrefix("::1/128"), "a loopback address (RFC 4291)"},
	{netip.MustParsePrefix("::/96"), "a deprecated IPv4-compatible address (RFC 4291)"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "a local translation address (RFC 8215)"},
	{netip.MustParsePrefix("100::/64"), "a discard address (RFC 6666)"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "a dummy address (RFC 9780)"},
	{netip.MustParsePrefix("::ffff:0:0:0/96"), "a translated IPv4 address (RFC 2765)"},
	{netip.MustParsePrefix("2001::/23"), "a protocol address (RFC 2928)"},
	{netip.MustParsePrefix("2001:db8::/32"), "a documentation address (RFC 3849)"},
	{netip.MustParsePrefix("3fff::/20"), "a documentation address (RFC 9637)"},
	{netip.MustParsePrefix("5f00::/16"), "a segment routing address (RFC 9602)"},
	{netip.MustParsePrefix("fc00::/7"), "a unique local address (RFC 4193)"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address (RFC 4291)"},
	{netip.MustParsePrefix("fec0::/10"), "a site-local address (RFC 3879)"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address (RFC 4291)"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixto4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
	global = netip.MustParsePrefix("2000::/3")     // all that IANA gives out (RFC 4291, section 2.4)
)

// inner gives the IPv4 address that an IPv6 address carries, or a itself.
func inner(a netip.Addr) netip.Addr {
	a = a.Unmap()
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixto4.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return a
}

// special says what kind of address a is if it is not one of the public internet, or "". An IPv6 address that
// carries an IPv4 address is what that IPv4 address is.
func special(a netip.Addr) string {
	a = inner(a)
	for i := range specials {
		if specials[i].prefix.Contains(a) {
			return specials[i].kind
		}
	}
	if a.Is6() && !global.Contains(a) {
		return "a reserved address (RFC 4291)"
	}
	return ""
}
