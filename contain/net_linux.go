package contain

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Net is a network namespace. It lives as long as it is open or a program or socket is in it.
type Net struct{ handle netns.NsHandle }

// NewNet makes a network namespace in which only the loopback interface exists, and is up.
func NewNet() (*Net, error) {
	n := &Net{handle: netns.None()}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("contain: make a network namespace: %w", err)
		}
		handle, err := netns.Get()
		if err != nil {
			return fmt.Errorf("contain: open a network namespace: %w", err)
		}
		n.handle = handle
		if err := loopbackUp(); err != nil {
			return fmt.Errorf("contain: %w", err)
		}
		return nil
	})
	if err != nil {
		_ = n.Close()
		return nil, err
	}
	return n, nil
}

// Do runs fn on a thread inside the namespace. Sockets that fn opens stay in it and may be used anywhere; goroutines
// that fn starts are not in it.
func (n *Net) Do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("contain: enter a network namespace: %w", err)
		}
		return fn()
	})
}

// FD is the namespace as a file descriptor of this process, valid until Close.
func (n *Net) FD() int { return int(n.handle) }

// file gives the namespace as a file of its own, to hand to a child.
func (n *Net) file() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(n.handle), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("contain: %w", err)
	}
	return os.NewFile(uintptr(fd), "netns"), nil
}

// Close lets go of the namespace.
func (n *Net) Close() error {
	if !n.handle.IsOpen() {
		return nil
	}
	return n.handle.Close()
}

var errEndedEarly = errors.New("contain: the work on a namespace's thread ended without returning")

// onThread runs fn on a thread of its own, which ends with it: a thread that changed its namespaces must never
// serve other goroutines.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := errEndedEarly   // what is left after runtime.Goexit
		defer func() { result <- err }()
		err = fn()
	}()
	return <-result
}
