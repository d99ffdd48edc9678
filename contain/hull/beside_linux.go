package hull

import (
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what is tried for sockets that are not where they are listed.
const (
	maxBeside    = 512      // directories that are read
	maxWhereFrom = 1024     // directories of programs, and as many relative paths, in each network
	maxRelative  = 1 << 18  // pairs of the two that are looked at
	maxFound     = 32 << 10 // octets of paths
)

// Relative gives the paths of those UNIX sockets of the host that were given a path from their program's working directory,
// which is all that the kernel says of them (proc_pid_net(5)). It has to be called by the process that starts the first one
// inside, for a program's directory is told to its own user alone, and not from within another user namespace (ptrace(2),
// access mode checking); its results are [Plan.Relative] and [Plan.Unplaced]: the paths as they were given of those that are in none of
// the directories that are told, as those of other users' programs are.
func Relative() (paths, unplaced []string, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, nil, &Error{Part: PartSockets, Reason: "the sockets of the host cannot be listed", Err: err, Mend: "have /proc mounted"}
	}
	networks := map[uint64]*whereFrom{}
	in := map[string]*whereFrom{} // by process
	relative := false
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		// The file of each network has a number of its own (proc_pid_net(5)).
		list := "/proc/" + e.Name() + "/net/unix"
		network, err := inode(list)
		if err != nil {
			continue
		}
		w := networks[network]
		if w == nil {
			if len(networks) == maxNetworks {
				return nil, nil, tooMany
			}
			w = &whereFrom{programs: map[string]bool{}, placed: map[string]bool{}}
			networks[network] = w
		}
		if err := w.list(list); err != nil {
			return nil, nil, err
		}
		in[e.Name()] = w
		relative = relative || len(w.relative) > 0
	}
	if !relative { // then it is of no concern where programs are
		return nil, nil, nil
	}
	for process, w := range in {
		if err := w.add("/proc/" + process + "/cwd"); err != nil {
			return nil, nil, err
		}
	}
	left, octets := maxRelative, 0
	for _, w := range networks {
		for path := range w.found(&left) {
			if !utf8.ValidString(path) { // what passes paths on could not
				return nil, nil, &Error{Part: PartSockets, Reason: "the socket " + trimmed(path) + " of the host has a path that is no text", Mend: "stop its program"}
			}
			if octets += len(path); octets > maxFound {
				return nil, nil, tooMany
			}
			paths = append(paths, path)
		}
	}
	if left < 0 {
		return nil, nil, tooMany
	}
	for _, w := range networks {
		for _, path := range w.relative {
			if !w.placed[path] {
				unplaced = append(unplaced, path)
			}
		}
	}
	slices.Sort(unplaced)
	return paths, slices.Compact(unplaced), nil
}

// whereFrom is, for one network, which directories its programs are in, and which paths sockets of it were given from there:
// which is whose is not told, so each is tried with each.
type whereFrom struct {
	programs map[string]bool
	relative []string
	placed   map[string]bool // those of them that were found
	read     bool            // the list
}

// list takes the network's list of sockets, the first time that it can be read.
func (w *whereFrom) list(path string) error {
	if w.read {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil // it ended
	}
	defer file.Close()
	_, relative, cut := readUnix(file)
	if cut || len(relative) > maxWhereFrom {
		return tooMany
	}
	w.relative, w.read = relative, true
	return nil
}

// add takes a process's directory, if this user may see which it is, where the network has paths that it may be for.
func (w *whereFrom) add(cwd string) error {
	if len(w.relative) == 0 {
		return nil
	}
	if dir, err := os.Readlink(cwd); err == nil && filepath.IsAbs(dir) {
		if w.programs[dir] = true; len(w.programs) > maxWhereFrom {
			return tooMany
		}
	}
	return nil
}

// found gives the sockets that are where a program's directory and a path lead, as long as there are pairs left to look at.
func (w *whereFrom) found(left *int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for dir := range w.programs {
			for _, relative := range w.relative {
				if *left--; *left < 0 {
					return
				}
				path := filepath.Join(dir, relative)
				if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
					continue
				}
				if w.placed[relative] = true; !yield(path) {
					return
				}
			}
		}
	}
}

// beside gives where else a socket may be that is listed at one of these paths: it may have been moved or linked within
// its directory, or its directory may have been moved.
func beside(listed []string) (places []place) {
	seen := map[string]bool{}
	for _, path := range listed {
		dir := filepath.Dir(path)
		if seen[dir] || strings.HasPrefix(dir, "/proc/") || len(places) == maxBeside {
			continue
		}
		seen[dir] = true
		at := place{dir, 1}
		if _, err := os.Stat(dir); err != nil {
			at = place{filepath.Dir(dir), 2}
		}
		if at.dir != "/" {
			places = append(places, at)
		}
	}
	return places
}
