package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var pacResolves = doctor.Rule{
	ID: "PAC-RESOLVES", Severity: doctor.Critical,
	Title:   "a PAC script asks DNS for every host, or goes past the proxy",
	Clients: []string{"Chromium, Firefox, and what takes the desktop's proxy settings", "pac-proxy-agent"},
	Explain: `Measured with Chromium 156, Firefox ESR 153 and pac-proxy-agent 9: dnsResolve, isResolvable and isInNet with the host ask the
host's resolver for every host of every page, the browser's own services too, before the proxy is chosen. PROXY x; DIRECT goes direct
while x is down, with a look-up; so does a script that cannot be fetched. SOCKS without a number is version 4 in Chromium, which has
no names. A script without these is clean, and the one that Watertight serves has none of them.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable([]string{"*.pac", ".config/*.pac", ".local/share/*.pac"}, "/etc/*.pac", "/etc/*/*.pac", "/var/www/html/*.pac", "/var/www/html/wpad.dat", "/usr/share/pac/*.pac") {
			for _, use := range read.PAC(f.Data) {
				why, severity := pacFault(use)
				if why == "" {
					continue
				}
				found = append(found, doctor.Finding{
					Severity: severity, Fact: f.Path + ": " + why, Evidence: []string{f.At(use.Line, use.Text)},
					Fix: `function FindProxyForURL(url, host) { return "PROXY ` + h.Proxy().String() + `"; }`,
				})
			}
		}
		return doctor.Merge(found)
	},
}

// pacFault says what is wrong with something in a script.
func pacFault(use read.PACUse) (string, doctor.Severity) {
	switch {
	case use.What == "SOCKS" || use.What == "SOCKS4":
		return use.What + " is version 4 in Chromium: the browser resolves", doctor.Critical
	case use.What != "DIRECT":
		return use.What + " asks DNS for every host", doctor.Critical
	case strings.Contains(use.Text, ";") && strings.Contains(strings.ToUpper(use.Text), "PROXY "):
		return "DIRECT behind a proxy: everything goes direct while the proxy is down", doctor.Critical
	case strings.Contains(use.Text, "isPlainHostName") || strings.Contains(use.Text, "localhost") || strings.Contains(use.Text, "127."):
		return "", 0
	}
	return "DIRECT: what comes here goes past the proxy", doctor.Medium
}
