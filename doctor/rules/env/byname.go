package env

import (
	"watertight/doctor"
)

var byName = doctor.Rule{
	ID: "PROXY-BY-NAME", Severity: doctor.Medium,
	Title:   "a proxy is given by a name, which every client looks up itself",
	Clients: []string{"all"},
	Explain: `Before a client can speak to the proxy it has to find it, and it does so with the host's resolver, in the clear.
Measured: curl, requests, Go and Chromium look the proxy's name up for each connection or process; with the search list and the
ndots:5 of Kubernetes that is ten queries each, four of which tell the names of the cluster to whoever resolves. An address costs
none. localhost is left out: it is in /etc/hosts.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		for _, v := range s.Proxies() {
			if u, why := doctor.ReadProxyURL(v.Value); why == "" && u.Named() {
				found = append(found, doctor.Finding{
					Fact:     "the proxy is given by a name: " + u.Host,
					Evidence: []string{v.String()},
					Fix:      v.Name + "=" + h.ProxyURL() + "   # or the address of " + doctor.Plain(u.Host),
				})
			}
		}
		return doctor.Merge(found)
	}),
}
