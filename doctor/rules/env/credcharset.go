package env

import (
	"regexp"

	"watertight/doctor"
)

var plainCredential = regexp.MustCompile(`^[A-Za-z0-9._~-]*$`)

var credCharset = doctor.Rule{
	ID: "CRED-CHARSET", Severity: doctor.High,
	Title:   "the user or password of a proxy has characters that clients read differently",
	Clients: []string{"grpcio (drops the proxy and goes direct)", "axios (sends escapes as they are)", "Chromium, Firefox (take no credentials from settings)"},
	Explain: `A password with @ or : has to be escaped in a URL, and clients disagree about it. Measured: grpcio 1.51 ignores a proxy
whose password has %40 in it and connects directly; axios 1.21 sends the escape undecoded, so that the proxy refuses it. Letters,
digits and . _ ~ - need no escape and are read alike by all. Chromium and Firefox take no credentials from a setting at all, and
Java sends none to a proxy for https:// unless jdk.http.auth.tunneling.disabledSchemes is emptied.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		for _, v := range s.Proxies() {
			u, _ := doctor.ReadProxyURL(v.Value)
			if !u.HasUser || plainCredential.MatchString(u.User) && plainCredential.MatchString(u.Password) {
				continue
			}
			found = append(found, doctor.Finding{
				Fact:     "the user or password in " + v.Name + " has characters other than letters, digits and . _ ~ -",
				Evidence: []string{v.String()},
				Fix:      "watertight user --help   # give it a password of letters, digits and . _ ~ - only, or use a listener on loopback without users",
			})
		}
		return found
	}),
}
