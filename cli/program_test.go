package cli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must come. Nothing is measured by it.
const patience = 30 * time.Second

// text is what a program wrote so far.
type text struct {
	mu      sync.Mutex
	b       []byte
	changed chan struct{} // closed and replaced with each write
}

func newText() *text { return &text{changed: make(chan struct{})} }

func (x *text) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.b = append(x.b, p...)
	close(x.changed)
	x.changed = make(chan struct{})
	return len(p), nil
}

func (x *text) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return string(x.b)
}

// await waits until the text matches, and gives the match with its groups.
func (x *text) await(re *regexp.Regexp, ended <-chan struct{}) ([]string, error) {
	limit := time.After(patience)
	for last := false; ; {
		x.mu.Lock()
		found, changed := re.FindStringSubmatch(string(x.b)), x.changed
		x.mu.Unlock()
		if found != nil {
			return found, nil
		}
		if last {
			return nil, fmt.Errorf("the program ended before it wrote %q", re)
		}
		select {
		case <-changed:
		case <-ended:
			last = true
		case <-limit:
			return nil, fmt.Errorf("%q was not written in time", re)
		}
	}
}

// program is a running watertight, in a process of its own.
type program struct {
	cmd         *exec.Cmd
	out, errors *text         // standard output and standard error
	all         *text         // both
	ended       chan struct{} // closed when it has ended
}

// startProgram starts watertight with arguments, in a directory and an environment.
func startProgram(dir string, env, args []string) (*program, error) {
	p := &program{
		cmd: exec.Command("watertight", args...), out: newText(), errors: newText(), all: newText(), ended: make(chan struct{}),
	}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = io.MultiWriter(p.out, p.all), io.MultiWriter(p.errors, p.all)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // the state tells
		close(p.ended)
	}()
	return p, nil
}

// end waits until the program has ended, and gives its exit code: 128+N after a signal.
func (p *program) end() (int, error) {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return 0, errors.New("the program did not end in time")
	}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// proxy is a `watertight run` that a test talks to.
type proxy struct {
	*program
	*world
	t       testing.TB
	address string
	stopped bool // by the test itself
}

// listening is the line of the banner with the address of the port.
var listening = regexp.MustCompile(`(?m)^listening on ([^\s]+): `)

// startProxy runs the program in a world, and waits until it is ready. It must end in good order with the test.
func startProxy(t testing.TB, w *world, args ...string) *proxy {
	t.Helper()
	env := append(os.Environ(), "HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir, "XDG_RUNTIME_DIR="+w.dir, "XDG_STATE_HOME="+w.dir)
	p, err := startProgram(w.dir, env, append([]string{"run", "-c", w.config()}, args...))
	if err != nil {
		t.Fatal(err)
	}
	x := &proxy{program: p, world: w, t: t}
	t.Cleanup(func() {
		if !x.stopped {
			x.stop()
		}
	})
	at, err := p.out.await(listening, p.ended)
	if err == nil {
		_, err = p.out.await(regexp.MustCompile(`(?m)^ready: `), p.ended)
	}
	if err != nil {
		t.Fatal(err)
	}
	x.address = at[1]
	return x
}

// stop ends the program with SIGTERM. It fails the test unless the program was alive and ended in good order.
func (x *proxy) stop() {
	select {
	case <-x.ended:
		x.t.Error("the proxy did not survive")
	default:
	}
	_ = x.cmd.Process.Signal(syscall.SIGTERM)
	code, err := x.end()
	if err != nil {
		_ = x.cmd.Process.Kill()
	}
	if code != 0 || err != nil || bytes.Contains([]byte(x.errors.String()), []byte("panic")) {
		x.t.Errorf("the proxy ended with %d, %v", code, err)
	}
	if x.t.Failed() {
		x.t.Logf("the proxy wrote:\n%s\nand as errors:\n%s", x.out, x.errors)
	}
}

// dial opens a connection to the proxy, which ends with the test and waits for nothing longer than patience.
func (x *proxy) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", x.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// say sends octets on a connection of its own and gives all that comes until the proxy ends it.
func (x *proxy) say(t testing.TB, octets string) string {
	t.Helper()
	conn := x.dial(t)
	if _, err := io.WriteString(conn, octets); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}
