// Package lab runs tests on a small internet of their own (see [internet]), with real clients and real servers, and
// gives the verdict on each: sealed, or not.
//
// It promises that a cell passes only if it could have failed: the same client without us was seen leaking, and a
// proxy that leaks was caught by the same checks. Where namespaces are forbidden or a program is missing, tests are
// skipped and say so; with WATERTIGHT_LAB=required in the environment they fail instead.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"watertight/capture"
	"watertight/contain"
	"watertight/lab/internet"
	"watertight/leaktest/probe"
	"watertight/leaktest/watch"
)

// Role is another program that the test binary can be: see [Self].
type Role struct {
	Name string
	Run  func(args []string) (code int)
}

const (
	roleVar   = "WATERTIGHT_LAB_ROLE"
	insideVar = "WATERTIGHT_LAB_INSIDE"
	// requiredVar set to "required" turns every skip of the lab into a failure.
	requiredVar = "WATERTIGHT_LAB"
	// pcapVar names a directory in which the packets of every failed test are kept as pcapng.
	pcapVar = "WATERTIGHT_LAB_PCAP"
)

// errForbidden is why there is no lab in this process.
var errForbidden = errors.New("TestMain does not call lab.Main")

// Main is what TestMain calls: it runs the tests in namespaces of their own, and does not return. Roles are what
// the test binary can be besides a test.
func Main(m *testing.M, roles ...Role) {
	contain.Child()
	watch.Child()
	probe.Child()
	if name, ok := os.LookupEnv(roleVar); ok {
		os.Unsetenv(roleVar)
		for _, r := range roles {
			if r.Name == name {
				os.Exit(r.Run(os.Args[1:]))
			}
		}
		fmt.Fprintf(os.Stderr, "lab: TestMain gives lab.Main no role %q\n", name)
		os.Exit(2)
	}
	if os.Getenv(insideVar) != "" {
		if err := contain.Settle(); err != nil {
			fmt.Fprintln(os.Stderr, "lab:", err)
			os.Exit(contain.ExitForbidden)
		}
		errForbidden = nil
		os.Exit(m.Run())
	}
	for _, arg := range os.Args[1:] {
		if strings.HasPrefix(arg, "-test.fuzzworker") { // it talks over descriptors that do not pass through
			os.Exit(m.Run())
		}
	}
	code, err := inside()
	if err == nil {
		os.Exit(code)
	}
	errForbidden = err
	os.Exit(m.Run())
}

// Outside says whether this process is the test binary before [Main] has put it into namespaces: the one moment at which a
// test can get something from the network. It is none of its roles, nor on the way to another program.
func Outside() bool {
	_, role := os.LookupEnv(roleVar)
	flags := slices.ContainsFunc(os.Args[1:], func(arg string) bool { return strings.HasPrefix(arg, "-test.") })
	return flags && !role && os.Getenv(insideVar) == ""
}

// inside runs this same command in new namespaces. An error means that nothing was run.
func inside() (code int, err error) {
	cmd := contain.Private(context.Background(), contain.Self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := contain.Start(cmd); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	switch code = cmd.ProcessState.ExitCode(); code {
	case contain.ExitForbidden:
		return 0, contain.ErrForbidden
	case -1:
		return 1, nil
	}
	return code, nil
}

// Lacking skips the test because something is missing, or fails it where everything is required.
func Lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(requiredVar) == "required" {
		t.Fatalf("%s=required: %s", requiredVar, fmt.Sprintf(format, args...))
	}
	t.Skipf("NOT TESTED: %s", fmt.Sprintf(format, args...))
}

// Inside skips the test, or fails it, unless it runs in namespaces of its own.
func Inside(t testing.TB) {
	t.Helper()
	if errForbidden != nil {
		Lacking(t, "no namespaces of its own: %v", errForbidden)
	}
}

// New gives the test an internet of its own, which ends with it. Where there can be none the test is skipped, or
// fails.
func New(t testing.TB, families internet.Families) *internet.Internet {
	t.Helper()
	Inside(t)
	in, err := internet.New(families)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			keep(t, in)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// keep writes the packets of a failed test where the developer asked for them.
func keep(t testing.TB, in *internet.Internet) {
	dir := os.Getenv(pcapVar)
	if dir == "" {
		return
	}
	packets, err := in.Packets()
	if err != nil {
		t.Log(err)
		return
	}
	path := filepath.Join(dir, strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())+".pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Log(err)
		return
	}
	defer f.Close()
	if err := capture.Write(f, packets); err != nil {
		t.Log(err)
		return
	}
	t.Log("packets kept in", path)
}

// Need says that the test needs these programs: if one is not installed, it is skipped or fails.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := internet.Find(p); err != nil {
			Lacking(t, "%v", err)
		}
	}
}

// NeedPerl is Need for Perl with a module.
func NeedPerl(t testing.TB, module string) {
	t.Helper()
	Need(t, "perl")
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	out, err := exec.CommandContext(ctx, Must(internet.Find("perl"))(t), "-M"+module, "-e1").CombinedOutput()
	if err != nil {
		Lacking(t, "perl with the module %s: %v\n%s", module, err, out)
	}
}

// NeedPython says that the test needs this Python with these modules: where one is missing, it is skipped or fails.
func NeedPython(t testing.TB, python string, modules ...string) {
	t.Helper()
	Need(t, python)
	path := Must(internet.Find(python))(t)
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	// Isolated (-I), as the clients run it: what a user has installed for himself does not count.
	out, err := exec.CommandContext(ctx, path, "-I", "-c", "import "+strings.Join(modules, ", ")).CombinedOutput()
	if err != nil {
		Lacking(t, "%s with the modules %s: %v\n%s", python, strings.Join(modules, ", "), err, out)
	}
}

// longest is how long a client may take. Every one has limits of its own, and ends sooner.
const longest = 2 * time.Minute

// Run lets a program run to its end, for two minutes at most. A program that does not end fails the test, which names
// it and shows what it wrote.
func Run(t testing.TB, p *internet.Program) internet.Result {
	t.Helper()
	return runFor(t, p, longest)
}

func runFor(t testing.TB, p *internet.Program, limit time.Duration) internet.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r := p.Run(ctx)
	if ctx.Err() != nil {
		t.Fatalf("%s did not end in %v (%v); it wrote:\n%s", p.Path, limit, ctx.Err(), r.Text())
	}
	return r
}

// Self prepares this test binary to run on a host as one of the roles given to [Main].
func Self(h *internet.Host, role string, args ...string) *internet.Program {
	p := h.Program(contain.Self, args...)
	p.Env = append(p.Env, roleVar+"="+role)
	return p
}

// Must gives a value, or fails the test.
func Must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
