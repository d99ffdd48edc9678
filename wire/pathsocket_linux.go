package wire

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// AnswersAtPath says whether a program listens at a UNIX socket of the file system (unix(7)), of whatever type. A
// stream is connected to and closed again at once, without an octet. An error means that nobody knows.
func AnswersAtPath(path string) (bool, error) {
	// By a descriptor, a path of any length can be tried, and the file that is tried is the one that was found.
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if isAbsent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("wire: %s: %w", path, err)
	}
	file := os.NewFile(uintptr(at), path)
	defer file.Close()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false, fmt.Errorf("wire: %s: %w", path, err)
	}
	defer unix.Close(fd)
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: "/proc/self/fd/" + strconv.Itoa(int(file.Fd()))})
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINPROGRESS):
		return true, nil
	case errors.Is(err, unix.EPROTOTYPE): // somebody is there, for datagrams or packets
		return true, nil
	case isAbsent(err), errors.Is(err, unix.ECONNREFUSED):
		return false, nil
	}
	return false, fmt.Errorf("wire: %s: %w", path, err)
}

// isAbsent says that there is nothing at a path for whoever has the rights of this process.
func isAbsent(err error) bool {
	for _, absent := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.EPERM, unix.ELOOP} {
		if errors.Is(err, absent) {
			return true
		}
	}
	return false
}
