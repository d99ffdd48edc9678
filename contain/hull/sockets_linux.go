package hull

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"watertight/wire"
)

// Limits of the search for sockets.
const (
	maxNetworks = 4096   // network namespaces whose lists are read
	maxEntries  = 20_000 // directory entries that are looked at
	maxCovered  = 4096   // sockets that are covered
	searchTime  = 150 * time.Millisecond
)

var tooMany = &Error{Part: PartSockets, Reason: "the host has more sockets than can be tried"}

// Sockets lists the paths of the UNIX sockets of every network namespace that a process which is seen here is in,
// but for this one's own, which is new. It reads the host's /proc, and is called by the process that calls [Enter], before.
func Sockets() (paths []string, err error) {
	own, err := inode("/proc/self/net/unix")
	if err != nil {
		return nil, &Error{Part: PartSockets, Reason: "the sockets of the host cannot be listed", Err: err, Mend: "have /proc mounted"}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, &Error{Part: PartSockets, Reason: "the sockets of the host cannot be listed", Err: err, Mend: "have /proc mounted"}
	}
	read := map[uint64]bool{own: true}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		// The file of each network has a number of its own (proc_pid_net(5)).
		name := "/proc/" + e.Name() + "/net/unix"
		network, err := inode(name)
		if err != nil || read[network] {
			continue
		}
		if len(read) > maxNetworks {
			return nil, tooMany
		}
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		read[network] = true
		found, _, cut := readUnix(file)
		_ = file.Close()
		if cut {
			return nil, tooMany
		}
		paths = append(paths, found...)
	}
	if len(read) == 1 {
		return nil, &Error{
			Part: PartSockets, Reason: "no process of the host is seen in /proc, so its sockets cannot be listed",
			Mend: "mount /proc without hidepid, or with a gid= that this user is in",
		}
	}
	return paths, nil
}

func inode(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return stat.Ino, nil
}

// place is where sockets are searched for.
type place struct {
	dir   string
	depth int // how many levels of directories are read
}

// search finds socket files that no list names: of programs in namespaces that are not seen from here, whose sockets
// were brought to this file system, or which are not where they are listed. It reads directories in breadth, until a
// limit is met.
func (v *view) search(listed []string) (paths []string, cut bool) {
	queue := append(beside(listed), place{"/", 1}, place{v.plan.Dir, 2}, place{valueOf(v.plan.Env, "HOME"), 3})
	for _, bind := range v.plan.Binds {
		queue = append(queue, place{bind, 3})
	}
	if v.plan.ShareTmp {
		queue = append(queue, place{"/tmp", 3}, place{"/var/tmp", 3})
	}
	for _, m := range v.mounts {
		if m.root == "/" { // a file system of its own, which the rest of the search looks into
			continue
		}
		// What engines of containers bring in from the host, whose programs are not seen from here.
		if info, err := os.Lstat(m.point); err == nil && info.Mode().Type() == fs.ModeSocket {
			paths = append(paths, m.point)
		} else if err == nil && info.IsDir() {
			queue = append(queue, place{m.point, 2})
		}
	}
	queue = append(queue, place{"/srv", 2}, place{"/opt", 2}, place{"/var", 3}, place{"/etc", 2})
	deadline := time.Now().Add(searchTime)
	seen := map[string]int{}
	for looked := 0; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if !clean(at.dir) || seen[at.dir] >= at.depth || at.dir == "/proc" || at.dir == "/sys" {
			continue
		}
		seen[at.dir] = at.depth
		if time.Now().After(deadline) || looked > maxEntries {
			return paths, true
		}
		entries, _ := os.ReadDir(at.dir)
		looked += len(entries)
		for _, e := range entries {
			path := filepath.Join(at.dir, e.Name())
			switch {
			case e.Type() == fs.ModeSocket:
				paths = append(paths, path)
			case e.IsDir() && at.depth > 1:
				queue = append(queue, place{path, at.depth - 1})
			}
		}
	}
	return paths, false
}

// cover covers every socket that is seen at one of these paths and is not allowed. It gives what is to be tried: every
// path that is not allowed, whether something is seen there or not.
func (v *view) cover(paths []string) (try []string) {
	seen := map[string]bool{}
	for _, path := range paths {
		at, err := filepath.EvalSymlinks(path)
		if err != nil {
			at = path
		}
		if _, allowed := v.allowed[at]; allowed || seen[at] {
			continue
		}
		seen[at] = true
		try = append(try, at)
		if info, err := os.Lstat(at); err != nil || info.Mode().Type() != fs.ModeSocket {
			continue
		}
		if len(v.report.Covered) < maxCovered && unix.Mount(v.empty, at, "", unix.MS_BIND, "") == nil {
			v.report.Covered = append(v.report.Covered, at)
		}
	}
	return try
}

// audit tries each path from inside. One that answers is an error that names it: nothing was started yet.
func (v *view) audit(paths []string) error {
	for _, path := range paths {
		v.report.Tried++
		answers, err := wire.AnswersAtPath(path)
		if err != nil {
			return &Error{Part: PartSockets, Reason: "whether the socket " + trimmed(path) + " of the host answers from inside is not known", Err: err}
		}
		if answers {
			return &Error{
				Part: PartSockets, Reason: "the socket " + trimmed(path) + " of the host answers from inside",
				Mend: "stop its program, or let it be reached with --allow-socket " + trimmed(path),
			}
		}
	}
	return nil
}
