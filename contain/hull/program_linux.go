package hull

import (
	"cmp"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Program is a program that runs in a hull.
type Program struct {
	pid     int
	signals chan os.Signal
}

// Start starts the program args[0] with args[1:]. A name without a slash is searched for in the PATH of the plan's
// environment, as it is seen inside. It may be called once.
//
// An [Error] of [PartProgram] means that the program itself could not be executed, for the reason that it wraps:
// syscall.ENOENT where there is none.
func (h *Hull) Start(args []string) (*Program, error) {
	if len(args) == 0 {
		return nil, &Error{Part: PartProgram, Reason: "no program is named"}
	}
	path, err := h.find(args[0])
	if err != nil {
		return nil, err
	}
	// Nobody may look into this process, which keeps its capabilities.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, &Error{Part: PartCapabilities, Reason: "this process cannot be kept from the program", Err: err}
	}
	p := &Program{signals: make(chan os.Signal, 16)}
	for _, s := range forwarded() {
		if !signal.Ignored(s) { // as nohup(1) has it
			signal.Notify(p.signals, s)
		}
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is no good for anything else, and ends
		done <- h.begin(p, path, args)
	}()
	if err := <-done; err != nil {
		signal.Stop(p.signals)
		return nil, err
	}
	// Signals that the terminal sends reach the program by its process group, which was this process's too. What this
	// process gets from now on was sent to it, for the program.
	_ = unix.Setpgid(0, 0)
	return p, nil
}

// begin takes from this thread what the program must not have, and starts the program from it.
func (h *Hull) begin(p *Program, path string, args []string) error {
	var keep []int
	if os.Getuid() == 0 {
		keep = fileCapabilities()
	}
	if err := dropCapabilities(keep); err != nil {
		return err
	}
	var err error
	if h.report.Landlock, err = landlock(h.report.Allowed); err != nil {
		return err
	}
	if err := installFilter(h.plan.Namespaces); err != nil {
		return err
	}
	files := []uintptr{0, 1, 2}
	for _, fd := range h.plan.Keep {
		for len(files) <= fd {
			files = append(files, ^uintptr(0)) // closed
		}
		files[fd] = uintptr(fd)
	}
	attr := &syscall.ProcAttr{Env: h.env, Files: files}
	pid, err := syscall.ForkExec(path, args, attr)
	if errors.Is(err, unix.ENOEXEC) { // a script whose first line names no interpreter is the shell's (POSIX.1-2024, execvp)
		pid, err = syscall.ForkExec(shell, append([]string{shell, path}, args[1:]...), attr)
	}
	if err != nil {
		return &Error{Part: PartProgram, Reason: "cannot execute " + trimmed(path), Err: err}
	}
	p.pid = pid
	return nil
}

// shell is what runs a script that says nothing about it.
const shell = "/bin/sh"

// find gives the path of a program.
func (h *Hull) find(name string) (string, error) {
	if strings.ContainsRune(name, '/') {
		if err := unix.Access(name, unix.X_OK); err != nil {
			at, _ := filepath.Abs(name)
			return "", &Error{Part: PartProgram, Reason: "cannot execute " + trimmed(name), Err: err, Mend: h.mendMasked(at)}
		}
		return name, nil
	}
	denied, mend := error(unix.ENOENT), ""
	for _, dir := range filepath.SplitList(valueOf(h.env, "PATH")) {
		if !filepath.IsAbs(dir) { // what lies in the working directory is named with a slash
			continue
		}
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			mend = cmp.Or(mend, h.mendMasked(dir))
			continue
		}
		if err := unix.Access(path, unix.X_OK); err != nil {
			denied = err
			continue
		}
		return path, nil
	}
	return "", &Error{Part: PartProgram, Reason: "cannot find " + trimmed(name) + " in PATH", Err: denied, Mend: mend}
}

// mendMasked says what to do where a path lies below a mask.
func (h *Hull) mendMasked(path string) string {
	for _, mask := range h.report.Masked {
		if below(path, mask) {
			return mask + " is private to the program: show what it needs of it with --bind"
		}
	}
	return ""
}

// PID is the program's process number in its own process namespace.
func (p *Program) PID() int { return p.pid }

// Wait is the init of the process namespace: it passes the signals that this process gets on to the program and reaps
// whatever ends, until the program ends. It gives how. When this process then ends, the kernel ends every process that
// is left. The error is that there is no program any more whose end could be seen.
func (p *Program) Wait() (syscall.WaitStatus, error) {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-p.signals:
				if n, ok := s.(syscall.Signal); ok {
					_ = unix.Kill(p.pid, n)
				}
			case <-ended:
				signal.Stop(p.signals)
				return
			}
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, &Error{Part: PartProgram, Reason: "how it ended is not known", Err: err}
		case pid == p.pid:
			return status, nil
		}
	}
}

// forwarded are the signals that are passed on to the program.
func forwarded() []os.Signal {
	return []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT}
}
