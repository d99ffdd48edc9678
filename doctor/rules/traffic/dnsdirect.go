package traffic

import (
	"fmt"
	"net/netip"
	"slices"

	"watertight/doctor"
	"watertight/doctor/read"
	"watertight/upstream"
)

var dnsDirectLive = doctor.Rule{
	ID: "DNS-DIRECT-LIVE", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "a program speaks to a resolver past Watertight, at this moment or a minute ago",
	Clients: []string{"the programs that are named, and those that ask them"},
	Explain: `Looked for in /proc/net/tcp, tcp6, udp and udp6: sockets that are connected to port 53 (DNS) or 853 (DNS over TLS and QUIC) of
another host, and to port 443 of the addresses of the public resolvers that "watertight config schema" knows as presets. Those
of Watertight are left out: its resolver is encrypted, or inside its channel.
A resolver of the C library has its socket open for milliseconds; a daemon such as systemd-resolved, dnsmasq or a browser's own
DNS over HTTPS keeps connections open. A finding names the process where this user may see whose a socket is; root sees all.
Where the kernel tracks connections (it does once a rule of nftables or iptables needs it, as Docker's and those of
docs/transparent.md do), /proc/net/nf_conntrack has every question of the last half minute, and of two minutes where several were
answered, with the number of packets if net.netfilter.nf_conntrack_acct is 1. It does not say whose they are: those to port 53 are
never Watertight's, and those to 853 and 443 count only where no Watertight runs. What the firewall has handed over to Watertight is
left out, so that this works with "listen.transparent" too (mode: redirect). Questions that this host only passes on, of containers and of other
hosts, are a finding of their own.
A host on which nothing is found here has not been shown to be silent: "watertight test" watches packets for that.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		found := tracked(h)
		if h.HandedOver() {
			return found
		}
		_, known := upstream.KnownResolvers()
		f := doctor.Finding{Fix: "watertight exec -- PROGRAM   # its own resolver is refused there\n# or lead the host's resolver to Watertight: watertight doctor --explain RESOLV-PUBLIC"}
		for _, s := range h.Sockets(func(s read.Socket) bool { return asks(s, known) && !h.IsOurs(s.Remote) }) {
			if s.Known && h.Own(s.Process) || !s.Known && h.Status != nil && s.Remote.Port() != 53 {
				continue // of a socket that nobody owns to be seen, ours may be the one
			}
			f.Evidence = append(f.Evidence, s.String())
		}
		f.Fact = fmt.Sprintf("%d sockets lead to resolvers past Watertight", len(f.Evidence))
		if len(f.Evidence) == 1 {
			f.Fact = "a program speaks to a resolver past Watertight"
		}
		return append(doctor.Only(f), found...)
	},
}

// asks says whether a socket leads to a resolver of another host.
func asks(s read.Socket, known []netip.Addr) bool {
	if s.State != read.Established && s.State != read.SynSent || s.Remote.Addr().IsLoopback() || s.Remote.Addr().IsUnspecified() {
		return false
	}
	switch s.Remote.Port() {
	case 53, 853:
		return true
	case 443:
		return slices.Contains(known, s.Remote.Addr())
	}
	return false
}
