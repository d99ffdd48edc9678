package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The protocol of sd_listen_fds(3).
const (
	firstPassed = 3  // the first descriptor that a service manager passes
	maxPassed   = 64 // more than a configuration could use
)

// Activated takes the listening sockets that the service manager passed to this process (sd_listen_fds(3)), by the
// name that the socket unit gave them; without a name they are called "unknown". It clears the variables, so the
// sockets are given once and no child mistakes them for its own. A descriptor that is not a listening TCP socket is
// an error, and then none is given. Without socket activation the map is empty.
func Activated() (map[string][]*net.TCPListener, error) { return activated(firstPassed) }

func activated(first int) (map[string][]*net.TCPListener, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		if err := os.Unsetenv(v); err != nil {
			return nil, fmt.Errorf("wire: socket activation: %w", err)
		}
	}
	if pid != strconv.Itoa(os.Getpid()) { // meant for another process, or for none
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxPassed {
		return nil, fmt.Errorf("wire: socket activation: LISTEN_FDS is %q, want a number from 0 to %d", count, maxPassed)
	}
	for fd := first; fd < first+n; fd++ {
		unix.CloseOnExec(fd)
	}
	listeners, err := adopt(first, n, names)
	if err != nil {
		return nil, fmt.Errorf("wire: socket activation: %w", err)
	}
	return listeners, nil
}

// adopt makes listeners of n descriptors. On an error none is left open; a descriptor that is something else is left
// alone, since it may not be what the variables claim.
func adopt(first, n int, names string) (map[string][]*net.TCPListener, error) {
	called := make([]string, n)
	for i := range called {
		called[i] = "unknown"
	}
	if names != "" && n > 0 {
		called = strings.Split(names, ":")
	}
	if len(called) != n {
		return nil, fmt.Errorf("LISTEN_FDNAMES has %d names for %d sockets", len(called), n)
	}
	listeners := make(map[string][]*net.TCPListener)
	for i, name := range called {
		l, err := listenerOf(first+i, name)
		if err != nil {
			for _, ls := range listeners {
				for _, l := range ls {
					_ = l.Close() // it is given up
				}
			}
			return nil, fmt.Errorf("descriptor %d (%q): %w", first+i, name, err)
		}
		listeners[name] = append(listeners[name], l)
	}
	return listeners, nil
}

var errNotListening = errors.New("not a listening TCP socket; write ListenStream= with an address and a port in the socket unit")

// checkListening says what a descriptor is not.
func checkListening(fd int) error {
	for _, want := range []struct {
		option int
		values []int
	}{
		{unix.SO_DOMAIN, []int{unix.AF_INET, unix.AF_INET6}},
		{unix.SO_PROTOCOL, []int{unix.IPPROTO_TCP, unix.IPPROTO_MPTCP}},
		{unix.SO_ACCEPTCONN, []int{1}},
	} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option)
		if err != nil {
			return fmt.Errorf("%w (%w)", errNotListening, err)
		}
		if !slices.Contains(want.values, got) {
			return errNotListening
		}
	}
	return nil
}

// listenerOf takes a descriptor over. The listener holds a copy of it, which is closed on exec as well.
func listenerOf(fd int, called string) (*net.TCPListener, error) {
	if err := checkListening(fd); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), called)
	defer f.Close() // the copy stays
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}
