package hull

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const maxFile = 32 << 20 // octets that are read of a file in /etc

// proc mounts a /proc of the program's own process namespace. What in it speaks to the whole kernel is read-only: by
// one file of them root has the kernel start a program outside (core_pattern(5)).
//
// Where the one that is there is masked in parts, as engines of containers do, the kernel gives no fresh one, and that
// one stays. Then other processes of the container are seen, and not reached: for all that leads to their files,
// memory and descriptors the kernel asks for a right in their user namespace (ptrace(2), access mode checking).
func (v *view) proc() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	var err error
	for _, more := range []uintptr{0, unix.MS_NOATIME} { // what is locked of the one that is there has to be the same
		if err = unix.Mount("proc", "/proc", "proc", flags|more, ""); err == nil {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EPERM):
		v.report.SharedProc = true
	case err != nil:
		return &Error{Part: PartProc, Reason: "a fresh /proc cannot be mounted", Err: err, Mend: mendNamespaces}
	}
	for _, name := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"} {
		path := "/proc/" + name
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = readOnly(path, true)
		}
		if err != nil {
			return &Error{Part: PartProc, Reason: path + " cannot be made read-only", Err: err}
		}
	}
	return nil
}

// sys shows a read-only /sys of the program's own network, or the host's read-only where the kernel refuses a fresh
// one. Control groups stay, for programs that read their limits there.
func sys() error {
	if _, err := os.Stat("/sys"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	groups, err := open("/sys/fs/cgroup")
	hasGroups := err == nil
	if hasGroups {
		defer groups.file.Close()
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY
	if err := unix.Mount("sysfs", "/sys", "sysfs", flags, ""); err != nil {
		// A bind, as in some containers /sys is no mount of its own.
		if err := unix.Mount("/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return &Error{Part: PartMounts, Reason: "/sys cannot be made read-only", Err: err}
		}
	} else if hasGroups {
		if err := unix.Mount(selfFD(groups.file), "/sys/fs/cgroup", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return &Error{Part: PartMounts, Reason: "control groups cannot be shown", Err: err}
		}
	}
	if err := readOnly("/sys", true); err != nil {
		return &Error{Part: PartMounts, Reason: "/sys cannot be made read-only", Err: err}
	}
	return nil
}

// queues mounts a fresh /dev/mqueue: the host's leads to queues of its IPC namespace.
func queues() error {
	if _, err := os.Stat("/dev/mqueue"); err != nil {
		return nil
	}
	if err := unix.Mount("mqueue", "/dev/mqueue", "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return &Error{Part: PartMounts, Reason: "/dev/mqueue cannot be replaced", Err: err}
	}
	return nil
}

// resolution replaces the files that say how names are looked up.
func (v *view) resolution() error {
	if err := v.replace("/etc/resolv.conf", []byte(v.plan.ResolvConf)); err != nil {
		return err
	}
	text, err := read("/etc/nsswitch.conf")
	if err == nil {
		err = v.replace("/etc/nsswitch.conf", []byte(nsswitch(text)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // where there is none, the library takes files and DNS
		return err
	}
	if text, err = read("/etc/hosts"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	name, _ := os.Hostname()
	if err := v.replace("/etc/hosts", []byte(hosts(text, name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func read(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", &Error{Part: PartFiles, Reason: path + " cannot be read", Err: err}
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = errors.New("it has more than 32 MiB")
	}
	if err != nil {
		return "", &Error{Part: PartFiles, Reason: path + " cannot be read", Err: err}
	}
	return string(text), nil
}

// replace shows content at path, read-only. Where path is a link, what it leads to is replaced: below a mask it is
// made, as nothing is there.
func (v *view) replace(path string, content []byte) error {
	target, err := leadsTo(path)
	if err != nil {
		return &Error{Part: PartFiles, Reason: path + " cannot be followed", Err: err}
	}
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		if !v.isMasked(target) {
			return &Error{
				Part: PartFiles, Reason: path + " cannot be replaced", Err: err,
				Mend: "have the file there, empty if need be",
			}
		}
		err := os.MkdirAll(filepath.Dir(target), 0o755)
		if err == nil {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			return &Error{Part: PartFiles, Reason: path + " cannot be replaced", Err: err}
		}
	}
	file, err := v.room(".hull-file", content)
	if err != nil {
		return err
	}
	defer os.Remove(file)
	if err = unix.Mount(file, target, "", unix.MS_BIND, ""); err == nil {
		err = readOnly(target, false)
	}
	if err != nil {
		return &Error{Part: PartFiles, Reason: path + " cannot be replaced", Err: err}
	}
	return nil
}

func (v *view) isMasked(path string) bool {
	for _, mask := range v.masks {
		if strings.HasPrefix(path, mask+"/") {
			return true
		}
	}
	return false
}

// leadsTo follows the links of a path, as far as it is there.
func leadsTo(path string) (string, error) {
	done, rest := "/", strings.Split(strings.TrimPrefix(path, "/"), "/")
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			done = filepath.Dir(done)
			continue
		}
		next := filepath.Join(done, name)
		to, err := os.Readlink(next)
		if err != nil { // no link, or nothing there
			done = next
			continue
		}
		if links++; links > 40 {
			return "", unix.ELOOP
		}
		if filepath.IsAbs(to) {
			done = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return done, nil
}
