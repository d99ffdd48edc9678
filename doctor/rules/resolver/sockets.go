package resolver

import (
	"fmt"
	"slices"
	"strings"

	"watertight/doctor"
)

// deputy is a daemon that looks names up for whoever reaches its socket.
type deputy struct {
	name  string
	paths []string
}

// explainDeputies is the background of the three rules.
const explainDeputies = `A network namespace without any route does not hold names back, if its programs see a socket of the host's on which a daemon looks
names up. Measured with glibc 2.36 in such a namespace: a name goes to nscd, which the C library asks first, whatever nsswitch.conf
says; to systemd-resolved, where nsswitch.conf has "resolve"; and *.local to avahi, where it has mdns4_minimal. "ip netns exec",
bubblewrap with --unshare-net, and VPN namespaces are all open in this way.
"watertight exec" masks /run, covers what listens elsewhere, gives its program an nsswitch.conf and a resolv.conf of its own, and
refuses to start where a socket still answers. So there are two ways to such a daemon, and both are looked for: a socket that
"--allow-socket" lets through, in running commands and in units; and processes in a network of their own that see the host's.
`

var nscdSocket = doctor.Rule{
	ID: "NSCD-SOCKET", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "a program that is kept in a network of its own can have names looked up outside of it, by nscd",
	Clients: []string{"every program that resolves by the C library"},
	Explain: explainDeputies,
	Find:    deputy{"nscd", []string{"/run/nscd/socket"}}.find,
}

var avahiSocket = doctor.Rule{
	ID: "AVAHI-SOCKET", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "a program that is kept in a network of its own can have names looked up outside of it, by avahi, on the local network",
	Clients: []string{"programs that resolve *.local by the C library with nss-mdns"},
	Explain: explainDeputies,
	Find:    deputy{"avahi", []string{"/run/avahi-daemon/socket"}}.find,
}

var resolvedSocket = doctor.Rule{
	ID: "RESOLVED-SOCKET", Severity: doctor.Critical, Systems: []string{"linux"},
	Title:   "a program that is kept in a network of its own can have names looked up outside of it, by systemd-resolved",
	Clients: []string{"every program that resolves by the C library with nss-resolve", "programs that ask resolve1 over D-Bus"},
	Explain: explainDeputies,
	Find:    deputy{"systemd-resolved", []string{"/run/systemd/resolve/io.systemd.Resolve", "/run/systemd/resolve/io.systemd.Resolve.Monitor"}}.find,
}

// maxOutside is how many processes a finding names.
const maxOutside = 10

func (d deputy) find(h *doctor.Host) []doctor.Finding {
	var found []doctor.Finding
	if e := d.allowed(h); len(e) > 0 {
		found = append(found, doctor.Finding{
			Fact:     "--allow-socket lets a contained program have its names looked up by " + d.name,
			Evidence: e, Fix: "# leave out\n--allow-socket " + d.paths[0],
		})
	}
	at, ok := h.Listens(d.paths...)
	if !ok {
		return found
	}
	outside := h.Outside(d.paths[0])
	if len(outside) == 0 {
		return found
	}
	f := doctor.Finding{
		Severity: doctor.High,
		Fact:     fmt.Sprintf("%d programs in a network of their own can have names looked up by %s, outside of it", len(outside), d.name),
		Evidence: []string{at + ": " + d.name + " listens"},
		Fix:      "watertight exec -- PROGRAM   # or, with bubblewrap: --tmpfs /run",
	}
	if len(outside) == 1 {
		f.Fact = "a program in a network of its own can have names looked up by " + d.name + ", outside of it"
	}
	for _, p := range outside[:min(len(outside), maxOutside)] {
		f.Evidence = append(f.Evidence, p.String()+": sees that socket from another network namespace")
	}
	return append(found, f)
}

// allowed gives the commands that let a contained program reach the daemon.
func (d deputy) allowed(h *doctor.Host) []string {
	var all []string
	for _, p := range h.Processes {
		if p.Name == "watertight" && d.through(p.Args) {
			all = append(all, p.String()+": "+p.Command())
		}
	}
	for _, f := range h.Readable([]string{".config/systemd/user/*.service"}, "/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf", "/etc/systemd/user/*.service") {
		for i, line := range f.Lines() {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "ExecStart="); ok && d.through(strings.Fields(command)) {
				all = append(all, f.At(i+1, line))
			}
		}
	}
	return all
}

// through says whether a command is `watertight exec` with the daemon's socket allowed.
func (d deputy) through(args []string) bool {
	if len(args) < 2 || !strings.HasSuffix(args[0], "watertight") || !slices.Contains(args[1:], "exec") {
		return false
	}
	for i, a := range args {
		if a == "--" {
			return false
		}
		path, ok := strings.CutPrefix(a, "--allow-socket=")
		if a == "--allow-socket" && i+1 < len(args) {
			path, ok = args[i+1], true
		}
		if ok && slices.Contains(d.paths, strings.TrimPrefix(path, "/var")) {
			return true
		}
	}
	return false
}
