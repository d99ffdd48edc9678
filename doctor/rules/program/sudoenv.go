package program

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// clients are programs that jobs and services use to reach the network, and that read proxy variables.
var clients = []string{"curl", "wget", "git", "npm", "pip", "pip3", "python", "python3", "aws", "gem", "php", "rsync", "cargo", "go"}

var cronAssignment = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=`)

var sudoEnv = doctor.Rule{
	ID: "SUDO-ENV", Severity: doctor.Medium, Systems: []string{"linux"},
	Title:   "the proxy is set for shells only: sudo, cron and services drop the variables",
	Clients: []string{"what runs under sudo, cron and systemd"},
	Explain: `Variables of a login reach neither cron nor the services of systemd, and sudo takes them away (env_reset is its default) unless
env_keep names them. Measured with env -i, which does the same: curl goes direct. What holds without variables is watertight exec, or a
drop-in of the unit.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		_, told, ok := proxied(h)
		if !ok {
			return nil
		}
		var found []doctor.Finding
		if evidence := sudoers(h); len(evidence) > 0 {
			found = append(found, doctor.Finding{
				Fact: "sudo takes the proxy variables away", Evidence: append(evidence, told.String()),
				Fix: `echo 'Defaults env_keep += "http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY"' | sudo EDITOR='tee -a' visudo -f /etc/sudoers.d/proxy`,
			})
		}
		if evidence := cron(h); len(evidence) > 0 {
			found = append(found, doctor.Finding{
				Fact: "jobs of cron reach the network without the proxy variables", Evidence: append(evidence, told.String()),
				Fix: "https_proxy=" + h.ProxyURL() + "\nhttp_proxy=" + h.ProxyURL() + "\n# at the top of the table; or: watertight exec -- COMMAND",
			})
		}
		if evidence := services(h); len(evidence) > 0 {
			found = append(found, doctor.Finding{
				Fact: "services reach the network without the proxy variables", Evidence: append(evidence, told.String()),
				Fix: "systemctl edit UNIT   # [Service] Environment=http_proxy=" + h.ProxyURL() + " https_proxy=" + h.ProxyURL() + "; or ExecStart=watertight exec -- COMMAND",
			})
		}
		return found
	},
}

// sudoers gives where sudo is set up, if it keeps no proxy variable.
func sudoers(h *doctor.Host) []string {
	var evidence, byDefault []string
	for _, f := range h.Readable(nil, "/etc/sudoers", "/etc/sudoers.d/*") {
		if f.Path == "/etc/sudoers" {
			byDefault = []string{f.Path + ": env_reset is not written, and is the default"}
		}
		for i, line := range f.Lines() {
			l := strings.ToLower(line)
			switch {
			case strings.HasPrefix(strings.TrimSpace(l), "#") || !strings.HasPrefix(strings.TrimSpace(l), "defaults"):
			case strings.Contains(l, "env_keep") && strings.Contains(l, "_proxy") || strings.Contains(l, "!env_reset"):
				return nil
			case strings.Contains(l, "env_reset"):
				evidence = append(evidence, f.At(i+1, line))
			}
		}
	}
	if len(evidence) == 0 {
		return byDefault
	}
	return evidence
}

// cron gives the jobs that use a client, in tables without a proxy.
func cron(h *doctor.Host) []string {
	var evidence []string
	for _, f := range h.Readable(nil, "/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/crontabs/*") {
		told := false
		for i, line := range f.Lines() {
			if m := cronAssignment.FindStringSubmatch(line); m != nil {
				told = told || strings.HasSuffix(strings.ToLower(m[1]), "_proxy")
				continue
			}
			if !told && !strings.HasPrefix(strings.TrimSpace(line), "#") && usesClient(line) {
				evidence = append(evidence, f.At(i+1, line))
			}
		}
	}
	return evidence
}

// services gives the units that an administrator wrote and that start a client, without a proxy.
func services(h *doctor.Host) []string {
	told := map[string]bool{}
	for _, s := range h.Scopes() {
		if s.Kind == doctor.Unit && len(s.Proxies()) > 0 {
			told[s.What] = true
		}
	}
	if told["system.conf"] {
		return nil
	}
	var evidence []string
	for _, f := range h.Readable(nil, "/etc/systemd/system/*.service") {
		if told[path.Base(f.Path)] {
			continue
		}
		for _, e := range read.INI(f.Data) {
			if strings.HasPrefix(e.Key, "ExecStart") && usesClient(e.Value) {
				evidence = append(evidence, f.At(e.Line, e.Key+"="+e.Value))
			}
		}
	}
	return evidence
}

// usesClient says whether a command line starts a client that is not led to a proxy otherwise.
func usesClient(line string) bool {
	if strings.Contains(line, "watertight exec") || strings.Contains(line, "_proxy=") || strings.Contains(line, "_PROXY=") {
		return false
	}
	for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t;&|()'\"`$=", r) }) {
		if slices.Contains(clients, path.Base(strings.TrimLeft(word, "-+!@:"))) {
			return true
		}
	}
	return false
}
