package doctor

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is kept of processes.
const (
	maxProcesses = 4096     // that are looked at
	maxEnvirons  = 64 << 20 // octets of all their environments; those beyond count as not seen
)

// Process is one that runs on the host.
type Process struct {
	PID, PPID int
	UID       int    // -1 where it is not known
	Exe       string // the path of its program; empty where it may not be seen
	Name      string // of the program: the last part of Exe, else the kernel's short name
	Args      []string
	// Environ is NAME=VALUE as the process was started with; Seen says whether it could be read.
	Environ []string
	Seen    bool
}

// String is how evidence names it.
func (p Process) String() string { return fmt.Sprintf("process %d (%s)", p.PID, clip(p.Name)) }

// Env gives the value of a variable that it was started with.
func (p Process) Env(name string) (string, bool) { return lookup(p.Environ, name) }

// Command is its command line as evidence: secrets masked, and no longer than a line.
func (p Process) Command() string { return clip(Mask(strings.Join(p.Args, " "))) }

func lookup(environ []string, name string) (string, bool) {
	for _, e := range environ {
		if n, v, ok := strings.Cut(e, "="); ok && n == name {
			return v, true
		}
	}
	return "", false
}

// readProcesses reads /proc. Threads of the kernel are left out.
func readProcesses(f Files, self int) (found []Process, unseen int) {
	octets := 0
	for _, name := range f.Dir("/proc") {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == self {
			continue
		}
		if len(found) == maxProcesses {
			f.blindTo(fmt.Sprintf("processes: there are more than the %d that are looked at", maxProcesses))
			break
		}
		dir := "/proc/" + name
		p := Process{PID: pid, UID: -1, Args: fields(f, dir+"/cmdline")}
		exe, _ := f.Link(dir + "/exe")
		p.Exe = strings.TrimSuffix(exe, " (deleted)")
		if len(p.Args) == 0 && p.Exe == "" {
			continue
		}
		p.status(f, dir)
		if p.Exe != "" {
			p.Name = path.Base(p.Exe)
		}
		if file, ok := f.Read(dir + "/environ"); ok && octets+len(file.Data) <= maxEnvirons {
			octets += len(file.Data)
			p.Seen, p.Environ = true, split(file.Data)
		} else {
			unseen++
		}
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found, unseen
}

func (p *Process) status(f Files, dir string) {
	file, ok := f.Read(dir + "/status")
	if !ok {
		return
	}
	for _, line := range file.Lines() {
		key, value, _ := strings.Cut(line, ":")
		words := strings.Fields(value)
		if len(words) == 0 {
			continue
		}
		switch key {
		case "Name":
			p.Name = words[0]
		case "PPid":
			p.PPID, _ = strconv.Atoi(words[0])
		case "Uid":
			if uid, err := strconv.Atoi(words[0]); err == nil {
				p.UID = uid
			}
		}
	}
}

// fields reads a file of strings that end in NUL.
func fields(f Files, name string) []string {
	file, ok := f.Read(name)
	if !ok {
		return nil
	}
	return split(file.Data)
}

func split(data []byte) []string {
	var all []string
	for part := range bytes.SplitSeq(bytes.TrimRight(data, "\x00"), []byte{0}) {
		if len(part) > 0 {
			all = append(all, string(part))
		}
	}
	return all
}

// BuildInfo gives how the program of a process was built, if it was by Go.
func (h *Host) BuildInfo(p Process) (*buildinfo.BuildInfo, bool) {
	if h.Files.ctx.Err() != nil {
		return nil, false
	}
	file, err := h.Files.program(p)
	if err != nil {
		return nil, false
	}
	defer file.Close()
	info, err := buildinfo.Read(file)
	return info, err == nil
}

// program opens the program of a process. The kernel's link leads to the very file, in whatever mount namespace it is; of a
// host that is a directory, the link is followed below that.
func (f Files) program(p Process) (*os.File, error) {
	link := fmt.Sprintf("/proc/%d/exe", p.PID)
	if f.dir == "/" {
		return os.Open(link)
	}
	file, _, err := f.regular(link)
	return file, err
}
