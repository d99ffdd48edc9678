package tool

import (
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var npmrc = doctor.Rule{
	ID: "NPMRC", Severity: doctor.High,
	Title:   "an npmrc sets a proxy that resolves here, is another than ours, or is gone past",
	Clients: []string{"npm, and what reads its configuration"},
	Explain: `proxy and https-proxy of an npmrc count before HTTP_PROXY and HTTPS_PROXY. npm speaks SOCKS by socks-proxy-agent: measured with
version 10, socks5:// resolves here and socks5h:// leaves the name to the proxy. noproxy is as NO_PROXY.`,
	Find: settings([]string{".npmrc", "AppData/Roaming/npm/etc/npmrc"}, []string{"/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc"}, read.INI, func(h *doctor.Host, e read.Entry) *judged {
		switch e.Key {
		case "proxy", "https-proxy", "http-proxy":
			value := strings.Trim(e.Value, `"'`)
			if value == "null" || strings.HasPrefix(value, "${") {
				return nil
			}
			if value == "false" {
				return past(e.Key+" is false: npm goes past every proxy", e.Key+"="+h.ProxyURL())
			}
			return proxy(h, e.Key+"=", value)
		case "noproxy", "no-proxy":
			if strings.Trim(e.Value, `"'`) == "*" {
				return past("noproxy takes every name past the proxy", "noproxy=localhost,127.0.0.1,::1")
			}
		}
		return nil
	}),
}
