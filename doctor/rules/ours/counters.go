package ours

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"watertight/doctor"
	"watertight/doctor/read"
	"watertight/fault"
)

var clientResolved = doctor.Rule{
	ID: "CLIENT-RESOLVED", Severity: doctor.High,
	Title:   "requests came for addresses that no resolver of ours gave out",
	Clients: []string{"clients with socks5:// or socks4://", "Ruby, deno, PAC scripts, guards against SSRF (resolve beside the proxy)", "programs that were given an address"},
	Explain: `An address in a CONNECT or in a request of SOCKS is evidence: the client looked the name up itself before it asked, in the clear
if it did so by the host's resolver. The running proxy counts such requests, unless its own DNS door gave the address out. An address
that a person wrote into a program is counted too. policy.client_resolved says what is done with them: report, refuse or allow. The
log names the client of each at level debug. The running proxy looks, once a second at most, for whose such a connection is, and knows the
last sixteen: by process where it may see that (its service may not), else by user; clients of other hosts by address. Who is connected to the proxy at this moment and is known to resolve by itself is named:
by socks5:// or socks4:// in its environment, or as a program of Ruby or Deno; without such a one, all who are connected.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		if h.Status == nil {
			return nil
		}
		var evidence []string
		for _, door := range slices.Sorted(maps.Keys(h.Status.Requests.ClientResolved)) {
			evidence = append(evidence, fmt.Sprintf("running proxy: %d requests at the door %s", h.Status.Requests.ClientResolved[door], door))
		}
		if n := h.Status.Requests.Refused[string(fault.PolicyClientResolved)]; n > 0 {
			evidence = append(evidence, fmt.Sprintf("running proxy: %d of them refused", n))
		}
		if len(evidence) > 0 {
			evidence = append(append(evidence, lately(h)...), connected(h)...)
		}
		return doctor.Only(doctor.Finding{
			Fact: "clients ask for addresses that they found elsewhere", Evidence: evidence,
			Fix: "eval \"$(watertight env)\"   # http:// in place of socks5://; or watertight exec -- COMMAND; and policy: {client_resolved: refuse}",
		})
	},
}

// lately names who asked, as far as the running proxy saw that.
func lately(h *doctor.Host) []string {
	var all []string
	for _, c := range h.Status.Requests.ClientResolvedBy[:min(len(h.Status.Requests.ClientResolvedBy), maxConnected)] {
		who := c.Process
		switch {
		case c.Address != "":
			who = "a client at " + c.Address
		case c.UID == nil:
			continue
		case who == "":
			who = "a program of " + userOf(h, *c.UID)
		default:
			who += " of " + userOf(h, *c.UID)
			for _, p := range h.Processes {
				if why := resolves(p); why != "" && c.Process == fmt.Sprintf("%s (%d)", p.Name, p.PID) {
					who += " (" + why + ")"
				}
			}
		}
		all = append(all, fmt.Sprintf("running proxy: %s asked at the door %s, last at %s", who, c.Door, c.Last.UTC().Format(time.RFC3339)))
	}
	return all
}

// userOf gives the name of a user: passwd(5).
func userOf(h *doctor.Host, uid int) string {
	if f, ok := h.Files.Read("/etc/passwd"); ok {
		for _, line := range f.Lines() {
			if part := strings.Split(line, ":"); len(part) == 7 && part[2] == strconv.Itoa(uid) {
				return "user " + part[0]
			}
		}
	}
	return "user " + strconv.Itoa(uid)
}

// maxConnected is how many of those who are connected are named.
const maxConnected = 10

// connected names who is connected to the proxy now and resolves by itself, as far as that is known; else all who are connected.
func connected(h *doctor.Host) []string {
	var known, others []string
	for _, s := range h.Sockets(func(s read.Socket) bool { return s.Proto == "tcp" && s.State == read.Established && h.IsOurs(s.Remote) }) {
		if !s.Known || h.Own(s.Process) {
			continue
		}
		if text := s.Process.String() + ": is connected to the proxy now"; resolves(s.Process) != "" {
			known = append(known, text+", and "+resolves(s.Process))
		} else {
			others = append(others, text)
		}
	}
	if len(known) == 0 {
		known = others
	}
	slices.Sort(known)
	known = slices.Compact(known)
	return known[:min(len(known), maxConnected)]
}

// resolves says why a process is known to resolve names by itself; nothing where it is not.
func resolves(p doctor.Process) string {
	for _, name := range doctor.ProxyVars {
		if v, ok := p.Env(name); ok {
			if u, _ := doctor.ReadProxyURL(v); u.Local() {
				return "its " + name + " is " + doctor.Mask(v)
			}
		}
	}
	for _, arg := range p.Args {
		if u, _ := doctor.ReadProxyURL(arg[strings.LastIndexByte(arg, '=')+1:]); u.Local() {
			return "its arguments have " + u.Scheme + "://"
		}
	}
	for _, program := range []string{"ruby", "deno"} {
		if strings.HasPrefix(p.Name, program) {
			return program + " looks each name up beside its proxy"
		}
	}
	return ""
}

var selfResolve = doctor.Rule{
	ID: "SELF-RESOLVE", Severity: doctor.Critical,
	Title:   "Watertight itself tried to use the host's resolver",
	Clients: []string{"Watertight"},
	Explain: `The host's resolver is disarmed in this program: a look-up that reaches it is refused and counted. The count is 0 in every
test. Anything else is a fault of Watertight; the name did not leave, but something does not work as it should.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var evidence []string
		if h.Status != nil && h.Status.TrappedHostLookups > 0 {
			evidence = append(evidence, fmt.Sprintf("running proxy, process %d: %d look-ups trapped", h.Status.PID, h.Status.TrappedHostLookups))
		}
		if h.Build.Trapped > 0 {
			evidence = append(evidence, fmt.Sprintf("this process: %d look-ups trapped", h.Build.Trapped))
		}
		return doctor.Only(doctor.Finding{
			Fact: "Watertight tried to use the host's resolver, which was refused", Evidence: evidence,
			Fix: "watertight status --json; watertight version   # and report it with both: it is a fault of Watertight",
		})
	},
}

// longAgo is from when on a build is called old.
const longAgo = 365

var version = doctor.Rule{
	ID: "VERSION", Severity: doctor.Low,
	Title:   "the running proxy is another version, has not taken its configuration, or is old",
	Clients: []string{"Watertight"},
	Explain: `A proxy that was not restarted after an upgrade goes on as it was, and one whose last reload failed goes on with the
configuration before. Keys that are unknown are errors and stop every command, this one too. Whether there is a later version is not
looked up.`,
	Find: func(h *doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		if s := h.Status; s != nil && s.Version != h.Build.Version {
			found = append(found, doctor.Finding{
				Fact:     "the running proxy is version " + s.Version + ", and this program is " + h.Build.Version,
				Evidence: []string{fmt.Sprintf("running proxy, process %d: version %s", s.PID, s.Version)}, Fix: "systemctl restart watertight   # or end it, and start it again",
			})
		}
		if s := h.Status; s != nil && s.Config.LastError != "" {
			found = append(found, doctor.Finding{
				Severity: doctor.Medium, Fact: "the last reload failed: the configuration before it is in force",
				Evidence: []string{"running proxy: " + s.Config.LastError}, Fix: "watertight config check && watertight reload",
			})
		}
		if days := int(h.Now.Sub(h.Build.Time).Hours() / 24); !h.Build.Time.IsZero() && days > longAgo {
			found = append(found, doctor.Finding{
				Fact:     fmt.Sprintf("this program was built %d days ago: its resolvers' addresses and the root's keys may have changed", days),
				Evidence: []string{"version " + h.Build.Version + " of " + h.Build.Time.UTC().Format("2006-01-02")}, Fix: "# install a later version",
			})
		}
		return found
	},
}
