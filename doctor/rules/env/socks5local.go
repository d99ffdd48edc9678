package env

import (
	"strings"

	"watertight/doctor"
)

var socks5Local = doctor.Rule{
	ID: "ENV-SOCKS5-LOCAL", Severity: doctor.Critical,
	Title:   "a proxy variable says socks5:// or socks4://, with which many clients resolve names themselves",
	Clients: []string{"curl, libcurl, git, PHP, cargo, HTTPie", "requests, urllib3", "npm, axios, socks-proxy-agent, proxy-agent", "reqwest", "grpcio, grpc-js, Node's https, Java HttpClient (go direct)", "deno"},
	Explain: `With socks5:// the client resolves the name and gives the proxy an address; with socks5h:// it gives the proxy the name.
Measured: curl 7.88 and all of libcurl (git, PHP, cargo, HTTPie), requests 2.28 with urllib3 1.26, socks-proxy-agent 10 (npm,
axios, proxy-agent) send A and AAAA queries for every target with socks5:// and none with socks5h://. requests changed to that on
purpose in 2.12. grpcio 1.51, grpc-js 1.14 and Node's https ignore a SOCKS URL and connect directly; java.net.http does the same.
Deno 2.9 gives the proxy the name and looks it up as well. socks4:// has no names at all, and socks://, which the terminals of GNOME
set where the desktop has a SOCKS proxy, is socks4:// for curl (measured with 7.88: "locally resolved").
Go, httpx 0.23, undici and Chromium give the proxy the name with socks5:// too. That a setting is harmless in one client says
nothing about the next one that reads the same variable.
An http:// URL of an address is the only form that nearly every client reads alike: the mixed port speaks both.`,
	Find: doctor.InScopes(func(h *doctor.Host, s doctor.Scope) []doctor.Finding {
		var found []doctor.Finding
		for _, v := range append(s.Proxies(), npm(s)...) {
			u, _ := doctor.ReadProxyURL(v.Value)
			if !local(u) || u.Scheme == "socks" && isNPM(v) {
				continue
			}
			f := doctor.Finding{
				Fact:     v.Name + " is " + doctor.Mask(v.Value) + ": many clients resolve names themselves before they ask that proxy",
				Evidence: []string{v.String()},
				Fix:      v.Name + "=" + h.ProxyURL(),
			}
			if !u.Is(h.Ours()) {
				f.Fix += "\n# or, for the same proxy: " + v.Name + "=" + doctor.Quote(doctor.Mask(map[string]string{"socks5": "socks5h", "socks4": "socks4a", "socks": "socks5h"}[u.Scheme]+strings.TrimSpace(v.Value)[len(u.Scheme):]))
			} else if file, ok := h.Files.Read(v.File); ok && !u.HasUser {
				f.Change = replaceValue(file, v, u.HTTP())
			}
			found = append(found, f)
		}
		return found
	}),
}

// local says whether clients that see a proxy in a variable resolve names by themselves. socks:// they take for version 4, but for npm.
func local(u doctor.ProxyURL) bool { return u.Local() || u.Scheme == "socks" }

func isNPM(v doctor.Var) bool { return strings.HasPrefix(strings.ToLower(v.Name), "npm_") }

// npm gives the variables by which npm is configured.
func npm(s doctor.Scope) []doctor.Var {
	var found []doctor.Var
	for _, name := range []string{"npm_config_proxy", "npm_config_https_proxy", "NPM_CONFIG_PROXY", "NPM_CONFIG_HTTPS_PROXY"} {
		if v, ok := s.Get(name); ok && v.Value != "null" && v.Value != "false" { // which are no proxy
			found = append(found, v)
		}
	}
	return found
}

// replaceValue puts another value in place of that of a variable, where it stands in its line as it is, once.
func replaceValue(f doctor.File, v doctor.Var, value string) *doctor.Change {
	lines := f.Lines()
	if v.Line < 1 || v.Line > len(lines) || strings.Count(lines[v.Line-1], v.Value) != 1 {
		return nil
	}
	return doctor.ReplaceLine(f, v.Line, strings.Replace(lines[v.Line-1], v.Value, value, 1))
}
