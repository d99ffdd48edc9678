package dnswire

import (
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// Hints gives the addresses that the HTTPS or SVCB records at the end of the chain hint at (RFC 9460, section 7.3), those of
// every record: a client may connect to any of them.
func (a *Answer) Hints() []netip.Addr {
	if a.RCode != NoError {
		return nil
	}
	var list []netip.Addr
	for _, r := range a.Final() {
		switch rr := r.rr.(type) {
		case *dns.SVCB:
			list = appendHints(list, rr.Value)
		case *dns.HTTPS:
			list = appendHints(list, rr.Value)
		}
	}
	return list
}

func appendHints(list []netip.Addr, params []dns.SVCBKeyValue) []netip.Addr {
	for _, p := range params {
		var ips []net.IP
		switch p := p.(type) {
		case *dns.SVCBIPv4Hint:
			ips = p.Hint
		case *dns.SVCBIPv6Hint:
			ips = p.Hint
		}
		for _, ip := range ips {
			if addr, ok := netip.AddrFromSlice(ip); ok {
				list = append(list, addr.Unmap())
			}
		}
	}
	return list
}
