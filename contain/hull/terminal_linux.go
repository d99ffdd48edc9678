package hull

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Terminal is called by the process outside before it starts the child. What it gives is to be called when the child has
// ended: it takes the terminal back for this process's group, if that had it and a shell inside has taken it since. A
// shell cannot give it back itself, as the group outside has no number inside.
//
// The program is in the same group as this process, so that the terminal's signals (ctrl-C, ctrl-\, ctrl-Z) reach both:
// while [Foreground] holds, this process must not pass the first two on, and the third stops it as it stops the program.
func Terminal() (restore func()) {
	if !Foreground() {
		return func() {}
	}
	return func() {
		tty, err := terminal()
		if err != nil {
			return
		}
		defer tty.Close()
		// From the background this stops a process that does not ignore it (tcsetpgrp(3)).
		signal.Ignore(unix.SIGTTOU)
		defer signal.Reset(unix.SIGTTOU)
		_ = unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
	}
}

// Foreground says whether this process's group has the terminal that controls it.
func Foreground() bool {
	tty, err := terminal()
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func terminal() (*os.File, error) { return os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0) }
