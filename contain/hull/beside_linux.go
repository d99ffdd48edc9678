package hull

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Limits of what is tried for sockets that are not where they are listed.
const (
	maxBeside    = 512 // directories that are read
	maxWhereFrom = 256 // directories of programs, and as many relative paths, in each network
)

// directories are, for each network, those that its programs are in, and the paths that sockets of it were given from
// there (proc_pid_net(5), proc_pid_cwd(5)): which is whose is not told, so each is tried with each.
type directories map[uint64]*whereFrom

type whereFrom struct {
	programs map[string]bool
	relative []string
}

func (d directories) of(network uint64) *whereFrom {
	if d[network] == nil {
		d[network] = &whereFrom{programs: map[string]bool{}}
	}
	return d[network]
}

// add takes a process's directory, if this user may see which it is.
func (d directories) add(network uint64, process string) {
	dir, err := os.Readlink("/proc/" + process + "/cwd")
	if w := d.of(network); err == nil && filepath.IsAbs(dir) && len(w.programs) < maxWhereFrom {
		w.programs[dir] = true
	}
}

func (d directories) relative(network uint64, paths []string) {
	d.of(network).relative = paths[:min(len(paths), maxWhereFrom)]
}

// found gives the sockets that are where a program's directory and a path lead.
func (d directories) found() (paths []string) {
	for _, w := range d {
		for dir := range w.programs {
			for _, relative := range w.relative {
				path := filepath.Join(dir, relative)
				if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
					paths = append(paths, path)
				}
			}
		}
	}
	return paths
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
