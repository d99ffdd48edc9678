package channel

import (
	"net/netip"
	"slices"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/upstream"
)

// CarriesIPv6 says whether the last of the proxies of a way out, which is the one that is asked for addresses, can be asked for
// one of IPv6. Without a proxy it can.
func CarriesIPv6(proxies []hop.Proxy) bool {
	return len(proxies) == 0 || proxies[len(proxies)-1].CarriesIPv6()
}

// carriesIPv6 says it of a channel. One without proxies goes out as the one underneath does.
func carriesIPv6(s Spec, below Below) bool {
	if s.WireGuard != nil {
		return s.WireGuard.CarriesIPv6()
	}
	if len(s.ways()) == 0 {
		switch c := below.(type) {
		case *Channel:
			return c.ipv6
		case Part:
			return c.of.ipv6
		}
	}
	return CarriesIPv6(s.ways())
}

// Upstreams gives the upstreams of the channel's own resolver, each with the addresses that are dialled.
func (c *Channel) Upstreams() []upstream.Upstream { return c.reachable(c.spec.Resolver).Upstreams }

// families are the types of the addresses that can be dialled, the one that is liked best first.
func (c *Channel) families() []dnswire.Type {
	if !c.ipv6 {
		return []dnswire.Type{dnswire.A}
	}
	return []dnswire.Type{dnswire.AAAA, dnswire.A}
}

// Dialled gives an upstream with those of its addresses that can be dialled, and false where none of them can.
func Dialled(u upstream.Upstream, ipv6 bool) (upstream.Upstream, bool) {
	if ipv6 || len(u.Addrs) == 0 {
		return u, true
	}
	u.Addrs = slices.DeleteFunc(slices.Clone(u.Addrs), func(a netip.AddrPort) bool { return !a.Addr().Unmap().Is4() })
	return u, len(u.Addrs) > 0
}

// noAddress is a name without an address that can be dialled.
func (c *Channel) noAddress(host string) error {
	if c.ipv6 {
		return fault.New(fault.DNSNoData, host+" has no address record", nil)
	}
	f := fault.New(fault.DNSNoData, host+" has no IPv4 address, and the way out carries no IPv6", nil)
	f.Hint = "the last proxy of the channel speaks SOCKS4a; one that speaks SOCKS5 or HTTP can be asked for IPv6 addresses"
	return f
}
