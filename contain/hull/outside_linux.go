package hull

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attend stands in for the program towards its user, in the process that started the child: it passes the signals
// that this process gets on to the child, which passes them on to the program. Those that a terminal sends to all
// processes of its foreground (ctrl-C, ctrl-\) are not passed on while this process is in it, as the program had
// them. The terminal's stop signals are left to stop this process, as they stop the program.
//
// It owns the signals from when it returns until done is called, after the child has ended; then it takes the terminal
// back for this process's group, if it was there before and a shell inside has taken it since.
func Attend(child *os.Process) (done func()) {
	signals := make(chan os.Signal, 16)
	for _, s := range forwarded() {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	was := inForeground()
	ended, finished := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(finished)
		for {
			select {
			case s := <-signals:
				if (s == unix.SIGINT || s == unix.SIGQUIT || s == unix.SIGWINCH || s == unix.SIGCONT) && inForeground() {
					continue
				}
				_ = child.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
		<-finished
		if was && !inForeground() {
			takeTerminal()
		}
	}
}

// inForeground says whether this process's group has the terminal that controls it.
func inForeground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == syscall.Getpgrp()
}

// takeTerminal makes this process's group the foreground. From the background that stops the process, unless the
// signal is ignored (tcsetpgrp(3)).
func takeTerminal() {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer tty.Close()
	signal.Ignore(unix.SIGTTOU)
	defer signal.Reset(unix.SIGTTOU)
	_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, syscall.Getpgrp())
}
