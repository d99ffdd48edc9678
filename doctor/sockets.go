package doctor

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"watertight/doctor/read"
)

// maxDescriptors is how many are looked at in a search for the owners of sockets.
const maxDescriptors = 200_000

// Socket is a socket of the host's network, and whose it is.
type Socket struct {
	read.Socket
	Process Process
	Known   bool // Process is known
}

// String is how evidence shows it.
func (s Socket) String() string {
	who := "a process that is not seen"
	if s.UID >= 0 && !s.Known {
		who = "a process of user " + strconv.Itoa(s.UID)
	}
	if s.Known {
		who = s.Process.String()
	}
	if s.State == read.Listening || !s.Remote.IsValid() || s.Remote.Port() == 0 {
		return fmt.Sprintf("%s: %s at %s", who, s.Proto, s.Local)
	}
	return fmt.Sprintf("%s: %s to %s", who, s.Proto, s.Remote)
}

// Sockets gives the sockets that are wanted, with their processes where these may be seen. It is a look at one moment: what is closed
// by then is not seen.
func (h *Host) Sockets(want func(read.Socket) bool) []Socket {
	var found []Socket
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		data, ok := h.Files.Table("/proc/net/" + table)
		if !ok {
			continue
		}
		all, cut := read.ParseSockets(strings.TrimSuffix(table, "6"), data, want)
		if cut {
			h.Files.blindTo("/proc/net/" + table + ": it has more sockets than are looked at")
		}
		for _, s := range all {
			found = append(found, Socket{Socket: s})
		}
	}
	h.owners(found)
	return found
}

// Tracked gives the flows that the kernel tracks and that are wanted, and the addresses of this host. It tracks them where a rule of the
// firewall needs it, and tells root alone.
func (h *Host) Tracked(want func(read.TrackedFlow) bool) (flows []read.TrackedFlow, own []netip.Addr) {
	const table = "/proc/net/nf_conntrack"
	data, ok := h.Files.Table(table)
	if !ok {
		return nil, nil
	}
	trie, _ := h.Files.Table("/proc/net/fib_trie") // without both, every flow is another host's
	inet6, _ := h.Files.Table("/proc/net/if_inet6")
	flows, cut := read.ParseTracked(data, want)
	if cut {
		h.Files.blindTo(table + ": it has more flows than are looked at")
	}
	return flows, read.OwnAddresses(trie, inet6)
}

// owners fills in whose the sockets are.
func (h *Host) owners(sockets []Socket) {
	byInode := map[string][]int{}
	for i, s := range sockets {
		if s.Inode != 0 {
			text := "socket:[" + strconv.FormatUint(s.Inode, 10) + "]"
			byInode[text] = append(byInode[text], i)
		}
	}
	seen := 0
	for _, p := range h.Processes {
		if len(byInode) == 0 {
			return
		}
		for _, text := range h.Files.Links(fmt.Sprintf("/proc/%d/fd", p.PID)) {
			if seen++; seen > maxDescriptors {
				h.Files.blindTo("whose some sockets are: processes have more descriptors than are looked at")
				return
			}
			if byInode[text] == nil {
				continue
			}
			for _, i := range byInode[text] {
				sockets[i].Process, sockets[i].Known = p, true
			}
			delete(byInode, text) // of several that share it, the one that is longest there is named
		}
	}
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9:_.@-]+\.service$`)

// Service gives the unit that a process belongs to, by its control group; empty where it is of none, or of a name that is not one to paste.
func (h *Host) Service(p Process) string {
	f, ok := h.Files.Read(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	if !ok {
		return ""
	}
	for _, line := range f.Lines() {
		if name := path.Base(line); serviceName.MatchString(name) && name[0] != '-' && strings.Contains(line, "/system.slice/") {
			return name
		}
	}
	return ""
}

// Own says whether a process is our own program.
func (h *Host) Own(p Process) bool {
	return p.Name == "watertight" || h.Status != nil && p.PID == h.Status.PID
}

// IsOurs says whether our program listens at an address.
func (h *Host) IsOurs(at netip.AddrPort) bool {
	return slices.ContainsFunc(h.Ours(), func(l netip.AddrPort) bool {
		return l == at || l.Port() == at.Port() && l.Addr().IsUnspecified() && (at.Addr().IsLoopback() || at.Addr().IsUnspecified())
	})
}

// Listens says whether somebody listens on a UNIX socket at one of the paths, and gives that.
func (h *Host) Listens(paths ...string) (string, bool) {
	data, ok := h.Files.Table("/proc/net/unix")
	if !ok {
		return "", false
	}
	for _, l := range read.ParseUnixListeners(data) {
		for _, p := range paths {
			if strings.TrimPrefix(l, "/var") == strings.TrimPrefix(p, "/var") { // /var/run leads to /run
				return l, true
			}
		}
	}
	return "", false
}

// Outside gives the processes that are in another network than the host's and see a path of the host's all the same: what stands there answers
// them from outside their network.
func (h *Host) Outside(name string) []Process {
	here, ok := h.Files.Link("/proc/1/ns/net")
	mounts, ok2 := h.mountOf("/proc/1", name)
	if !ok || !ok2 {
		return nil // of others' namespaces nothing may be seen
	}
	var found []Process
	for _, p := range h.Processes {
		dir := "/proc/" + strconv.Itoa(p.PID)
		net, ok := h.Files.Link(dir + "/ns/net")
		if !ok || net == here {
			continue
		}
		if theirs, ok := h.mountOf(dir, name); ok && theirs == mounts {
			found = append(found, p)
		}
	}
	return found
}

// mountOf gives the device and the directory of it that a process finds a path on: proc_pid_mountinfo(5). Two that are the same are the same
// file.
func (h *Host) mountOf(process, name string) (string, bool) {
	f, ok := h.Files.Read(process + "/mountinfo")
	if !ok {
		return "", false
	}
	var best, found string
	for _, line := range f.Lines() {
		// ID parent major:minor root mountpoint …
		part := strings.Fields(line)
		if len(part) < 5 {
			continue
		}
		at := strings.ReplaceAll(part[4], `\040`, " ")
		if name == at || strings.HasPrefix(name, strings.TrimSuffix(at, "/")+"/") {
			if len(at) >= len(best) { // of two at one place the later one is seen
				best, found = at, part[2]+" "+part[3]+" "+at
			}
		}
	}
	return found, found != ""
}
