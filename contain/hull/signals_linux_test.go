package hull_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// started starts a shell script contained, and gives its output, from which a line "ready" was read.
func (l *launch) started(script string) (*exec.Cmd, *bufio.Reader) {
	l.t.Helper()
	cmd := l.cmd("/bin/sh", "-c", script)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		l.t.Fatalf("%q: %v", line, err)
	}
	return cmd, lines
}

func TestASignalReachesTheProgram(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		cmd, _ := l.started("trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done")
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 9 {
			t.Errorf("the exit code is %d", code)
		}
		if r := l.run("/bin/sh", "-c", "kill -KILL $$"); r.code != 137 {
			t.Errorf("killed: %+v", r)
		}
	})
}

func TestNothingOutlivesTheProgram(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		// What is left behind holds the output open until it is ended.
		if r := l.run("/bin/sh", "-c", "setsid sleep 1000 & echo started; exit 3"); r.code != 3 || r.out != "started\n" {
			t.Errorf("%+v", r)
		}
		cmd, out := l.started("echo ready; exec sleep 1000")
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(out); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
}

func TestTheDeadAreReaped(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		script := `(setsid true &) ; while grep -l ") Z " /proc/[0-9]*/stat 2>/dev/null | grep -q . ; do sleep 0.01; done; echo none`
		want(t, "contained", l.run("/bin/sh", "-c", script), "none")
	})
}

// tty is a terminal with a program on it.
type tty struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	seen   strings.Builder
}

func (l *launch) onTerminal(args ...string) *tty {
	l.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	name := "/dev/pts/" + itoa(n)
	slave, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	defer slave.Close()
	if err := os.Chown(name, l.uid, l.uid); err != nil {
		l.t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 77}); err != nil {
		l.t.Fatal(err)
	}
	cmd := l.cmd(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // then the terminal ends, and whoever reads it
	l.t.Cleanup(func() {
		late.Stop()
		master.Close()
	})
	return &tty{t: l.t, master: master, cmd: cmd}
}

func itoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func (y *tty) send(text string) {
	y.t.Helper()
	if _, err := y.master.WriteString(text); err != nil {
		y.t.Fatal(err)
	}
}

// await reads until the terminal has shown text, and forgets what was shown up to then.
func (y *tty) await(text string) {
	y.t.Helper()
	b := make([]byte, 1024)
	for !strings.Contains(y.seen.String(), text) {
		n, err := y.master.Read(b)
		if err != nil {
			y.t.Fatalf("no %q in %q: %v", text, y.seen.String(), err)
		}
		y.seen.Write(b[:n])
	}
	_, rest, _ := strings.Cut(y.seen.String(), text)
	y.seen.Reset()
	y.seen.WriteString(rest)
}

func (y *tty) exit(code int) {
	y.t.Helper()
	_ = y.cmd.Wait()
	if got := y.cmd.ProcessState.ExitCode(); got != code {
		y.t.Errorf("the exit code is %d, not %d: %s", got, code, y.seen.String())
	}
}

func TestATerminalWorksAsWithoutAHull(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		y := l.onTerminal("/bin/sh", "-c", "stty size; cat")
		y.await("33 77")
		y.send("hello\n")
		y.await("hello\r\nhello") // typed, and written: the last program is there
		y.send("\x03")
		y.exit(130)
	})
}

func TestAShellHasJobControl(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		y := l.onTerminal("/bin/bash", "--norc", "--noediting", "-i")
		// What is awaited is not in what is typed, which the terminal shows too. The shell gives the terminal to the job before it
		// goes on, and only then is ^C the job's. The job forks nothing: a process that is stopped between vfork and exec keeps its
		// parent from stopping.
		y.send("PS1='PROM''PT> '; sh -c 'trap \"echo conti\"\"nued\" CONT; echo ru''nning; while :; do read line; done'\n")
		y.await("running")
		y.send("\x1a")
		y.await("Stopped")
		y.await("PROMPT> ")
		y.send("fg\n")
		y.await("continued")
		y.send("\x03")
		y.await("PROMPT> ")
		y.send("exit 5\n")
		y.exit(5)
	})
}

func TestTheTerminalComesBack(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		// An outer shell without job control runs a contained one with it, and reads the terminal afterwards.
		inner := l.cmd("/bin/bash", "--norc", "-i", "-c", "exit 4")
		outer := l.open()
		outer.env = inner.Env
		y := outer.onTerminal("/bin/sh", "-c", `PATH=/usr/bin:/bin; `+shellEnv(inner.Env)+` `+program+` launcher; echo code $?; read line; echo got $line`)
		y.await("code 4")
		y.send("this\n")
		y.await("got this")
		y.exit(0)
	})
}

func shellEnv(env []string) string {
	var quoted []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		quoted = append(quoted, name+"='"+strings.ReplaceAll(value, "'", `'\''`)+"'")
	}
	return strings.Join(quoted, " ")
}

func TestNothingIsPutIntoTheTerminalsInput(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		y := l.plain().onTerminal(program, "role:inject")
		y.await("inject done")
		y = l.onTerminal(program, "role:inject")
		y.await("inject EPERM")
	})
}
