package read

import (
	"bytes"
	"strconv"
	"strings"
)

// Pref is a preference of Firefox: `user_pref("name", value);` of prefs.js and user.js, or `pref`, `lockPref` and `defaultPref` of a
// configuration for all users.
type Pref struct {
	Name  string
	Value string // a string without its quotes, a number, true or false
	Line  int
}

// Prefs are by name; the last one in a file counts.
type Prefs map[string]Pref

// maxPrefs bounds what is kept; a profile has some hundred.
const maxPrefs = 20_000

// ParsePrefs reads a prefs.js or user.js. A line that is none of a preference's is left out.
func ParsePrefs(b []byte) Prefs {
	all := Prefs{}
	lines(b, func(n int, line string) {
		line = strings.TrimSpace(line)
		call, rest, ok := strings.Cut(line, "(")
		switch strings.TrimSpace(call) {
		case "user_pref", "pref", "lockPref", "defaultPref", "sticky_pref":
		default:
			return
		}
		end := strings.LastIndexByte(rest, ')')
		if !ok || end < 0 || len(all) >= maxPrefs {
			return
		}
		name, value, ok := strings.Cut(rest[:end], ",")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || len(name) < 3 || name[0] != '"' && name[0] != '\'' {
			return
		}
		if s, err := strconv.Unquote(value); err == nil {
			value = s
		} else {
			value = unquote(value)
		}
		all[unquote(name)] = Pref{unquote(name), value, n}
	})
	return all
}

// FirefoxPolicies reads what a policies.json says about names and the proxy, as the preferences that they set:
// https://mozilla.github.io/policy-templates/, "Proxy", "DNSOverHTTPS" and "Preferences".
func FirefoxPolicies(b []byte) (Prefs, error) {
	n, err := ParseJSON(b)
	if err != nil {
		return nil, err
	}
	all := Prefs{}
	set := func(name, value string, line int) {
		if len(all) < maxPrefs {
			all[name] = Pref{name, value, line}
		}
	}
	policies := n.Get("policies")
	for name, one := range policies.Get("Preferences").Fields {
		if one.Fields != nil {
			one = one.Get("Value")
		}
		if s, ok := one.scalar(); ok {
			set(name, s, one.Line)
		}
	}
	types := map[string]string{"none": "0", "manual": "1", "autoConfig": "2", "autoDetect": "4", "system": "5"}
	proxy := policies.Get("Proxy")
	if kind, ok := types[proxy.Get("Mode").Text()]; ok {
		set("network.proxy.type", kind, proxy.Get("Mode").Line)
	}
	if on, ok := proxy.Get("UseProxyForDNS").Bool(); ok {
		set("network.proxy.socks_remote_dns", strconv.FormatBool(on), proxy.Get("UseProxyForDNS").Line)
	}
	if v, ok := proxy.Get("SOCKSVersion").Int(); ok {
		set("network.proxy.socks_version", strconv.Itoa(v), proxy.Get("SOCKSVersion").Line)
	}
	for key, names := range map[string][2]string{"HTTPProxy": {"network.proxy.http", "network.proxy.http_port"}, "SOCKSProxy": {"network.proxy.socks", "network.proxy.socks_port"}} {
		if at := proxy.Get(key); at.Text() != "" {
			host, port, _ := strings.Cut(at.Text(), ":")
			set(names[0], host, at.Line)
			set(names[1], port, at.Line)
		}
	}
	doh := policies.Get("DNSOverHTTPS")
	if on, ok := doh.Get("Enabled").Bool(); ok {
		mode := "5" // off by choice
		if on {
			mode = "2"
			if fallback, ok := doh.Get("Fallback").Bool(); ok && !fallback {
				mode = "3"
			}
		}
		set("network.trr.mode", mode, doh.Get("Enabled").Line)
	}
	return all, nil
}

// scalar gives the text of a string, number or boolean.
func (n Node) scalar() (string, bool) {
	switch v := n.Scalar.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case interface{ String() string }: // json.Number
		return v.String(), true
	}
	return "", false
}

// ProfilesOf gives the directories of profiles that a profiles.ini names, relative to its own directory or whole.
func ProfilesOf(b []byte) []string {
	var dirs []string
	for _, e := range INI(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))) {
		if strings.HasPrefix(e.Section, "Profile") && e.Key == "Path" && e.Value != "" && len(dirs) < maxServers {
			dirs = append(dirs, e.Value)
		}
	}
	return dirs
}

// unquote takes a pair of quotes away.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}
