package internet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"watertight/contain"
)

// Program is a program that is to run on a host: in its network, with its resolv.conf, hosts and nsswitch.conf, and
// with nothing of the real host to ask for names.
type Program struct {
	Path string // absolute, or looked up in SearchPath
	Args []string
	Env  []string // added to a small environment that has no proxy variable in it
	// Resolv is the content of /etc/resolv.conf. Empty: the host's name servers, as its provider gave them.
	Resolv string
	// Hosts is the content of /etc/hosts. Empty: localhost and nothing else.
	Hosts  string
	Stdin  []byte
	Input  *os.File          // in Stdin's place, if set
	Output func(line []byte) // gets what the program writes as it is written, if set

	host *Host
}

// SearchPath is where programs are looked for: the system's own directories before those of the user, so that a tool
// is the one that the distribution ships.
const SearchPath = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/bin"

// ErrMissing is returned for a program that this machine does not have.
var ErrMissing = errors.New("not installed")

// Find looks a program up in SearchPath, then where the user would.
func Find(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for dir := range strings.SplitSeq(SearchPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil || !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s: %w", name, ErrMissing)
	}
	return path, nil
}

// Program prepares a program to run on the host.
func (h *Host) Program(name string, args ...string) *Program {
	return &Program{Path: name, Args: args, host: h}
}

// masks are where the real host's resolvers listen on sockets that network namespaces do not hide, and where programs
// of the same name would find each other's shared memory (squid).
var masks = []string{"/run", "/var/run", "/var/lib/sss", "/dev/shm"}

func (p *Program) resolv() string {
	if p.Resolv != "" {
		return p.Resolv
	}
	var b strings.Builder
	for _, a := range p.host.Nameservers() {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	return b.String()
}

func (p *Program) command(ctx context.Context) (*exec.Cmd, func(), error) {
	path, err := Find(p.Path)
	if err != nil {
		return nil, nil, err
	}
	hosts := p.Hosts
	if hosts == "" {
		hosts = "127.0.0.1 localhost\n::1 localhost\n"
	}
	stage := contain.Stage{Net: p.host.space, Masks: masks, Files: map[string]string{
		"/etc/resolv.conf":   p.resolv(),
		"/etc/hosts":         hosts,
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
	}}
	dir := p.host.in.Dir
	env := append([]string{"PATH=" + SearchPath, "HOME=" + dir, "TMPDIR=" + dir, "LANG=C.UTF-8", "LC_ALL=C.UTF-8"}, p.Env...)
	cmd, release, err := stage.Command(ctx, env, path, p.Args...)
	if err != nil {
		return nil, nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Dir = dir
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = time.Second
	return cmd, release, nil
}

// Process is a program that runs on a host.
type Process struct {
	name string
	host *Host
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	err  error
}

// Result is how a program went.
type Result struct {
	Stdout, Stderr string
	Code           int   // -1 if it was killed
	Err            error // why it did not run at all
}

// Text gives all that the program wrote.
func (r Result) Text() string { return r.Stdout + r.Stderr }

// Start starts the program. It ends with ctx or with the internet, whichever comes first.
func (p *Program) Start(ctx context.Context) (*Process, error) {
	cmd, release, err := p.command(ctx)
	if err != nil {
		return nil, fmt.Errorf("internet: %w", err)
	}
	defer release()
	process := &Process{name: p.Path, host: p.host, cmd: cmd, out: &output{line: p.Output}, done: make(chan struct{})}
	cmd.Stdin = bytes.NewReader(p.Stdin)
	if p.Input != nil {
		cmd.Stdin = p.Input
	}
	cmd.Stdout, cmd.Stderr = process.out.pipe(&process.out.stdout), process.out.pipe(&process.out.stderr)
	if err := contain.Start(cmd); err != nil {
		return nil, fmt.Errorf("internet: start %s: %w", p.Path, err)
	}
	in := p.host.in
	in.mu.Lock()
	in.running[process] = true
	in.mu.Unlock()
	in.Cleanup(process.Kill)
	go func() {
		process.err = cmd.Wait()
		_ = killGroup(cmd.Process) // what it left behind
		in.mu.Lock()
		delete(in.running, process)
		in.mu.Unlock()
		close(process.done)
	}()
	return process, nil
}

// Run runs the program to its end.
func (p *Program) Run(ctx context.Context) Result {
	process, err := p.Start(ctx)
	if err != nil {
		return Result{Code: -1, Err: err}
	}
	return process.Wait()
}

// PID is the process's number on this machine.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process, and to it alone.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the process to end.
func (p *Process) Wait() Result {
	<-p.done
	r := p.Sofar()
	r.Code = p.cmd.ProcessState.ExitCode()
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) && r.Code < 0 {
		r.Err = p.err
	}
	return r
}

// Sofar gives what the process wrote until now.
func (p *Process) Sofar() Result {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	return Result{Stdout: p.out.stdout.String(), Stderr: p.out.stderr.String()}
}

// Kill ends the process and all that it started, and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = killGroup(p.cmd.Process)
	<-p.done
}

func killGroup(process *os.Process) error {
	err := unix.Kill(-process.Pid, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// maxOutput bounds what is kept of a program's output, each of the two.
const maxOutput = 4 << 20

type output struct {
	line func([]byte)

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
}

type outputPipe struct {
	o  *output
	to *bytes.Buffer
}

func (o *output) pipe(to *bytes.Buffer) *outputPipe { return &outputPipe{o, to} }

// Write keeps what fits and never fails.
func (p *outputPipe) Write(b []byte) (int, error) {
	p.o.mu.Lock()
	defer p.o.mu.Unlock()
	if p.o.line != nil {
		p.o.line(b)
	}
	p.to.Write(b[:min(len(b), maxOutput-p.to.Len())])
	return len(b), nil
}
