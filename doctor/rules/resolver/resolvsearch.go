package resolver

import (
	"fmt"
	"net/netip"
	"strings"

	"watertight/doctor"
)

var resolvSearch = doctor.Rule{
	ID: "RESOLV-SEARCH", Severity: doctor.Medium, Systems: []string{"linux", "darwin", "freebsd"},
	Title:   "names are looked up again with a suffix behind them",
	Clients: []string{"every program that resolves by the C library, Go, Java, c-ares or Chromium"},
	Explain: `A resolver tries a name with each suffix of the search list: first, where the name has fewer dots than "ndots", and otherwise
after it was not found. Measured with ndots:5 and four suffixes: curl and Go make ten queries for api.example.com, eight of
them for names such as api.example.com.corp.example, which tell the name to whoever runs the suffix's zone. A name that does
not exist is told in the same way with ndots:1.
Suffixes that no public server answers for (lan, local, internal, home.arpa, test) are left out where ndots is 1.
Names that are given to the proxy are not searched for. Kubernetes has a rule of its own.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		l := h.Lookups()
		f := doctor.Finding{Severity: doctor.Low}
		for _, s := range l.Resolv.Search {
			if kubernetes(s.Text) {
				return nil
			}
			if !private(s.Text) || l.Resolv.Ndots > 1 {
				f.Evidence = append(f.Evidence, l.ResolvConf.At(s.Line, "search "+s.Text))
			}
		}
		if len(f.Evidence) == 0 {
			return nil
		}
		for _, s := range l.Resolv.Servers {
			if !h.AnswersDNS(netip.AddrPortFrom(s.Addr, 53)) {
				f.Severity = doctor.Medium
			}
		}
		f.Fact = "a name that is not found is looked up again with a suffix, which tells it to the suffix's servers"
		if l.Resolv.Ndots > 1 {
			f.Evidence = append(f.Evidence, l.ResolvConf.At(l.Resolv.NdotsAt, fmt.Sprintf("options ndots:%d", l.Resolv.Ndots)))
			f.Fact = fmt.Sprintf("every name with fewer than %d dots is looked up with a suffix first", l.Resolv.Ndots)
		}
		f.Fix = `sudo sed -i -E '/^(search|domain)[[:space:]]/d; s/ndots:[0-9]+/ndots:1/' /etc/resolv.conf`
		if h.OS == "darwin" {
			f.Fix = "sudo networksetup -setsearchdomains Wi-Fi Empty   # and each other service of: networksetup -listallnetworkservices"
		}
		if writer, _ := writerOf(h, l); writer == "systemd-resolved" {
			f.Fix = `printf '[Resolve]\nDomains=\nDomains=~.\n' | sudo tee /etc/systemd/resolved.conf.d/91-no-search.conf && sudo systemctl restart systemd-resolved   # and UseDomains=no for the link`
		}
		return []doctor.Finding{f}
	},
}

// kubernetes says whether a suffix is one that pods have.
func kubernetes(suffix string) bool {
	return strings.HasPrefix(suffix, "svc.") || strings.Contains(suffix, ".svc.")
}

// private says whether nobody answers for a suffix in public: special use (RFC 6761, 6762, 8375, 9476, ICANN's "internal"), and what
// routers at home are known to give out.
func private(suffix string) bool {
	suffix = strings.ToLower(suffix)
	for _, p := range []string{"local", "lan", "internal", "home.arpa", "test", "localdomain", "localhost", "invalid", "alt", "home", "private", "intranet", "corp"} {
		if suffix == p || strings.HasSuffix(suffix, "."+p) {
			return true
		}
	}
	return false
}
