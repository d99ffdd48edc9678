package env

import (
	"net/url"
	"strings"

	"watertight/doctor"
)

var localhostVhost = doctor.Rule{
	ID: "LOCALHOST-VHOST", Severity: doctor.Medium,
	Title:   "a base URL has a name below .localhost",
	Clients: []string{"Python", "Node", "Go", "wget", "Java"},
	Explain: `RFC 6761 says that names below localhost are answered with loopback by the client. Measured with glibc 2.36: Python, Node,
Go, wget and Java ask DNS for foo.localhost. Browsers and curl do not. Paths of the gateway tell services apart without a name:
http://127.0.0.1:PORT/openai/.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		seen := map[string]bool{}
		for _, v := range s.Vars {
			if seen[v.Name] || !strings.HasSuffix(v.Name, "_URL") && !strings.HasSuffix(strings.ToLower(v.Name), "_proxy") {
				continue
			}
			seen[v.Name] = true
			v, ok := s.Get(v.Name)
			u, err := url.Parse(v.Value)
			if !ok || err != nil || !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), ".localhost") {
				continue
			}
			fixed := *u
			fixed.Host = "127.0.0.1"
			if p := u.Port(); p != "" {
				fixed.Host += ":" + p
			}
			found = append(found, doctor.Finding{
				Fact:     v.Name + " has the name " + u.Hostname() + ", which many clients ask DNS for",
				Evidence: []string{v.String()},
				Fix:      v.Name + "=" + doctor.Quote(doctor.Mask(fixed.String())) + "   # and a path of the gateway that tells the service",
			})
		}
		return found
	}),
}
