// Package tool has the rules on the configuration files of programs: what curl, wget, git, npm, pip, apt, cargo, Maven,
// Gradle and ssh were told once and for all, whatever the environment says, and what a PAC script does.
package tool

import (
	"fmt"
	"strings"

	"watertight/doctor"
	"watertight/doctor/read"
)

// Rules gives the rules, in the order of their listing.
func Rules() []doctor.Rule {
	return []doctor.Rule{
		curlrc, wgetrc, gitconfig, gitSSH, gitProto, sshSSHFP, sshCanon, npmrc, pipConf, aptConf, cargo, maven, gradle, pacResolves,
	}
}

// reader reads a file of a tool.
type reader func([]byte) []read.Entry

// judged is what is wrong with one entry of a file: why, what stands in place of it, and how bad it is.
type judged struct {
	why, fix string
	severity doctor.Severity
	clients  []string
	mend     string // the line that can stand in place of this one; empty where no machine should do it
	// swap puts another text in place of one of the line, if that stands there once; nothing where no machine should do it.
	swap [2]string
}

// settings makes the look of a rule on files of one kind.
func settings(inHomes, onHost []string, r reader, judge func(*doctor.Host, read.Entry) *judged) func(*doctor.Host) []doctor.Finding {
	return func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for _, f := range h.Readable(inHomes, onHost...) {
			lines := f.Lines()
			for _, e := range r(f.Data) {
				j := judge(h, e)
				if j == nil || e.Line < 1 || e.Line > len(lines) {
					continue
				}
				text := lines[e.Line-1]
				one := doctor.Finding{
					Severity: j.severity, Fact: fmt.Sprintf("%s: %s", f.Path, j.why), Evidence: []string{f.At(e.Line, text)}, Clients: j.clients,
					Fix: "# " + doctor.Plain(f.Path) + ", line " + fmt.Sprint(e.Line) + ":\n" + j.fix,
				}
				switch {
				case j.mend != "":
					one.Change = doctor.ReplaceLine(f, e.Line, text[:len(text)-len(strings.TrimLeft(text, " \t"))]+j.mend)
				case j.swap[0] != "" && strings.Count(text, j.swap[0]) == 1:
					one.Change = doctor.ReplaceLine(f, e.Line, strings.Replace(text, j.swap[0], j.swap[1], 1))
				}
				found = append(found, one)
			}
		}
		return found
	}
}

// proxy judges a proxy that a file names. A tool whose SOCKS is that of libcurl or of Node resolves by itself with socks5://.
func proxy(h *doctor.Host, key, value string) *judged {
	value = strings.TrimSpace(value)
	u, bad := doctor.ReadProxyURL(value)
	j := &judged{fix: key + h.ProxyURL(), severity: doctor.High}
	switch {
	case value == "":
		return nil
	case bad != "":
		j.why = "the proxy cannot be used as it is written: " + bad
	case u.Local():
		j.why, j.severity = u.Scheme+":// makes it resolve names itself before it asks the proxy", doctor.Critical
		if u.Is(h.Ours()) && !u.HasUser {
			j.swap = [2]string{value, u.HTTP()}
		}
	case !u.Is(h.Ours()):
		j.why = "it goes to " + doctor.Mask(clean(value)) + ", whatever the environment says, and not to Watertight"
	default:
		return nil
	}
	return j
}

// noSOCKS is the judgement of a proxy for a tool that rejects a URL of SOCKS: it fails, and asks nobody.
func noSOCKS(j *judged, value, why string) *judged {
	if u, _ := doctor.ReadProxyURL(value); j != nil && u.SOCKS() {
		j.why, j.severity = why, doctor.Medium
	}
	return j
}

// clean takes what is no part of a proxy's address off it.
func clean(s string) string { return strings.TrimRight(s, "/") }

// past judges a setting by which something goes past the proxy.
func past(what, fix string) *judged {
	return &judged{why: what, fix: fix, severity: doctor.High}
}

// off says whether a value means no.
func off(value string) bool {
	switch strings.ToLower(value) {
	case "off", "no", "false", "0", "":
		return true
	}
	return false
}
