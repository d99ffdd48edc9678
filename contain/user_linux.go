package contain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Self is this program's own file, also when it has been replaced or deleted since.
const Self = "/proc/self/exe"

// Private gives a command that will run in a new user, network and mount namespace, as the user 0 of it, which is
// this process's user outside. Start it with [Start].
func Private(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

// Start starts cmd so that it is killed when this process dies, however it dies. An error that means that the host
// forbids namespaces is [ErrForbidden].
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	starter.once.Do(startStarter)
	done := make(chan error)
	starter.work <- func() { done <- cmd.Start() }
	err := <-done
	for _, denied := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if cmd.SysProcAttr.Cloneflags != 0 && errors.Is(err, denied) {
			return fmt.Errorf("contain: %w: %w", ErrForbidden, err)
		}
	}
	return err
}

// The kernel sends the parent's-death signal when the thread dies that started the child, not when the process
// does (golang/go#27505). So one thread starts them all, and it never ends.
var starter struct {
	once sync.Once
	work chan func()
}

func startStarter() {
	starter.work = make(chan func())
	go func() {
		runtime.LockOSThread()
		for fn := range starter.work {
			fn()
		}
	}()
}

// Settle is called first in a program that was started with [Private]: it makes the mounts private, brings the
// loopback interface up, and confirms that the namespaces are good for something. Its error is [ErrForbidden].
func Settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("contain: %w: make mounts private: %w", ErrForbidden, err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("contain: %w: %w", ErrForbidden, err)
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback interface: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	return nil
}
