package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"watertight/control"
	"watertight/lab"
)

// attach prepares `watertight exec --attach` to the proxy that runs with the world's configuration.
func (w *world) attach(args ...string) *exec.Cmd {
	cmd := w.exec(os.Getuid(), append([]string{"--attach"}, args...)...)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+w.dir)
	return cmd
}

// status is what the proxy tells.
func (x *proxy) status(t *testing.T) (s control.Status) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "status", "--json", "-c", x.config())
	cmd.Args[0] = "watertight"
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+x.dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for what must come.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// descriptors counts those of a process.
func descriptors(t *testing.T, pid int) int {
	t.Helper()
	return len(lab.Must(os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)))(t))
}

func TestAttach_TheRunningProxyCarriesTheProgram(t *testing.T) {
	lab.Need(t, "curl", "dig")
	w := execWorld(t)
	x := startProxy(t, w)
	for _, args := range [][]string{nil, {"--channel", "direct"}} {
		for _, family := range []string{"-4", "-6"} {
			out, errs, code := outcome(t, w.attach(append(args, "--", "curl", "--silent", "--show-error", family, "http://"+w.plain+"/hello")...))
			if out != "hello from "+w.plain+" /hello\n" || code != 0 || errs != "" {
				t.Errorf("%v curl %s: %q, exit code %d: %s", args, family, out, code, errs)
			}
		}
	}
	out, errs, code := outcome(t, w.attach("--", "dig", "+short", "@8.8.8.8", "text.shop.example.net", "TXT"))
	if out != "\"hello world\"\n" || code != 0 {
		t.Errorf("dig: %q, exit code %d: %s", out, code, errs)
	}
	if out, errs, code := outcome(t, w.attach("--", "sh", "-c", "exit 7")); code != 7 || out != "" || errs != "" {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	until(t, "the proxy lets go of the programs", func() bool { s := x.status(t); return s.Contained != nil && len(s.Contained.List) == 0 })
	if s := x.status(t); s.Contained.Total != 6 {
		t.Errorf("%+v", s.Contained)
	}
}

// fetches is a program that fetches, says how it ended, and waits for a line, again and again.
const fetches = `while :; do curl --no-buffer --silent --show-error --max-time 60 "$0" 2>&1; echo "code $?"; read line || exit; done`

// running is a program that was attached, and waits.
type attachedProgram struct {
	*program
	in io.WriteCloser
}

func startAttached(t *testing.T, w *world, args ...string) *attachedProgram {
	t.Helper()
	p := &program{cmd: w.attach(args...), out: newText(), errors: newText(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.errors
	in := lab.Must(p.cmd.StdinPipe())(t)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.ended })
	return &attachedProgram{p, in}
}

func (p *attachedProgram) awaits(t *testing.T, pattern string) {
	t.Helper()
	if _, err := p.out.await(regexp.MustCompile(pattern), p.ended); err != nil {
		t.Fatalf("%v: %s%s", err, p.out, p.errors)
	}
}

func TestAttach_AProgramWhoseProxyIsKilledIsRefusedAndNeverCarriedOtherwise(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	x := startProxy(t, w)
	p := startAttached(t, w, "--", "sh", "-c", fetches, "http://"+w.plain+"/hello")
	p.awaits(t, "hello from .*\ncode 0\n")
	asked := len(w.asked())
	x.stopped = true
	_ = x.cmd.Process.Kill()
	<-x.ended
	if _, err := p.errors.await(regexp.MustCompile("watertight: sh has no network any more: the running proxy does not carry it any more"), p.ended); err != nil {
		t.Fatal(err, p.errors)
	}
	fmt.Fprintln(p.in)
	p.awaits(t, `code 0\n(?s:.*)code [1-9]`)
	if n := len(w.asked()); n != asked {
		t.Errorf("an origin was reached %d times more", n-asked)
	}
	if n := strings.Count(p.errors.String(), "\n"); n != 1 {
		t.Errorf("%d lines of errors: %s", n, p.errors)
	}
	// Another proxy with the same configuration does not get it by itself.
	startProxy(t, w)
	fmt.Fprintln(p.in)
	p.awaits(t, `(?s:code [1-9].*code [1-9])`)
	_ = p.in.Close()
	if _, err := p.end(); err != nil {
		t.Error(err)
	}
}

func TestAttach_AProgramWhoseProxyStopsHearsItAndTheProxyDoesNotWait(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	x := startProxy(t, w)
	p := startAttached(t, w, "--", "sh", "-c", fetches, "http://"+w.plain+"/events") // which does not end by itself
	p.awaits(t, "data: 0")
	x.stopped = true
	x.stop()
	p.awaits(t, `curl: .*\ncode [1-9]`)
	if _, err := p.errors.await(regexp.MustCompile("has no network any more"), p.ended); err != nil {
		t.Error(err)
	}
}

func TestAttach_TheProxyLetsGoOfAllOfAProgramThatIsKilled(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	x := startProxy(t, w)
	outcome(t, w.attach("--", "curl", "--silent", "http://"+w.plain+"/hello")) // what is opened once is open
	until(t, "the first is gone", func() bool { s := x.status(t); return s.Contained != nil && len(s.Contained.List) == 0 })
	before := 0
	until(t, "the number of descriptors rests", func() bool {
		last := before
		before = descriptors(t, x.cmd.Process.Pid)
		return before == last
	})
	p := startAttached(t, w, "--channel", "direct", "--", "sh", "-c", fetches, "http://"+w.plain+"/events")
	p.awaits(t, "data: 0")
	s := x.status(t)
	if s.Contained == nil || len(s.Contained.List) != 1 {
		t.Fatalf("%+v", s.Contained)
	}
	if one := s.Contained.List[0]; one.PID != p.cmd.Process.Pid || one.Channel != "direct" || one.Connections != 1 || one.Names != 1 || one.Queries == 0 {
		t.Errorf("%+v", one)
	}
	if n := descriptors(t, x.cmd.Process.Pid); n < before+10 {
		t.Errorf("%d descriptors, and %d before: they are not counted as they should", n, before)
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	until(t, "as many descriptors as before", func() bool { return descriptors(t, x.cmd.Process.Pid) <= before })
	if s := x.status(t); len(s.Contained.List) != 0 || s.Tunnels.Active != 0 {
		t.Errorf("%+v, %+v", s.Contained, s.Tunnels)
	}
}

func TestAttach_AReloadCountsForTheNextConnection(t *testing.T) {
	lab.Need(t, "curl")
	w := execWorld(t)
	x := startProxy(t, w)
	p := startAttached(t, w, "--", "sh", "-c", fetches, "http://"+w.plain+"/hello")
	p.awaits(t, "hello from .*\ncode 0\n")
	asked := len(w.asked())
	if err := os.WriteFile(w.config(), []byte(w.configText("private_targets: allow")+"routes: [{to: '*', channel: refuse}]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := x.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	until(t, "the reload", func() bool { return x.status(t).Config.Reloads == 1 })
	fmt.Fprintln(p.in)
	p.awaits(t, `code 0\n(?s:.*)code [1-9]`)
	if n := len(w.asked()); n != asked {
		t.Errorf("an origin was reached %d times more", n-asked)
	}
}

func TestAttach_WithoutARunningProxyNothingIsStarted(t *testing.T) {
	w := execWorld(t)
	if err := os.Chmod(w.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	touch := filepath.Join(w.dir, "started")
	refused := func(want string, args ...string) {
		t.Helper()
		out, errs, code := outcome(t, w.attach(append(args, "--", "touch", touch)...))
		if code != 125 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d: %s%s", args, code, out, errs)
		}
	}
	refused("start it with `watertight run`")
	for _, flag := range []string{"--resolver=cloudflare", "--ca=/etc/passwd", "--via=http://127.0.0.1:1", "--log-level=info", "--log-format=json", "--real-addresses"} {
		refused("does not go with --attach", flag)
	}
	startProxy(t, w)
	refused(`there is no channel "other"; the running proxy has direct`, "--channel", "other")
	refused("is not the address of a running proxy", "--listen", "localhost")
	refused("the running proxy has its listeners", "--dns", "127.0.0.1:1")
	if _, err := os.Stat(touch); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the program was started: %v", err)
	}
}

// TestExec_FlagsOfEveryCommandAreTaken: nothing listens by them, which is said, and one that is wrong is wrong here too.
func TestExec_FlagsOfEveryCommandAreTaken(t *testing.T) {
	w := execWorld(t)
	out, errs, code := outcome(t, w.exec(os.Getuid(), "--listen", "127.0.0.1:1", "--dns", "127.0.0.1:2", "--", "echo", "held"))
	if code != 0 || out != "held\n" || !strings.Contains(errs, "exec opens no listener") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	out, errs, code = outcome(t, w.exec(os.Getuid(), "--dns", "0.0.0.0:53", "--", "echo", "held"))
	if code != 125 || out != "" || !strings.Contains(errs, "can be reached from other hosts") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

func TestAttach_AnotherUsersProxyIsOutOfReach(t *testing.T) {
	if os.Getuid() != 0 {
		lab.Lacking(t, "another user takes root")
	}
	w := execWorld(t)
	x := startProxy(t, w)
	sockets := lab.Must(filepath.Glob(filepath.Join(w.dir, "watertight", "*.sock")))(t)
	if len(sockets) == 0 {
		sockets = lab.Must(filepath.Glob(fmt.Sprintf("/run/watertight/%d.sock", x.cmd.Process.Pid)))(t)
	}
	if len(sockets) != 1 {
		t.Fatalf("%v", sockets)
	}
	// Even where the modes would let it in.
	for _, path := range []string{filepath.Dir(sockets[0]), sockets[0]} {
		mode := lab.Must(os.Stat(path))(t).Mode().Perm()
		defer func() { _ = os.Chmod(path, mode) }()
		if err := os.Chmod(path, mode|0o005|0o002*os.FileMode(len(filepath.Ext(path))/5)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := w.exec(ordinary, "--attach", "--", "true")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	_ = cmd.Run()
	if cmd.ProcessState.ExitCode() != 125 {
		t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), &errs)
	}
	if s := x.status(t); s.Contained != nil {
		t.Errorf("%+v", s.Contained)
	}
}
