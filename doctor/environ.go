package doctor

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"watertight/doctor/read"
)

// Var is a variable of an environment.
type Var struct {
	Name, Value string
	Where       string // as evidence begins: FILE:LINE, environment, or process PID (NAME)
	File        string // the file that sets it; empty where none is known
	Line        int
}

// String is the variable as evidence, with its secrets masked.
func (v Var) String() string { return clip(v.Where + ": " + v.Name + "=" + Mask(v.Value)) }

// Scope is one environment: a set of variables that programs are started with together.
type Scope struct {
	What string // whose it is, for people
	Kind Kind
	Vars []Var // the last one of a name counts
	// Processes have it, where it is one of running programs.
	Processes []Process
}

// Kind is what an environment is of.
type Kind int

// The kinds.
const (
	Own     Kind = iota // of this process
	Login               // of a shell, by profiles
	Unit                // of a service, by its unit
	Running             // of running programs
)

// Get gives a variable by its exact name; an empty value is none, as clients have it.
func (s Scope) Get(name string) (Var, bool) {
	for _, v := range slices.Backward(s.Vars) {
		if v.Name == name {
			return v, v.Value != ""
		}
	}
	return Var{}, false
}

// ProxyVars are the variables that clients take a proxy from.
var ProxyVars = []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "ftp_proxy", "FTP_PROXY", "grpc_proxy"}

// NoProxyVars are those that name what goes past it.
var NoProxyVars = []string{"no_proxy", "NO_PROXY", "no_grpc_proxy"}

// Proxies gives the proxy variables of the scope that are set, in the order of ProxyVars.
func (s Scope) Proxies() []Var { return s.these(ProxyVars) }

// NoProxies gives the variables of what goes past the proxy.
func (s Scope) NoProxies() []Var { return s.these(NoProxyVars) }

func (s Scope) these(names []string) []Var {
	var found []Var
	for _, n := range names {
		if v, ok := s.Get(n); ok {
			found = append(found, v)
		}
	}
	return found
}

// Also says for whom else the evidence of a scope stands: the number of further processes, or nothing.
func (s Scope) Also() []string {
	if len(s.Processes) < 2 {
		return nil
	}
	var names []string
	for _, p := range s.Processes[1:] {
		if text := p.String(); len(names) < 4 {
			names = append(names, text)
		}
	}
	if more := len(s.Processes) - 1 - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return []string{"the same in " + strings.Join(names, ", ")}
}

// relevant says whether a variable is one that rules look at.
func relevant(name string) bool {
	l := strings.ToLower(name)
	return strings.HasSuffix(l, "_proxy") || slices.Contains(lookedAt, name) || strings.HasSuffix(name, "_BASE_URL") || strings.HasSuffix(name, "_ENDPOINT_URL")
}

// lookedAt are further variables that rules look at.
var lookedAt = []string{
	"NODE_USE_ENV_PROXY", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "MAVEN_OPTS", "GRADLE_OPTS", "JAVA_OPTS", "LD_PRELOAD",
	"GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_HOME",
	"K6_NO_USAGE_REPORT", "DOTNET_CLI_TELEMETRY_OPTOUT", "TORSOCKS_CONF_FILE", "PROXYCHAINS_CONF_FILE", "DO_NOT_TRACK",
}

// Scopes gives the environments of the host that rules on variables look at. They are gathered once.
func (h *Host) Scopes() []Scope {
	m := h.Files.shelf
	m.mu.Lock()
	have := m.scopes
	m.mu.Unlock()
	if have != nil {
		return have
	}
	have = h.gather()
	if h.Files.ctx.Err() == nil { // else not all was seen
		m.mu.Lock()
		m.scopes = have
		m.mu.Unlock()
	}
	return have
}

func (h *Host) gather() []Scope {
	scopes := []Scope{{What: "this shell", Kind: Own, Vars: own(h.Env)}}
	system := h.profile("", systemProfiles)
	if len(system) > 0 {
		scopes = append(scopes, Scope{What: "every login", Kind: Login, Vars: system})
	}
	for _, home := range h.Homes {
		if vars := h.profile(home.Path, userProfiles); len(vars) > 0 {
			scopes = append(scopes, Scope{What: "logins of " + home.User, Kind: Login, Vars: append(slices.Clone(system), vars...)})
		}
	}
	scopes = append(scopes, h.units()...)
	return append(scopes, h.running()...)
}

func own(environ []string) []Var {
	var vars []Var
	for _, e := range environ {
		if n, v, ok := strings.Cut(e, "="); ok && relevant(n) {
			vars = append(vars, Var{Name: n, Value: v, Where: "environment"})
		}
	}
	return vars
}

// Profiles, in the order in which they are read. The first of a group of a user's that bash reads is not told from the
// others: what any of them sets is meant for some shell.
var (
	systemProfiles = []string{
		"/etc/security/pam_env.conf", "/etc/environment", "/etc/environment.d/*.conf", "/etc/profile", "/etc/profile.d/*.sh", "/etc/bash.bashrc", "/etc/bashrc",
		"/etc/zshenv", "/etc/zsh/zshenv", "/etc/zprofile", "/etc/zsh/zprofile", "/etc/zshrc", "/etc/zsh/zshrc", "/etc/csh.cshrc", "/etc/fish/config.fish", "/etc/fish/conf.d/*.fish",
	}
	userProfiles = []string{
		"/.pam_environment", "/.config/environment.d/*.conf", "/.profile", "/.bash_profile", "/.bash_login", "/.bashrc", "/.bash_aliases", "/.zshenv", "/.zprofile", "/.zshrc",
		"/.xprofile", "/.xsessionrc", "/.kshrc", "/.cshrc", "/.tcshrc", "/.config/fish/config.fish", "/.config/fish/conf.d/*.fish",
	}
)

// profile gives the variables that the profiles below a directory set.
func (h *Host) profile(base string, patterns []string) []Var {
	var vars []Var
	for _, pattern := range patterns {
		for _, name := range h.Files.Glob(base + pattern) {
			if file, ok := h.Files.Read(name); ok {
				vars = apply(vars, file, assignments(file))
			}
		}
	}
	return vars
}

func assignments(file File) []read.Assignment {
	if base := path.Base(file.Path); base == "pam_env.conf" || base == ".pam_environment" {
		return read.PamEnv(file.Data)
	}
	return read.Shell(file.Data)
}

// apply adds what a file sets. A value that is not known until it runs takes an earlier one away, for the file says nothing.
func apply(vars []Var, file File, all []read.Assignment) []Var {
	for _, a := range all {
		if !relevant(a.Name) {
			continue
		}
		if a.Unset || !a.Known {
			vars = slices.DeleteFunc(vars, func(v Var) bool { return v.Name == a.Name })
			continue
		}
		vars = append(vars, Var{Name: a.Name, Value: a.Value, Where: fmt.Sprintf("%s:%d", file.Path, a.Line), File: file.Path, Line: a.Line})
	}
	return vars
}

// units gives the environments of services that their units write down, and that of the manager.
func (h *Host) units() []Scope {
	byUnit := map[string][]Var{}
	for _, pattern := range []string{
		"/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf", "/usr/lib/systemd/system/*.service.d/*.conf", "/run/systemd/system/*.service",
		"/etc/systemd/user/*.service", "/etc/systemd/system.conf", "/etc/systemd/system.conf.d/*.conf",
	} {
		for _, name := range h.Files.Glob(pattern) {
			file, ok := h.Files.Read(name)
			if !ok {
				continue
			}
			unit := path.Base(name)
			if dir := path.Base(path.Dir(name)); strings.HasSuffix(dir, ".d") {
				unit = strings.TrimSuffix(dir, ".d")
			}
			byUnit[unit] = h.unit(byUnit[unit], file)
		}
	}
	var scopes []Scope
	for unit, vars := range byUnit {
		if len(vars) > 0 {
			scopes = append(scopes, Scope{What: unit, Kind: Unit, Vars: vars})
		}
	}
	sort.Slice(scopes, func(i, j int) bool { return scopes[i].What < scopes[j].What })
	return scopes
}

func (h *Host) unit(vars []Var, file File) []Var {
	for _, e := range read.INI(file.Data) {
		switch {
		case e.Key == "Environment" || e.Key == "DefaultEnvironment":
			if e.Value == "" {
				vars = nil
			}
			for _, a := range read.Unit(e.Value) {
				a.Line = e.Line
				vars = apply(vars, file, []read.Assignment{a})
			}
		case e.Key == "EnvironmentFile":
			for _, name := range h.Files.Glob(strings.TrimPrefix(e.Value, "-")) {
				if f, ok := h.Files.Read(name); ok {
					vars = apply(vars, f, read.Shell(f.Data))
				}
			}
		}
	}
	return vars
}

// running gives the environments of running programs; those that are the same for rules are one. Programs whose variables
// are those of this process say nothing new.
func (h *Host) running() []Scope {
	var scopes []Scope
	at := map[string]int{keyOf(own(h.Env)): -1}
	for _, p := range h.Processes {
		if !p.Seen || p.Name == "watertight" {
			continue // our own program obeys none
		}
		vars := own(p.Environ)
		for i := range vars {
			vars[i].Where = p.String()
		}
		key := keyOf(vars)
		i, ok := at[key]
		switch {
		case len(vars) == 0 || ok && i < 0:
		case ok:
			scopes[i].Processes = append(scopes[i].Processes, p)
		default:
			at[key] = len(scopes)
			scopes = append(scopes, Scope{What: p.String(), Kind: Running, Vars: vars, Processes: []Process{p}})
		}
	}
	return scopes
}

func keyOf(vars []Var) string {
	var all []string
	for _, v := range vars {
		all = append(all, v.Name+"="+v.Value)
	}
	slices.Sort(all)
	return strings.Join(all, "\x00")
}
