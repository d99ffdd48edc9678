package env

import (
	"strings"

	"watertight/doctor"
)

var noProxyLoopback = doctor.Rule{
	ID: "NOPROXY-LOOPBACK", Severity: doctor.Medium,
	Title:   "the gateway is on, and NO_PROXY does not have loopback in it",
	Clients: []string{"all but Go, grpc-go and Ruby"},
	Explain: `Measured: 18 of 21 clients send requests for http://127.0.0.1 and http://localhost to the proxy unless NO_PROXY lists them; Go,
grpc-go and Ruby never do. A base URL of the gateway is such an address, and through the proxy it is refused as a private target.
localhost,127.0.0.1,::1 is read alike by all clients measured, and is what watertight env prints.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		proxies := s.Proxies()
		if len(h.Config.Listen.Gateway) == 0 || len(proxies) == 0 {
			return nil
		}
		var listed []string
		evidence := []string{proxies[0].String()}
		for _, v := range s.NoProxies() {
			listed = append(listed, entries(v.Value)...)
			evidence = append(evidence, v.String())
		}
		var missing []string
		for _, want := range []string{"localhost", "127.0.0.1"} {
			has := false
			for _, e := range listed {
				has = has || strings.EqualFold(e, want) || e == "*"
			}
			if !has {
				missing = append(missing, want)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		return []doctor.Finding{{
			Fact:     "NO_PROXY does not list " + strings.Join(missing, " and ") + ", so requests to the gateway are sent through the proxy",
			Evidence: evidence,
			Fix:      "NO_PROXY=localhost,127.0.0.1,::1\nno_proxy=localhost,127.0.0.1,::1",
		}}
	}),
}

// entries are those of a NO_PROXY, as most clients split it: at commas and blanks.
func entries(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}
