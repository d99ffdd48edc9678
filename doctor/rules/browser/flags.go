package browser

import (
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var browserFlags = doctor.Rule{
	ID: "BROWSER-FLAGS", Severity: doctor.Medium,
	Title:   "a browser has a proxy, and leaks beside it",
	Clients: []string{"Chromium and its kin, Playwright, Puppeteer, Selenium", "Firefox"},
	Explain: `Measured with Chromium 156 and Firefox ESR 153, by flags and preferences:
Chromium with --proxy-server gives the proxy the names of pages, of prefetches and of WebSockets. A page that makes an
RTCPeerConnection has the name of its STUN server looked up by the host, in 21 of 25 runs. Closed by
--webrtc-ip-handling-policy=disable_non_proxied_udp (4 of 4 clean), or by --host-resolver-rules="MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".
--force-webrtc-ip-handling-policy, which is often named, did not close it.
--proxy-server=http=HOST:PORT is for http:// alone: https:// pages go directly. socks4:// has the host resolve. What matches
--proxy-bypass-list goes directly, with HTTPS records asked for too.
Firefox with a manual proxy looked up firefox.settings.services.mozilla.com and connected to it past the proxy in 7 of 7 runs, until
network.proxy.allow_bypass was false. failover_direct has it connect directly where the proxy is down. With SOCKS,
socks_remote_dns=false, or version 4, has the host resolve.
Looked for: running Chromium with a proxy by flag or by its environment, policies that give it one, and profiles of Firefox with a manual proxy, or with that of a running
Firefox's environment.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		policies := chromium(h)
		for _, p := range programs(h) {
			found = append(found, flags(h, p, policies)...)
		}
		found = append(found, policed(h, policies)...)
		for _, p := range firefox(h) {
			found = append(found, manual(h, p)...)
		}
		return doctor.Merge(found)
	},
}

// flags looks at a running browser of Chromium's kin.
func flags(h *doctor.Host, p doctor.Process, settings []written) []doctor.Finding {
	server := flag(p, "proxy-server")
	from := "--proxy-server=" + doctor.Mask(server)
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		if v, ok := p.Env(name); ok && v != "" && server == "" && flag(p, "no-proxy-server") == "" {
			server, from = v, name+"="+doctor.Mask(v)
		}
	}
	if server == "" {
		return nil
	}
	var found []doctor.Finding
	add := func(s doctor.Severity, fact, evidence, fix string) {
		found = append(found, doctor.Finding{Severity: s, Fact: fact, Evidence: []string{p.String() + ": " + evidence}, Fix: fix})
	}
	right := "--proxy-server=" + h.ProxyURL() + " --webrtc-ip-handling-policy=disable_non_proxied_udp"
	switch {
	case partial(server):
		add(doctor.Critical, "Chromium has a proxy for some schemes only: https:// pages go directly", from, right)
	case isSOCKS4(server):
		add(doctor.Critical, "Chromium has a SOCKS 4 proxy: the host resolves every name", from, right)
	}
	if list := flag(p, "proxy-bypass-list"); wideBypass(list) {
		add(doctor.High, "Chromium goes directly to some names", "--proxy-bypass-list="+list, "# leave --proxy-bypass-list out, or\n--proxy-bypass-list=127.0.0.1")
	}
	closed := flag(p, "webrtc-ip-handling-policy") == "disable_non_proxied_udp" || strings.Contains(flag(p, "host-resolver-rules"), "NOTFOUND")
	if !closed && !slices.ContainsFunc(settings, closes) {
		add(0, "Chromium has a proxy, and has the host look up the STUN servers of WebRTC", from, "--webrtc-ip-handling-policy=disable_non_proxied_udp\n# or, for every start:\n"+chromiumMend(h))
	}
	return found
}

// closes says that a policy keeps WebRTC within the proxy.
func closes(w written) bool { return w.policy && w.WebRTC.Text == "disable_non_proxied_udp" }

// partial says that a proxy is not for https:// pages, or not for all.
func partial(server string) bool {
	return strings.Contains(server, "=") && !hasScheme(server, "https") || strings.Contains(server, "direct://")
}

func isSOCKS4(server string) bool {
	return strings.HasPrefix(server, "socks4://") || strings.HasPrefix(server, "socks://")
}

// policed looks at policies that give every browser of Chromium's kin its proxy, running or not.
func policed(h *doctor.Host, settings []written) []doctor.Finding {
	var found []doctor.Finding
	for _, w := range settings {
		if !w.policy || w.ProxyMode.Text != "fixed_servers" {
			continue
		}
		add := func(s doctor.Severity, fact string, at read.Word) {
			found = append(found, doctor.Finding{Severity: s, Fact: fact, Evidence: []string{w.file.At(at.Line, at.Text)}, Fix: chromiumMend(h)})
		}
		switch {
		case partial(w.ProxyServer.Text):
			add(doctor.Critical, "a policy gives Chromium a proxy for some schemes only: https:// pages go directly", w.ProxyServer)
		case isSOCKS4(w.ProxyServer.Text):
			add(doctor.Critical, "a policy gives Chromium a SOCKS 4 proxy: the host resolves every name", w.ProxyServer)
		}
		if wideBypass(w.ProxyBypass.Text) {
			add(doctor.High, "a policy has Chromium go directly to some names", w.ProxyBypass)
		}
		if !slices.ContainsFunc(settings, closes) {
			add(0, "a policy gives Chromium a proxy, and has the host look up the STUN servers of WebRTC", w.ProxyMode)
		}
	}
	return found
}

// hasScheme says whether a list such as http=A;https=B has the scheme.
func hasScheme(list, scheme string) bool {
	for _, one := range strings.FieldsFunc(list, func(r rune) bool { return r == ';' || r == ',' }) {
		if s, _, ok := strings.Cut(strings.TrimSpace(one), "="); !ok || s == scheme {
			return true
		}
	}
	return false
}

// wideBypass says whether a list has more than this host.
func wideBypass(list string) bool {
	for _, one := range strings.FieldsFunc(list, func(r rune) bool { return r == ';' || r == ',' }) {
		one = strings.TrimSpace(one)
		if one != "" && !slices.Contains([]string{"localhost", "127.0.0.1", "127.0.0.0/8", "::1", "[::1]", "<local>", "<-loopback>", "*.localhost"}, one) {
			return true
		}
	}
	return false
}

// proxiedFirefox gives the evidence that a Firefox runs with a proxy from its environment.
func proxiedFirefox(h *doctor.Host) string {
	for _, p := range h.Processes {
		if !strings.HasPrefix(p.Name, "firefox") {
			continue
		}
		for _, name := range []string{"https_proxy", "HTTPS_PROXY"} {
			if v, ok := p.Env(name); ok && v != "" {
				return p.String() + ": " + name + "=" + doctor.Mask(v)
			}
		}
	}
	return ""
}

// manual looks at a profile of Firefox that has a proxy.
func manual(h *doctor.Host, p profile) []doctor.Finding {
	var base string
	switch p.get("network.proxy.type", "5") {
	case "1":
		base = p.prefs["network.proxy.type"].evidence()
	case "5": // the system's, which is the environment's where no desktop has one
		if base = proxiedFirefox(h); base == "" {
			return nil
		}
	default:
		return nil
	}
	var found []doctor.Finding
	open := func(name, built, safe string) (string, bool) {
		if p.get(name, built) == safe {
			return "", false
		}
		if v, ok := p.prefs[name]; ok {
			return v.evidence(), true
		}
		return p.dir + ": " + name + " is not set, so it is " + built, true
	}
	if e, ok := open("network.proxy.allow_bypass", "true", "false"); ok {
		found = append(found, doctor.Finding{
			Fact: "Firefox goes past its proxy for its own services", Evidence: []string{base, e}, Fix: "// in user.js of the profile\n" + `user_pref("network.proxy.allow_bypass", false);`,
		})
	}
	if e, ok := open("network.proxy.failover_direct", "true", "false"); ok {
		found = append(found, doctor.Finding{
			Fact: "Firefox connects directly where its proxy is down", Evidence: []string{base, e}, Fix: "// in user.js of the profile\n" + `user_pref("network.proxy.failover_direct", false);`,
		})
	}
	if p.get("network.proxy.socks", "") == "" {
		return found
	}
	socks := p.prefs["network.proxy.socks"].evidence()
	if p.get("network.proxy.socks_version", "5") == "4" {
		found = append(found, doctor.Finding{
			Severity: doctor.Critical, Fact: "Firefox has a SOCKS 4 proxy: the host resolves every name", Evidence: []string{socks, p.prefs["network.proxy.socks_version"].evidence()}, Fix: userJS(h),
		})
	}
	for _, name := range []string{"network.proxy.socks_remote_dns", "network.proxy.socks5_remote_dns"} {
		if p.get(name, "true") == "false" {
			found = append(found, doctor.Finding{
				Severity: doctor.Critical, Fact: "Firefox has a SOCKS proxy and has the host resolve every name", Evidence: []string{socks, p.prefs[name].evidence()},
				Fix: "// in user.js of the profile\n" + `user_pref("` + name + `", true);`,
			})
		}
	}
	return found
}
