package ours

import (
	"net/netip"
	"path"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

var upstreamBootstrap = doctor.Rule{
	ID: "UPSTREAM-BOOTSTRAP", Severity: doctor.Critical,
	Title:   "an encrypted resolver of another program is found by DNS in the clear",
	Clients: []string{"dnscrypt-proxy", "AdGuard Home", "unbound"},
	Explain: `A resolver that is given by a name has to be found first, and most programs do that in the clear: bootstrap_resolvers of
dnscrypt-proxy are 9.9.9.11 and 8.8.8.8 on port 53 as it comes, and its netprobe sends a packet to 9.9.9.9:53; AdGuard Home has
bootstrap_dns; unbound looks a forward-host up by the host's resolver. In Watertight there is nothing to find here: an upstream has its
addresses, or is refused when the configuration is read, and a proxy's name is resolved by the channel underneath.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		add := func(f doctor.File, line int, text, fact, fix string) {
			found = append(found, doctor.Finding{Fact: f.Path + ": " + fact, Evidence: []string{f.At(line, text)}, Fix: fix})
		}
		for _, f := range h.Readable(nil, "/etc/dnscrypt-proxy/dnscrypt-proxy.toml", "/etc/dnscrypt-proxy.toml", "/opt/dnscrypt-proxy/dnscrypt-proxy.toml") {
			for _, e := range read.TOML(f.Data) {
				switch {
				case (e.Key == "bootstrap_resolvers" || e.Key == "fallback_resolvers") && strings.Trim(e.Value, "[] ") != "":
					add(f, e.Line, e.Key+" = "+e.Value, "dnscrypt-proxy finds its servers by DNS in the clear", "bootstrap_resolvers = []   # and server stamps, which have addresses")
				case e.Key == "netprobe_address" && strings.HasSuffix(strings.Trim(e.Value, `"'`), ":53"):
					add(f, e.Line, e.Key+" = "+e.Value, "dnscrypt-proxy tries the network on port 53", "netprobe_timeout = 0")
				}
			}
		}
		for _, f := range h.Readable(nil, "/opt/AdGuardHome/AdGuardHome.yaml", "/etc/AdGuardHome/AdGuardHome.yaml", "/var/lib/AdGuardHome/AdGuardHome.yaml") {
			inside := false
			for i, line := range f.Lines() {
				item, isItem := strings.CutPrefix(strings.TrimSpace(line), "- ")
				if !isItem {
					inside = strings.TrimSpace(line) == "bootstrap_dns:"
				} else if inside && !strings.Contains(item, "://") {
					add(f, i+1, line, "AdGuard Home finds its upstreams by DNS in the clear", "upstream_dns by address, such as https://9.9.9.9/dns-query, and bootstrap_dns: []")
				}
			}
		}
		for _, f := range h.Readable(nil, "/etc/unbound/unbound.conf", "/etc/unbound/unbound.conf.d/*.conf") {
			for i, line := range f.Lines() {
				if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && key == "forward-host" {
					add(f, i+1, line, "unbound looks up the name of its upstream "+strings.TrimSpace(value), "forward-addr: ADDRESS@853#"+strings.TrimSpace(value))
				}
			}
		}
		return doctor.Merge(found)
	},
}

var upstreamLocalResolve = doctor.Rule{
	ID: "UPSTREAM-LOCAL-RESOLVE", Severity: doctor.Critical,
	Title:   "something that leads programs to a proxy gives it addresses, having resolved the names here",
	Clients: []string{"proxychains, tsocks", "privoxy", "connect-proxy, socat"},
	Explain: `SOCKS4 has no names, and a wrapper that speaks SOCKS5 may resolve before it asks. Measured: proxychains 4 without proxy_dns looks
every name up in the clear; connect-proxy -R local and socat SOCKS4 do as well, where socat SOCKS4A and connect-proxy as it comes give
the proxy the name. tsocks leaves look-ups alone. privoxy's forward-socks4 resolves; forward-socks4a and forward-socks5 do not
(documented).`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable([]string{".proxychains/proxychains.conf"}, "/etc/proxychains.conf", "/etc/proxychains4.conf") {
			found = append(found, proxychains(f)...)
		}
		for _, f := range h.Readable(nil, "/etc/privoxy/config") {
			for i, line := range f.Lines() {
				if strings.HasPrefix(strings.TrimSpace(line), "forward-socks4 ") {
					found = append(found, doctor.Finding{Fact: "privoxy resolves names before it asks a SOCKS4 proxy", Evidence: []string{f.At(i+1, line)}, Fix: strings.Replace(strings.TrimSpace(line), "forward-socks4 ", "forward-socks4a ", 1)})
				}
			}
		}
		command, need := h.ProxyCommand()
		for _, f := range h.Readable([]string{".ssh/config"}, "/etc/ssh/ssh_config", "/etc/ssh/ssh_config.d/*.conf") {
			for _, e := range read.SSH(f.Data) {
				if e.Key == "proxycommand" && (strings.Contains(e.Value, "SOCKS4:") || strings.Contains(e.Value, "connect") && strings.Contains(e.Value, "-R local")) {
					found = append(found, doctor.Finding{
						Fact: "a ProxyCommand resolves the host before it asks the proxy", Evidence: []string{f.At(e.Line, "ProxyCommand "+e.Value)},
						Fix: "ProxyCommand " + command + need,
					})
				}
			}
		}
		for _, f := range h.Readable(nil, "/etc/tsocks.conf") {
			if lines := f.Lines(); len(lines) > 0 {
				found = append(found, doctor.Finding{Fact: "tsocks leads connections to a proxy and leaves look-ups alone", Evidence: []string{f.At(1, lines[0])}, Fix: "watertight exec -- COMMAND   # in place of tsocks"})
			}
		}
		return doctor.Merge(found)
	},
}

// proxychains says whether a configuration of it has a proxy and resolves here.
func proxychains(f doctor.File) []doctor.Finding {
	line, text := 0, ""
	for i, l := range f.Lines() {
		word := strings.Fields(l)
		switch {
		case len(word) == 0 || strings.HasPrefix(word[0], "#"):
		case strings.HasPrefix(word[0], "proxy_dns"):
			return nil
		case len(word) >= 3 && (strings.HasPrefix(word[0], "socks") || word[0] == "http"):
			line, text = i+1, l
		}
	}
	if line == 0 {
		return nil
	}
	return []doctor.Finding{{
		Fact: f.Path + " has no proxy_dns: proxychains leads connections to the proxy and leaves look-ups alone", Evidence: []string{f.At(line, text)},
		Fix: "proxy_dns\n# in " + doctor.Plain(f.Path) + "; or watertight exec -- COMMAND, which static programs obey too",
	}}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

var fakeIP127 = doctor.Rule{
	ID: "FAKEIP-127", Severity: doctor.High,
	Title:   "addresses that stand for names are taken from 127.0.0.0/8",
	Clients: []string{"Ruby (goes past the proxy)", "dockerd (takes the registry for insecure)", "what treats loopback as trusted"},
	Explain: `Read in the sources: Ruby's URI#find_proxy goes past the proxy for a name that resolves to 127.*, and dockerd lets a registry in
127.0.0.0/8 be spoken to without TLS. tor takes addresses for AutomapHostsOnResolve from 127.192.0.0/10 unless VirtualAddrNetworkIPv4
says otherwise. 198.18.0.0/15 is set aside for tests of networks (RFC 2544) and treated by nobody as special; Watertight takes its own
from there.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable(nil, "/etc/tor/torrc", "/usr/local/etc/tor/torrc") {
			found = append(found, torrc(f)...)
		}
		add := func(f doctor.File, line int, text, value, fix string) {
			if in127(value) {
				found = append(found, doctor.Finding{Fact: f.Path + ": addresses that stand for names are in " + value, Evidence: []string{f.At(line, text)}, Fix: fix})
			}
		}
		for _, f := range h.Readable([]string{".config/clash/config.yaml", ".config/mihomo/config.yaml"}, "/etc/clash/config.yaml", "/etc/mihomo/config.yaml") {
			for i, line := range f.Lines() {
				if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && key == "fake-ip-range" {
					add(f, i+1, line, strings.Trim(value, ` "'`), "fake-ip-range: 198.18.0.1/16")
				}
			}
		}
		for _, f := range h.Readable([]string{".proxychains/proxychains.conf"}, "/etc/proxychains.conf", "/etc/proxychains4.conf") {
			for i, line := range f.Lines() {
				if word := strings.Fields(line); len(word) == 2 && word[0] == "remote_dns_subnet" {
					add(f, i+1, line, word[1]+".0.0.0/8", "remote_dns_subnet 224")
				}
			}
		}
		return found
	},
}

func torrc(f doctor.File) []doctor.Finding {
	automap, text := 0, ""
	network, at, written := "127.192.0.0/10", 0, ""
	for i, line := range f.Lines() {
		word := strings.Fields(line)
		switch {
		case len(word) < 2:
		case strings.EqualFold(word[0], "AutomapHostsOnResolve") && word[1] == "1":
			automap, text = i+1, line
		case strings.EqualFold(word[0], "VirtualAddrNetworkIPv4") || strings.EqualFold(word[0], "VirtualAddrNetwork"):
			network, at, written = word[1], i+1, line
		}
	}
	if automap == 0 || !in127(network) {
		return nil
	}
	evidence := []string{f.At(automap, text)}
	if at > 0 {
		evidence = []string{f.At(at, written)}
	}
	return []doctor.Finding{{Fact: path.Base(f.Path) + ": addresses that stand for names are in " + network, Evidence: evidence, Fix: "VirtualAddrNetworkIPv4 198.18.0.0/15"}}
}

func in127(network string) bool {
	p, err := netip.ParsePrefix(network)
	return err == nil && p.Addr().Is4() && loopback.Contains(p.Addr())
}
