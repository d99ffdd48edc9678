// Package env has the rules on environment variables: what shells, services and running programs are told of the proxy.
//
// The rules look at every environment of the host: that of who asks, those that profiles and units set up, and those of
// running programs. Our own program obeys no such variable and is left out.
package env

import "watertight/doctor"

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		socks5Local, malformed, letterCase, partial, noProxyWide, noProxyAmbig, noProxyLoopback, byName, localhostVhost, credCharset,
	}
}

// setAll is the mend of most of what is wrong with variables.
func setAll(h *doctor.Host) string {
	return "eval \"$(watertight env)\"   # in a profile; in a file of variables set http_proxy, https_proxy, all_proxy and the same in capitals to " + h.ProxyURL()
}
