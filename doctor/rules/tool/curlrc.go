package tool

import (
	"watertight/doctor"
	"watertight/doctor/read"
)

var curlrc = doctor.Rule{
	ID: "CURLRC", Severity: doctor.High,
	Title:   "a curlrc sets a proxy that resolves here, is another than ours, or is gone past",
	Clients: []string{"curl"},
	Explain: `A proxy in a curlrc counts before the environment. Measured with curl 7.88: socks4, socks5 and --socks5 resolve here; socks4a,
socks5h and --socks5-hostname do not; --preproxy with socks5 looks up the name of the second proxy. A doh-url is fetched past the
proxy, and its own host is looked up on port 53, with any SOCKS proxy; with an HTTP proxy no look-up is made at all. noproxy = "*"
switches the proxy off.`,
	Find: settings([]string{".curlrc", ".config/curlrc", "_curlrc", "AppData/Roaming/.curlrc", "AppData/Roaming/_curlrc"}, []string{"/etc/curlrc"}, read.Curl, func(h *doctor.Host, e read.Entry) *judged {
		switch e.Key {
		case "proxy", "preproxy":
			return proxy(h, e.Key+" = ", e.Value)
		case "socks5", "socks4":
			j := proxy(h, "proxy = ", e.Key+"://"+e.Value)
			return j
		case "socks5-hostname", "socks4a":
			return proxy(h, "proxy = ", map[string]string{"socks5-hostname": "socks5h", "socks4a": "socks4a"}[e.Key]+"://"+e.Value)
		case "noproxy":
			if e.Value == "*" {
				return past("noproxy takes every name past the proxy", `noproxy = "localhost,127.0.0.1,::1"`)
			}
		case "doh-url":
			j := past("doh-url: curl fetches it past a SOCKS proxy, and looks its host up in the clear", "# take the line away: Watertight resolves over encrypted DNS")
			j.severity = doctor.Medium // with a proxy of HTTP it is not used
			return j
		}
		return nil
	}),
}
