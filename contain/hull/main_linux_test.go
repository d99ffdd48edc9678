package hull_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"watertight/contain"
	"watertight/contain/hull"
)

// The tests run in a mount and network namespace of their own, in which /run is theirs: it is the host of every
// contained program. For root that takes no user namespace, so that root is the real one.
const (
	specVar   = "HULL_TEST_SPEC"
	insideVar = "HULL_TEST_INSIDE"
	program   = "/srv/hull-test" // this binary, where everybody may execute it
	user      = 12345            // an ordinary one
)

// spec is what a launcher is to do.
type spec struct {
	Plan  hull.Plan
	Args  []string
	Plain bool // without a hull: an empty network namespace is all there is
	Open  bool // without anything: in the host's namespaces
	Bare  bool // in a hull, with the capabilities of the process that made it
}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "launcher":
			os.Exit(launcher())
		case "child":
			os.Exit(child())
		}
		if role, ok := strings.CutPrefix(os.Args[1], "role:"); ok {
			os.Exit(play(role, os.Args[2:]))
		}
	}
	if slices.ContainsFunc(os.Args, func(arg string) bool { return strings.HasPrefix(arg, "-test.fuzzworker") }) {
		os.Exit(m.Run()) // it talks over descriptors that do not pass through, and needs no host
	}
	if os.Getenv(insideVar) == "" {
		os.Exit(outside(m))
	}
	if err := settle(); err != nil {
		fmt.Fprintln(os.Stderr, "hull: the tests' own host:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// outside starts the tests in their own host, or tells that there can be none.
func outside(m *testing.M) int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET}
	if os.Getuid() != 0 {
		attr, err := hull.Attr()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		attr.Cloneflags &^= unix.CLONE_NEWPID
		cmd.SysProcAttr = attr
	}
	err := contain.Start(cmd)
	if errors.Is(err, contain.ErrForbidden) {
		return m.Run() // and each test says so
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func settle() error {
	if err := contain.Settle(); err != nil {
		return err
	}
	for _, dir := range []string{"/run", "/srv"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"); err != nil {
			return err
		}
	}
	// An /etc whose files can be changed.
	out, err := exec.Command("cp", "-a", "/etc/.", "/srv/etc").CombinedOutput()
	if err != nil && os.Getuid() == 0 { // others may not read all of it
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := unix.Mount("/srv/etc", "/etc", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	passwd, err := os.OpenFile("/etc/passwd", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer passwd.Close()
	if _, err := fmt.Fprintf(passwd, "hull-test:x:%d:%d::/:/bin/sh\n", user, user); err != nil {
		return err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, self); err != nil {
		return err
	}
	return to.Close()
}

// launcher plays the process that wants a program contained.
func launcher() int {
	var s spec
	if err := json.Unmarshal([]byte(os.Getenv(specVar)), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	relative, unplaced, err := hull.Relative()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Plan.Relative, s.Plan.Unplaced = relative, unplaced
	text, err := json.Marshal(s)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	os.Setenv(specVar, string(text))
	cmd := exec.Command(program, "child")
	attr, err := hull.Attr()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd.SysProcAttr = attr
	if s.Plain || s.Open {
		cmd = exec.Command(s.Args[0], s.Args[1:]...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, UidMappings: attr.UidMappings, GidMappings: attr.GidMappings}
		if s.Open {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
	}
	cmd.Env = os.Environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := contain.Start(cmd); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	restore := hull.Terminal()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM)
	if hull.Foreground() {
		signal.Notify(signals, unix.SIGINT, unix.SIGQUIT) // of the terminal: the program has it too
	}
	go func() {
		for s := range signals {
			if s == unix.SIGTERM {
				_ = cmd.Process.Signal(s)
			}
		}
	}()
	_ = cmd.Wait()
	restore()
	return cmd.ProcessState.ExitCode()
}

// child plays the process that makes the hull and is the program's init.
func child() int {
	var s spec
	err := json.Unmarshal([]byte(os.Getenv(specVar)), &s)
	if err == nil {
		var h *hull.Hull
		var sockets []string
		if sockets, err = hull.Sockets(); err == nil {
			h, err = hull.Enter(s.Plan, sockets)
		}
		if err == nil {
			if s.Bare {
				return bare(s.Args)
			}
			var p *hull.Program
			if p, err = h.Start(s.Args); err == nil {
				if os.Getenv("HULL_TEST_REPORT") != "" {
					fmt.Fprintf(os.Stderr, "%+v\n", h.Report())
				}
				status, err := p.Wait()
				if err != nil {
					fmt.Fprintln(os.Stderr, "ERROR", err)
					return 125
				}
				if status.Signaled() {
					return 128 + int(status.Signal())
				}
				return status.ExitStatus()
			}
		}
	}
	fmt.Fprintln(os.Stderr, "ERROR", err)
	return 125
}

func bare(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	for c := range 41 {
		cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(c))
	}
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode()
}

// result is what a program did.
type result struct {
	out, err string
	code     int
}

// launch runs a program contained, or plain, as a user of this host.
type launch struct {
	t     *testing.T
	uid   int
	spec  spec
	env   []string
	files []*os.File // 0, 1 and 2 where given, and more
	dir   string
}

// users runs a test as root and as an ordinary user, as far as this process is root.
func users(t *testing.T, f func(t *testing.T, l *launch)) {
	needHost(t)
	uids := map[string]int{"as the user": os.Getuid()}
	if os.Getuid() == 0 {
		uids = map[string]int{"as root": 0, "as an ordinary user": user}
	}
	for name, uid := range uids {
		t.Run(name, func(t *testing.T) {
			f(t, &launch{t: t, uid: uid, spec: spec{Plan: hull.Plan{Dir: "/", ResolvConf: "nameserver 192.0.2.53\n"}}})
		})
	}
}

func needHost(t *testing.T) {
	t.Helper()
	if os.Getenv(insideVar) == "" {
		lacking(t, "this host allows no namespaces")
	}
}

// lacking skips the test because something is missing, or fails it where everything is required, as the lab does.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("WATERTIGHT_LAB") == "required" {
		t.Fatal("WATERTIGHT_LAB=required: " + what)
	}
	t.Skip("NOT TESTED: " + what)
}

func (l *launch) cmd(args ...string) *exec.Cmd {
	l.t.Helper()
	s := l.spec
	s.Args = args
	if s.Plan.Env == nil {
		s.Plan.Env = append(append([]string(nil), l.env...), "PATH=/usr/bin:/bin", "HOME=/") // the first of a name counts
	}
	text, err := json.Marshal(s)
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.CommandContext(l.t.Context(), program, "launcher")
	cmd.Env = []string{specVar + "=" + string(text), "PATH=/usr/bin:/bin", "HULL_TEST_REPORT=" + os.Getenv("HULL_TEST_REPORT")}
	cmd.Dir = cmp.Or(l.dir, s.Plan.Dir)
	if l.uid != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(l.uid), Gid: uint32(l.uid)}}
	}
	return cmd
}

// run runs a program and waits for it.
func (l *launch) run(args ...string) result {
	l.t.Helper()
	return l.do(l.cmd(args...))
}

func (l *launch) do(cmd *exec.Cmd) result {
	l.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if len(l.files) > 0 {
		cmd.Stdin = l.files[0]
		cmd.ExtraFiles = l.files[1:]
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// plain gives the same without a hull, open without namespaces, bare with all capabilities.
func (l *launch) plain() *launch { return l.with(func(s *spec) { s.Plain = true }) }
func (l *launch) open() *launch  { return l.with(func(s *spec) { s.Open = true }) }
func (l *launch) bare() *launch  { return l.with(func(s *spec) { s.Bare = true }) }

func (l *launch) with(change func(*spec)) *launch {
	other := *l
	change(&other.spec)
	return &other
}

// role runs this binary in one of the roles of a hostile program.
func (l *launch) role(role string, args ...string) result {
	l.t.Helper()
	return l.run(append([]string{program, "role:" + role}, args...)...)
}
