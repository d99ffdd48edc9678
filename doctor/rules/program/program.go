// Package program has the rules on programs that are installed or run, and that pass the proxy by, or resolve names beside
// it, whatever their variables say.
//
// That a program is installed is worth less than that it runs: a finding of the first kind is medium, and one of the
// second as severe as the rule.
package program

import (
	"path"
	"slices"
	"strings"

	"watertight/doctor"
)

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		nodeEnv, denoPresent, rubyNetHTTP, grpcGoOld, javaOpts, preloadOnly, sudoEnv, credExposed, telemetry,
	}
}

// binaries are the directories that programs are found in.
var binaries = []string{"/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/snap/bin", "/opt/*/bin"}

// installed gives where a program is: in the usual directories, and in the places given within homes.
func installed(h *doctor.Host, names []string, inHomes ...string) []string {
	var found []string
	add := func(pattern string) {
		for _, p := range h.Files.Glob(pattern) {
			if info, ok := h.Files.Stat(p); ok && info.Mode().IsRegular() && !slices.Contains(found, p) {
				found = append(found, p)
			}
		}
	}
	for _, name := range names {
		for _, dir := range binaries {
			add(dir + "/" + name)
		}
	}
	for _, home := range h.Homes {
		for _, pattern := range inHomes {
			add(path.Join(home.Path, pattern))
		}
	}
	return found
}

// proxied gives a variable by which shells of the host, or who asks, name a proxy.
func proxied(h *doctor.Host) (doctor.Scope, doctor.Var, bool) {
	for _, s := range h.Scopes() {
		if s.Kind == doctor.Own || s.Kind == doctor.Login {
			if p := s.Proxies(); len(p) > 0 {
				return s, p[0], true
			}
		}
	}
	return doctor.Scope{}, doctor.Var{}, false
}

// proxyOf gives a variable by which a process was told of a proxy.
func proxyOf(p doctor.Process) (string, bool) {
	for _, name := range doctor.ProxyVars {
		if v, ok := p.Env(name); ok && v != "" {
			return name + "=" + doctor.Mask(v), true
		}
	}
	return "", false
}

// running gives the processes of programs with these names, a version behind a name included: python3.11, ruby3.1.
func running(h *doctor.Host, names ...string) []doctor.Process {
	var found []doctor.Process
	for _, p := range h.Processes {
		for _, n := range names {
			if rest, ok := strings.CutPrefix(p.Name, n); ok && strings.Trim(rest, "0123456789.-") == "" {
				found = append(found, p)
				break
			}
		}
	}
	return found
}
