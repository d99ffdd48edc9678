package hull

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	device string // of its file system, as major:minor
	root   string // the directory of the file system that is mounted
	point  string // where it is mounted
	kind   string // the type of its file system
	super  string // the options of the file system
}

// Limits of what is read of mountinfo.
const (
	maxMounts    = 16384
	maxMountLine = 1 << 16
)

// readMounts reads mountinfo. A line that cannot be read is passed over; what is beyond the limits makes cut true.
func readMounts(r io.Reader) (mounts []mount, cut bool) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 4096), maxMountLine)
	for lines.Scan() {
		if len(mounts) == maxMounts {
			return mounts, true
		}
		left, right, ok := strings.Cut(lines.Text(), " - ")
		fields, rest := strings.Fields(left), strings.Fields(right)
		if !ok || len(fields) < 6 || len(rest) < 2 {
			continue
		}
		m := mount{device: fields[2], root: unescape(fields[3]), point: unescape(fields[4]), kind: rest[0]}
		if len(rest) > 2 {
			m.super = rest[2]
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err() != nil
}

// unescape takes back the octal escapes of mountinfo: of space, tab, newline and backslash.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+4 <= len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// byName says that whoever names a path below the mount makes the host look the name up: the automounter with a map whose
// keys are free (autofs(5)), of which `-hosts` on /net takes names of hosts; the kernel's own client of AFS with a dynamic
// root, below which stand cells by their names; and afuse, an automounter of users.
func (m mount) byName() bool {
	has := func(option string) bool { return strings.Contains(","+m.super+",", ","+option+",") }
	return m.kind == "autofs" && has("indirect") || m.kind == "afs" && has("dyn") || m.kind == "fuse.afuse"
}

// aliases gives the other paths under which the file at path is seen, by mounts that show the same part of its file
// system elsewhere.
func aliases(mounts []mount, path string) (others []string) {
	var of mount
	for _, m := range mounts { // later ones lie upon earlier ones
		if below(path, m.point) && len(m.point) >= len(of.point) {
			of = m
		}
	}
	if of.point == "" {
		return nil
	}
	in := join(of.root, strings.TrimPrefix(path, strings.TrimSuffix(of.point, "/")))
	for _, m := range mounts {
		if m.device != of.device || !below(in, m.root) {
			continue
		}
		if other := join(m.point, strings.TrimPrefix(in, strings.TrimSuffix(m.root, "/"))); other != path {
			others = append(others, other)
		}
	}
	return others
}

// join puts a path that is empty or begins with a slash behind another.
func join(dir, rest string) string {
	if rest == "" {
		return dir
	}
	return strings.TrimSuffix(dir, "/") + rest
}
