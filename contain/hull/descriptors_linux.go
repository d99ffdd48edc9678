package hull

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// checkDescriptors refuses what would take the program past the hull: descriptors 0, 1 and 2, and those to keep, may
// be files, pipes, terminals, /dev/null and its like, and streams between two programs of this host.
func (p Plan) checkDescriptors() error {
	if p.AnyFile {
		return nil
	}
	for _, fd := range append([]int{0, 1, 2}, p.Keep...) {
		what, err := dangerOf(fd)
		if errors.Is(err, unix.EBADF) && fd < 3 {
			continue // closed, as it was
		}
		if err != nil {
			return &Error{Part: PartDescriptors, Reason: fmt.Sprintf("what descriptor %d is cannot be told", fd), Err: err}
		}
		if what != "" {
			return &Error{
				Part: PartDescriptors, Reason: fmt.Sprintf("descriptor %d is %s", fd, what),
				Mend: "redirect it to a file, a pipe or /dev/null",
			}
		}
	}
	return nil
}

// dangerOf says why a descriptor must not be inherited; empty where it may.
func dangerOf(fd int) (string, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return kernelDanger(fd)
	case unix.S_IFIFO:
		return "", nil
	case unix.S_IFSOCK:
		return socketDanger(fd)
	case unix.S_IFDIR:
		return "a directory of the host, which leads past what is masked", nil
	case unix.S_IFCHR:
		if harmless(fd, uint64(stat.Rdev)) {
			return "", nil
		}
		return "a device other than a terminal or /dev/null", nil
	case unix.S_IFBLK:
		return "a disk", nil
	}
	return "neither a file nor a pipe nor a terminal", nil
}

// kernelDanger tells what the kernel shows as a file though it is none: a namespace (namespaces(7)) and, from Linux 6.9 on, a
// process (pidfd_open(2)).
func kernelDanger(fd int) (string, error) {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(fd, &stat); err != nil {
		return "", err
	}
	switch stat.Type {
	case unix.NSFS_MAGIC:
		return "a namespace of the host", nil
	case unix.PID_FS_MAGIC:
		return "a process of the host", nil
	}
	return "", nil
}

// harmless says that a character device is a terminal, or /dev/null, zero, full, random or urandom (Linux's list of
// devices: major 1, minors 3, 5, 7, 8 and 9).
func harmless(fd int, device uint64) bool {
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		return true
	}
	switch unix.Minor(device) {
	case 3, 5, 7, 8, 9:
		return unix.Major(device) == 1
	}
	return false
}

// socketDanger takes a socket for harmless if it is one end of a stream between two programs of this host: as good as
// a pipe, it cannot be connected to anything else. A socket of the internet can: connect(2) to AF_UNSPEC dissolves it,
// and it is in the host's network, not in the program's.
func socketDanger(fd int) (string, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return "a socket that tells nothing of itself", nil // such as O_PATH
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return "", err
	}
	if domain != unix.AF_UNIX {
		return "a socket of the host's network, which can be connected anew", nil
	}
	if kind != unix.SOCK_STREAM && kind != unix.SOCK_SEQPACKET {
		return "a socket for datagrams, which reaches sockets of the host", nil
	}
	if listens != 0 {
		return "a listening socket of the host", nil
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return "a socket that is not connected", nil
	}
	return "", nil
}
