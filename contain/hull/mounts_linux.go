package hull

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// view is the file system as the program will see it, while it is made.
type view struct {
	plan    Plan
	mounts  []mount
	masks   []string          // resolved paths of the directories that are masked
	kept    []keptPath        // what lies below a mask and is to be seen all the same
	empty   string            // an empty file to cover sockets with, removed in the end
	dir     string            // the working directory, without links; empty where it is not there
	allowed map[string]string // resolved path of an allowed socket → as it was asked for
	report  Report
}

// keptPath is a file, directory or socket of the host, held open from before the masks were put on.
type keptPath struct {
	path string
	file *os.File // opened with O_PATH
	mode fs.FileMode
}

// mask is a directory that is replaced by an empty one.
type mask struct {
	path string
	mode string // as a mount option
	keep bool   // the working directory and the user's home may lie below it, and are kept
}

// masksOf lists what is masked, in this order. Where a path is a link, what it leads to is masked.
func (v *view) masksOf() []mask {
	masks := []mask{{"/run", "mode=755", false}, {"/var/run", "mode=755", false}}
	private := []mask{{"/dev/shm", "mode=1777", true}}
	if !v.plan.ShareTmp {
		private = append(private, mask{"/tmp", "mode=1777", true}, mask{"/var/tmp", "mode=1777", true})
	}
	for _, m := range v.mounts {
		if m.byName() {
			private = append(private, mask{m.point, "mode=755", true})
		}
	}
	for _, m := range private {
		if !slices.Contains(v.plan.Binds, m.path) { // else it is asked for as a whole
			masks = append(masks, m)
		}
	}
	return masks
}

// arrange makes the view, but for sockets outside the masks.
func (v *view) arrange() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return &Error{Part: PartMounts, Reason: "mounts of the host cannot be parted from", Err: err, Mend: mendNamespaces}
	}
	masks := v.masksOf()
	resolved := masks[:0]
	for _, m := range masks {
		at, err := filepath.EvalSymlinks(m.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil && v.isAutofs(m.path) { // to follow it would be to ask for it
			at, err = m.path, nil
		}
		if err != nil {
			return &Error{Part: PartMounts, Reason: "what " + m.path + " leads to is not known", Err: err}
		}
		if !slices.Contains(v.masks, at) {
			v.masks = append(v.masks, at)
			resolved = append(resolved, mask{at, m.mode, m.keep})
		}
	}
	slices.SortStableFunc(resolved, func(a, b mask) int { return len(a.path) - len(b.path) }) // outer ones first
	if err := v.keepPaths(resolved); err != nil {
		return err
	}
	defer func() {
		for _, k := range v.kept {
			_ = k.file.Close()
		}
	}()
	links := topLinks("/run")
	for i, m := range resolved {
		if slices.ContainsFunc(resolved[:i], func(other mask) bool { return below(m.path, other.path) }) {
			if err := os.MkdirAll(m.path, 0o755); err != nil { // by now it is in a mask itself
				return &Error{Part: PartMounts, Reason: "cannot make " + m.path, Err: err}
			}
		}
		if err := unix.Mount("tmpfs", m.path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, m.mode); err != nil {
			return &Error{Part: PartMounts, Reason: "cannot mask " + m.path, Err: err, Mend: mendNamespaces}
		}
	}
	v.report.Masked = v.masks
	for _, l := range links {
		_ = os.Symlink(l.to, l.at)
	}
	for _, k := range v.kept {
		if err := v.putBack(k); err != nil {
			return err
		}
	}
	return v.makeRoom()
}

func (v *view) isAutofs(path string) bool {
	return slices.ContainsFunc(v.mounts, func(m mount) bool { return m.point == path && m.byName() })
}

// keepPaths opens what is to be seen below the masks.
func (v *view) keepPaths(masks []mask) error {
	under := func(path string) (mask, bool) {
		for _, m := range masks {
			if below(path, m.path) {
				return m, true
			}
		}
		return mask{}, false
	}
	var paths []string
	for _, own := range []struct {
		path, what, mend string
		scratch          bool // a home that is /tmp itself is there to be written to, and may be empty
	}{
		{v.plan.Dir, "the working directory", "start it from another directory, or share it with --share-tmp or --bind", false},
		{valueOf(v.plan.Env, "HOME"), "the home directory", "share it with --bind, or set HOME to another directory", true},
	} {
		at, err := filepath.EvalSymlinks(own.path)
		if own.path == "" || err != nil {
			continue // the working directory is entered later, and must be there then
		}
		if own.path == v.plan.Dir {
			v.dir = at
		}
		m, masked := under(at)
		if !masked || slices.ContainsFunc(v.plan.Binds, func(bind string) bool { return below(at, bind) }) {
			continue
		}
		if at == m.path && own.scratch {
			continue
		}
		if !m.keep || at == m.path {
			return &Error{Part: PartMounts, Reason: fmt.Sprintf("%s, %s, is one that the program gets empty", own.what, own.path), Mend: own.mend}
		}
		paths = append(paths, at)
	}
	for _, bind := range v.plan.Binds {
		at, err := filepath.EvalSymlinks(bind)
		if err != nil {
			return &Error{Part: PartMounts, Reason: "--bind " + bind, Err: err, Mend: "name a file or directory that is there"}
		}
		if m, masked := under(at); masked && at != m.path {
			paths = append(paths, at)
		}
	}
	paths = outermost(paths)
	for _, socket := range v.plan.Sockets {
		at, err := filepath.EvalSymlinks(socket)
		if err != nil {
			return &Error{Part: PartSockets, Reason: "--allow-socket " + socket, Err: err, Mend: "name a socket that is there"}
		}
		if info, err := os.Lstat(at); err != nil || info.Mode().Type() != fs.ModeSocket {
			return &Error{Part: PartSockets, Reason: "--allow-socket " + socket + " is no socket", Err: err, Mend: "files and directories are shown with --bind"}
		}
		v.allowed[at] = socket
		v.report.Allowed = append(v.report.Allowed, at)
		if _, masked := under(at); masked && !slices.ContainsFunc(paths, func(dir string) bool { return below(at, dir) }) {
			paths = append(paths, at)
		}
	}
	for _, path := range paths {
		k, err := open(path)
		if err != nil {
			return &Error{Part: PartMounts, Reason: "cannot keep " + path, Err: err}
		}
		v.kept = append(v.kept, k)
		_, isAllowed := v.allowed[path]
		if isSocket := k.mode.Type() == fs.ModeSocket; isSocket != isAllowed {
			mend := "--allow-socket is for sockets; use --bind"
			if isSocket {
				mend = "a socket is opened with --allow-socket"
			}
			return &Error{Part: PartMounts, Reason: path + " is not what it is named as", Mend: mend}
		}
	}
	return nil
}

func open(path string) (keptPath, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return keptPath{}, err
	}
	file := os.NewFile(uintptr(fd), path)
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return keptPath{}, err
	}
	return keptPath{path, file, info.Mode()}, nil
}

// putBack shows a kept path in the mask that hides it.
func (v *view) putBack(k keptPath) error {
	err := os.MkdirAll(filepath.Dir(k.path), 0o755)
	if err == nil && k.mode.IsDir() {
		err = os.Mkdir(k.path, 0o755)
	} else if err == nil {
		err = os.WriteFile(k.path, nil, 0o644)
	}
	if err == nil {
		err = unix.Mount(selfFD(k.file), k.path, "", unix.MS_BIND|unix.MS_REC, "")
	}
	if err != nil {
		return &Error{Part: PartMounts, Reason: "cannot show " + k.path, Err: err}
	}
	return nil
}

func selfFD(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// link is a symbolic link.
type link struct{ at, to string }

// topLinks gives the links that lie directly in dir: some systems find all their programs by one of them, and what
// they lead to is where it was.
func topLinks(dir string) (links []link) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries[:min(len(entries), 1024)] {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		at := filepath.Join(dir, e.Name())
		if to, err := os.Readlink(at); err == nil {
			links = append(links, link{at, to})
		}
	}
	return links
}

// makeRoom makes the directories that the environment speaks of and that the masks took away, empty and for the user
// alone; those that programs expect in /run; and the empty file.
func (v *view) makeRoom() error {
	for _, name := range []string{"TMPDIR", "TMP", "TEMP", "XDG_RUNTIME_DIR"} {
		dir := valueOf(v.plan.Env, name)
		if !clean(dir) || !slices.ContainsFunc(v.masks, func(mask string) bool { return below(dir, mask) }) {
			continue
		}
		if slices.ContainsFunc(v.kept, func(k keptPath) bool { return below(dir, k.path) }) {
			continue // it is the host's
		}
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return &Error{Part: PartMounts, Reason: "cannot make " + dir, Err: err}
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return &Error{Part: PartMounts, Reason: "cannot make " + dir, Err: err}
		}
	}
	_ = os.Mkdir("/run/lock", 0o755)
	_ = os.Chmod("/run/lock", fs.ModeSticky|0o777)
	var err error
	v.empty, err = v.room(".hull-empty", nil)
	return err
}

// room writes a file that a mount can show elsewhere; it is to be removed once it is shown.
func (v *view) room(name string, content []byte) (string, error) {
	if len(v.masks) == 0 {
		return "", &Error{Part: PartMounts, Reason: "this host has neither /run nor /tmp, so there is no room for files", Mend: "create /run"}
	}
	path := filepath.Join(v.masks[0], name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return "", &Error{Part: PartMounts, Reason: "no room for files", Err: err}
	}
	return path, nil
}

// readOnly makes a mount and all below it read-only, whatever else is set for each (mount_setattr(2), Linux 5.12).
func readOnly(path string, recursive bool) error {
	flags := uint(0)
	if recursive {
		flags = unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if errors.Is(err, unix.ENOSYS) {
		return &Error{Part: PartMounts, Reason: path + " cannot be made read-only", Err: err, Mend: "it takes Linux 5.12 or newer"}
	}
	return err
}

// partFromFiles keeps every descriptor but 0, 1 and 2 from the programs that this process starts.
func partFromFiles() error {
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return &Error{Part: PartDescriptors, Reason: "descriptors cannot be kept from the program", Err: err, Mend: "it takes Linux 5.11 or newer"}
	}
	return nil
}

const mendNamespaces = "the host must let this process mount in its own namespaces: on Ubuntu 24.04 and later, allow it in AppArmor " +
	"(sysctl kernel.apparmor_restrict_unprivileged_userns=0, or a profile for this program); in a container, use a seccomp profile that permits it"

// trimmed cuts a text for an error.
func trimmed(text string) string { return strings.ToValidUTF8(text[:min(len(text), 200)], "?") }
