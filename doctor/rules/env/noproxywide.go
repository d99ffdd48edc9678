package env

import (
	"strings"

	"golang.org/x/net/publicsuffix"

	"watertight/doctor"
)

var noProxyWide = doctor.Rule{
	ID: "NOPROXY-WIDE", Severity: doctor.Critical,
	Title:   "NO_PROXY lets names past the proxy that are meant for it",
	Clients: []string{"curl, git, Python, Go, Node, bun, PHP, reqwest: what matches goes direct"},
	Explain: `What NO_PROXY matches goes direct, after a look-up by the host's resolver. A star is everything for most clients (wget, Ruby,
grpcio and grpc-js alone pay no heed to it), and a public suffix such as com is every name below it. A name that a route or the
gateway leads to a channel was meant for that channel. requests, grpcio and grpc-js match the end of a label too: ample.net is for
example.net as well. See NOPROXY-AMBIG for how each client reads each form.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		if len(s.Proxies()) == 0 {
			return nil
		}
		var found []doctor.Finding
		for _, v := range s.NoProxies() {
			for _, e := range entries(v.Value) {
				why, as := wide(h, e)
				if why == "" {
					continue
				}
				past, _ := readers(as)
				found = append(found, doctor.Finding{
					Fact:     "the entry " + e + " of NO_PROXY lets " + why + " past the proxy",
					Evidence: []string{v.String()},
					Clients:  past,
					Fix:      v.Name + "=" + doctor.Quote(without(v.Value, e)),
				})
			}
		}
		return doctor.Merge(found)
	}),
}

// wide says what an entry lets past that it should not, or nothing; and as which form it does.
func wide(h *doctor.Host, e string) (why string, as form) {
	as = formOf(e)
	switch as {
	case star:
		return "everything", as
	case address, cidr:
		if e == "0.0.0.0/0" || e == "::/0" {
			return "every address", as
		}
		return "", as
	}
	name, _, _ := strings.Cut(strings.ToLower(e), ":")
	name = strings.TrimLeft(strings.TrimPrefix(name, "*"), ".")
	if name == "" {
		return "everything", as
	}
	if suffix, icann := publicsuffix.PublicSuffix(name); suffix == name && (icann || strings.Contains(name, ".")) {
		return "every name below the public suffix " + name, as
	}
	below := func(host string) bool {
		if as == bare && strings.Contains(name, ".") && strings.HasSuffix(host, name) && host != name && !strings.HasSuffix(host, "."+name) {
			as = part // the end of a label
			return true
		}
		return host == name || strings.HasSuffix(host, "."+name)
	}
	for _, r := range h.Config.Routes {
		for _, p := range r.To {
			if host := strings.TrimLeft(strings.TrimPrefix(p.String(), "*"), "."); !r.Refuse && host != "" && below(host) {
				return host + ", which a route leads to a channel,", as
			}
		}
	}
	for _, g := range h.Config.Gateway {
		if host := g.To.Host().String(); g.To.IsValid() && below(host) {
			return host + ", which the gateway leads to,", as
		}
	}
	return "", as
}

// without is the value without an entry.
func without(value, entry string) string {
	var kept []string
	for _, e := range entries(value) {
		if e != entry {
			kept = append(kept, e)
		}
	}
	if len(kept) == 0 {
		return "localhost,127.0.0.1,::1"
	}
	return strings.Join(kept, ",")
}
