package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// forProgram catches the signals that are meant for the program which is run. The context ends with the first of them that asks
// this process to end: before the program was started that is what happens. Stop ends the catching.
func forProgram(parent context.Context) (ctx context.Context, signals <-chan syscall.Signal, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	caught := make(chan os.Signal, 16)
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) { // as nohup(1) has it, and a shell for what it runs behind: the program ignores it too
			signal.Notify(caught, s)
		}
	}
	passed := make(chan syscall.Signal, 16)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-caught:
				sig, ok := s.(syscall.Signal)
				if !ok {
					continue
				}
				if sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 {
					cancel()
				}
				if (sig == syscall.SIGINT || sig == syscall.SIGQUIT) && inForeground() {
					continue // the terminal has sent it to the program as well
				}
				select {
				case passed <- sig:
				case <-done:
					return
				default: // the program is not started, or takes none
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, passed, func() {
		signal.Stop(caught)
		close(done)
		cancel()
	}
}

// inForeground says whether the terminal's signals come to this process and its children alike.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
