package resolver

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	"watertight/doctor"
)

var resolvedFallback = doctor.Rule{
	ID: "RESOLVED-FALLBACK", Severity: doctor.High, Systems: []string{"linux"},
	Title:   "systemd-resolved has servers to fall back to, or asks the local network",
	Clients: []string{"every program whose names go to systemd-resolved"},
	Explain: `systemd-resolved has FallbackDNS compiled in: as it is published, servers of Cloudflare, Google and Quad9. It asks them as soon
as no link and no setting names a server, as between two networks (systemd#33835, #40183). "FallbackDNS=" in the settings takes
them away. Debian, Ubuntu and Fedora build it without; what was built in stands as a comment in their resolved.conf, and where
that says so nothing is found.
LLMNR and MulticastDNS ask everybody on the local network for names of one label and of .local (RFC 4795, RFC 6762).
A link with "Domains=~." or "DNSDefaultRoute=yes" has its server asked for everything, beside the one of the settings. networkd has
that in files; what NetworkManager, a VPN or resolvectl(1) have told while the host runs is in /run/systemd/resolve/netif.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		if len(l.Resolved.Asked) == 0 {
			return nil
		}
		var found []doctor.Finding
		if e := fallback(h, l.Resolved); e != "" {
			found = append(found, doctor.Finding{
				Fact:     "systemd-resolved asks public servers when no other is known",
				Evidence: append([]string{e}, l.Resolved.Asked...), Fix: dropIn(h),
			})
		}
		if e := multicast(h, l.Resolved); len(e) > 0 {
			found = append(found, doctor.Finding{
				Severity: doctor.Medium,
				Fact:     "systemd-resolved asks everybody on the local network for some names",
				Evidence: append(e, l.Resolved.Asked...), Fix: dropIn(h),
			})
		}
		if e := links(h); len(e) > 0 && len(h.DNS()) > 0 {
			found = append(found, doctor.Finding{
				Fact:     "a link's own server is asked for every name, beside the one of the settings",
				Evidence: append(e, l.Resolved.Asked...),
				Fix:      "# in the file of that link: take out Domains=~. and write\nDNSDefaultRoute=no\n# then: sudo networkctl reload",
			})
		}
		if e, link := atRunTime(h); len(e) > 0 && len(h.DNS()) > 0 {
			found = append(found, doctor.Finding{
				Fact:     "a link was told to have its own server asked for every name, beside the one of the settings",
				Evidence: append(e, l.Resolved.Asked...),
				Fix:      "sudo resolvectl domain " + doctor.Quote(link) + " ''   # until NetworkManager or the VPN that did it does it again: its own setting lasts",
			})
		}
		return found
	},
}

// fallback gives the evidence that there is a server to fall back to.
func fallback(h *doctor.Host, r doctor.Resolved) string {
	var last *doctor.Setting
	for i, s := range r.Settings {
		if s.Section == "Resolve" && s.Key == "FallbackDNS" {
			last = &r.Settings[i]
		}
	}
	if last != nil {
		if last.Value == "" {
			return ""
		}
		return last.At()
	}
	f, n, value, ok := comment(h, "FallbackDNS")
	switch {
	case ok && value == "":
		return ""
	case ok:
		return f.At(n, "#FallbackDNS="+value+" (built in)")
	default:
		return "resolved.conf: FallbackDNS is not set, and what is built in is not said there"
	}
}

// multicast gives the evidence that the local network is asked.
func multicast(h *doctor.Host, r doctor.Resolved) []string {
	var all []string
	for _, key := range []string{"LLMNR", "MulticastDNS"} {
		value, where := "", ""
		if f, n, v, ok := comment(h, key); ok {
			value, where = v, f.At(n, "#"+key+"="+v+" (built in)")
		}
		for _, s := range r.Settings {
			if s.Section == "Resolve" && s.Key == key {
				value, where = s.Value, s.At()
			}
		}
		if slices.Contains([]string{"yes", "true", "1", "on", "resolve"}, strings.ToLower(value)) {
			all = append(all, where)
		}
	}
	return all
}

// comment gives the line of a default that resolved.conf shows as a remark, as it is installed.
func comment(h *doctor.Host, key string) (f doctor.File, line int, value string, ok bool) {
	for _, name := range []string{"/etc/systemd/resolved.conf", "/usr/lib/systemd/resolved.conf"} {
		f, has := h.Files.Read(name)
		if !has {
			continue
		}
		for i, text := range f.Lines() {
			if v, found := strings.CutPrefix(text, "#"+key+"="); found {
				return f, i + 1, strings.TrimSpace(v), true
			}
		}
	}
	return f, 0, "", false
}

// links gives the settings by which networkd has the server of a link asked for everything.
func links(h *doctor.Host) []string {
	var all []string
	for _, f := range h.Readable(nil, "/etc/systemd/network/*.network", "/etc/systemd/network/*.network.d/*.conf", "/run/systemd/network/*.network") {
		for i, line := range f.Lines() {
			key, value, _ := strings.Cut(line, "=")
			switch strings.TrimSpace(key) {
			case "Domains":
				if slices.Contains(strings.Fields(value), "~.") {
					all = append(all, f.At(i+1, line))
				}
			case "DNSDefaultRoute":
				if v := strings.TrimSpace(value); v == "yes" || v == "true" || v == "1" {
					all = append(all, f.At(i+1, line))
				}
			}
		}
	}
	return all
}

// atRunTime gives the lines by which links were told, while the host runs, to have servers asked for everything that are not ours, and one of
// these links. systemd-resolved keeps what it was told in a file for each link, by its number (systemd, resolved-link.c).
func atRunTime(h *doctor.Host) (evidence []string, link string) {
	for _, f := range h.Readable(nil, "/run/systemd/resolve/netif/*") {
		everything, foreign := "", false
		for i, line := range f.Lines() {
			key, value, _ := strings.Cut(line, "=")
			switch words := strings.Fields(value); {
			case key == "DOMAINS" && slices.Contains(words, "~."):
				everything = f.At(i+1, line)
			case key == "SERVERS":
				foreign = slices.ContainsFunc(words, func(w string) bool { return !answered(h, w) })
			}
		}
		if everything != "" && foreign {
			evidence, link = append(evidence, everything), path.Base(f.Path)
		}
	}
	return evidence, link
}

// answered says whether a server of a link is our DNS: ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT, with %INTERFACE and #NAME behind it.
func answered(h *doctor.Host, server string) bool {
	server, _, _ = strings.Cut(server, "#")
	server, _, _ = strings.Cut(server, "%")
	if at, err := netip.ParseAddrPort(server); err == nil {
		return h.AnswersDNS(at)
	}
	addr, err := netip.ParseAddr(server)
	return err == nil && h.AnswersDNS(netip.AddrPortFrom(addr, 53))
}
