package tool

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// scpLike is USER@HOST:PATH, which git takes as ssh.
var scpLike = regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^/]?`)

// maxRemotes bounds the evidence of remotes.
const maxRemotes = 20

var gitSSH = doctor.Rule{
	ID: "GIT-SSH", Severity: doctor.High,
	Title:   "git remotes over ssh, and no ssh command that goes through the proxy",
	Clients: []string{"git over ssh"},
	Explain: `ssh reads no proxy variables and no http.proxy. Measured with git 2.39 and OpenSSH 9.2: a remote git@host:… or ssh://… is
looked up here and connected to directly, and with core.sshCommand or a ProxyCommand that goes through the proxy it is not: OpenBSD's
nc -X, ncat and connect-proxy give the proxy the name. A remote over https:// with http.proxy is the simpler way.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		return remotes(h, func(v string) bool {
			return strings.HasPrefix(v, "ssh://") || strings.HasPrefix(v, "git+ssh://") || scpLike.MatchString(v) && !strings.Contains(v, "://")
		},
			func(home doctor.Home) bool { return sshGoverned(h, home) },
			"are reached over ssh, which knows no proxy variables",
			sshMend(h))
	},
}

// sshMend leads the ssh of git through the proxy.
func sshMend(h *doctor.Host) string {
	command, need := h.ProxyCommand()
	return fmt.Sprintf(`git config --global core.sshCommand "ssh -o ProxyCommand='%s'"`, command) + need
}

var gitProto = doctor.Rule{
	ID: "GIT-PROTO", Severity: doctor.High,
	Title:   "git remotes over git://, and no core.gitproxy",
	Clients: []string{"git over git://"},
	Explain: `git:// reads no proxy variables. Measured with git 2.39: the remote is looked up here and connected to on port 9418 in the
clear; core.gitproxy is clean. Most hosts have given git:// up: a rewrite to https:// is the better mend.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		return remotes(h, func(v string) bool { return strings.HasPrefix(v, "git://") },
			func(home doctor.Home) bool { return has(h, home, "core", "gitproxy") || rewrites(h, home) },
			"are reached over git://, which knows no proxy",
			`git config --global url."https://".insteadOf git://`)
	},
}

// remotes finds those of the clones of each user that are of a kind, where nothing governs them.
func remotes(h *doctor.Host, kind func(string) bool, governed func(doctor.Home) bool, what, fix string) []doctor.Finding {
	var found []doctor.Finding
	for _, home := range h.Homes {
		var evidence []string
		for _, c := range h.Clones() {
			if c.Home == home {
				evidence = append(evidence, remotesOf(c.Config, kind)...)
			}
		}
		if len(evidence) == 0 || governed(home) {
			continue
		}
		slices.Sort(evidence)
		found = append(found, doctor.Finding{Fact: fmt.Sprintf("remotes of %s %s", home.User, what), Evidence: evidence[:min(len(evidence), maxRemotes)], Fix: fix})
	}
	return found
}

func remotesOf(f doctor.File, kind func(string) bool) []string {
	var evidence []string
	entries := read.Git(f.Data)
	for _, e := range entries {
		if (e.Section == "core" && (e.Key == "sshcommand" || e.Key == "gitproxy")) && strings.TrimSpace(e.Value) != "" {
			return nil // the clone has its own way
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Section, "remote.") && (e.Key == "url" || e.Key == "pushurl") && kind(e.Value) {
			evidence = append(evidence, f.At(e.Line, e.Key+" = "+e.Value))
		}
	}
	return evidence
}

// has says whether a user's or the host's configuration of git has a key.
func has(h *doctor.Host, home doctor.Home, section, key string) bool {
	for _, name := range append([]string{path.Join(home.Path, gitFiles[0]), path.Join(home.Path, gitFiles[1])}, gitHost...) {
		if f, ok := h.Files.Read(name); ok {
			for _, e := range read.Git(f.Data) {
				if e.Section == section && e.Key == key && e.Value != "" {
					return true
				}
			}
		}
	}
	return false
}

// rewrites says whether git:// is rewritten to something else.
func rewrites(h *doctor.Host, home doctor.Home) bool {
	return has(h, home, "url.https://", "insteadof")
}

// sshGoverned says whether ssh goes through something: by core.sshCommand, or by a ProxyCommand for all hosts or for those of
// git.
func sshGoverned(h *doctor.Host, home doctor.Home) bool {
	if has(h, home, "core", "sshcommand") || h.Getenv("GIT_SSH_COMMAND") != "" {
		return true
	}
	for _, name := range []string{path.Join(home.Path, ".ssh/config"), "/etc/ssh/ssh_config"} {
		f, ok := h.Files.Read(name)
		if !ok {
			continue
		}
		for _, e := range read.SSH(f.Data) {
			if e.Key == "proxycommand" && !strings.EqualFold(e.Value, "none") && (e.Section == "" || strings.Contains(e.Section, "git")) {
				return true
			}
		}
	}
	return false
}
