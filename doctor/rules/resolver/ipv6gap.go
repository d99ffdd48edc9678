package resolver

import (
	"fmt"
	"regexp"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var ipv6Gap = doctor.Rule{
	ID: "IPV6-GAP", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "IPv6 leads out, and only IPv4 is handed over to Watertight",
	Clients: []string{"every program that knows of no proxy, wherever a name has an IPv6 address"},
	Explain: `Where the firewall hands over what programs send, rules for IPv4 alone leave IPv6 as it is: programs prefer it (RFC 6724, RFC
8305), ask resolvers of a router advertisement over it (RDNSS, RFC 8106), and reach their destinations past the proxy.
The rule looks where "listen.transparent" is configured: it has an address of IPv4 and none of IPv6, or the nftables file that
redirects to it has a table of family "ip" for that and none of "ip6" or "inet", while there is a default route of IPv6 in
/proc/net/ipv6_route that does not refuse. Resolvers that a router has advertised are named with it. Where the rules that the kernel has may be seen, these are looked at and not the file.
A client that uses its proxy is not affected: it gives the proxy the name, and never asks which family it has.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		if !h.HandedOver() {
			return nil
		}
		table, ok := h.Files.Read("/proc/net/ipv6_route")
		if !ok {
			return nil
		}
		var evidence []string
		for _, dev := range read.DefaultRoutes6(table.Data) {
			evidence = append(evidence, "/proc/net/ipv6_route: a default route by "+dev)
		}
		if len(evidence) == 0 {
			return nil
		}
		evidence = append(evidence, advertised(h)...)
		six, port := false, uint16(0)
		for _, l := range h.Config.Listen.Transparent {
			six = six || l.Address.Addr().Is6()
			port = l.Address.Port()
		}
		if !six {
			return []doctor.Finding{{
				Fact:     "IPv6 leads out, and listen.transparent takes IPv4 alone",
				Evidence: append(evidence, h.Config.File+": listen.transparent has no address of IPv6"),
				Fix: fmt.Sprintf("# in the configuration: listen: {transparent: [\"127.0.0.1:%[1]d\", \"[::1]:%[1]d\"]}, and in the rules: table inet watertight\n"+
					"# until then: sudo sysctl -w net.ipv6.conf.all.disable_ipv6=1", port),
			}}
		}
		if where := onlyFour(h, port); where != "" {
			return []doctor.Finding{{
				Fact:     "IPv6 leads out, and the rules of nftables hand over IPv4 alone",
				Evidence: append(evidence, where),
				Fix:      "# in that file: table inet watertight, in place of table ip watertight; then\nsudo nft -f /etc/nftables.conf",
			}}
		}
		return nil
	},
}

var nftTable = regexp.MustCompile(`^\s*table\s+(ip6|inet|ip)\s+\S+`)

// advertised gives the servers that a router has advertised (RDNSS, RFC 8106), as far as the files show: those of a link, and those that rdnssd wrote.
func advertised(h *doctor.Host) []string {
	var evidence []string
	for _, name := range []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/resolv.conf", "/run/rdnssd/resolv.conf", "/run/resolvconf/interface/000.rdnssd"} {
		f, ok := h.Files.Read(name)
		if !ok {
			continue
		}
		for _, s := range read.ParseResolv(f.Data).Servers {
			if s.Addr.Is6() && (s.Addr.IsLinkLocalUnicast() || strings.Contains(name, "rdnssd")) {
				evidence = append(evidence, f.At(s.Line, "nameserver "+s.Addr.String()+" (of the link, as routers advertise them)"))
			}
		}
	}
	return evidence
}

// onlyFourNow gives the rule of the kernel's that hands over IPv4, if none hands over IPv6.
func onlyFourNow(f doctor.Firewall, port uint16) string {
	four := ""
	for _, r := range f.Rules {
		switch {
		case r.Unread, (r.Redirect == port || r.TPROXY == port) && r.Family != "ip":
			return ""
		case four == "" && (r.Redirect == port || r.TPROXY == port):
			four = "kernel: " + r.String()
		}
	}
	return four
}

// onlyFour gives the line of nftables' files that hands over IPv4, if none hands over IPv6.
func onlyFour(h *doctor.Host, port uint16) string {
	if h.Firewall != nil {
		return onlyFourNow(h.Firewall.InForce(), port)
	}
	four := ""
	for _, f := range h.Readable(nil, "/etc/nftables.conf", "/etc/nftables.d/*.nft", "/etc/nftables/*.nft") {
		family := ""
		for i, line := range f.Lines() {
			if m := nftTable.FindStringSubmatch(line); m != nil {
				family = m[1]
			}
			if !strings.Contains(line, fmt.Sprintf(":%d", port)) || !strings.Contains(line, "redirect") && !strings.Contains(line, "tproxy") || strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			if family != "ip" {
				return ""
			}
			if four == "" {
				four = f.At(i+1, line)
			}
		}
	}
	return four
}
