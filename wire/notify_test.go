package wire

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// managed is a process with a service manager that hears what it is told.
func managed(t *testing.T, path string) (Manager, *net.UnixConn) {
	t.Helper()
	hears, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hears.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	m, err := ServiceManager()
	if err != nil {
		t.Fatal(err)
	}
	return m, hears
}

func hear(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestManagerIsToldEachState(t *testing.T) {
	m, c := managed(t, filepath.Join(t.TempDir(), "notify"))
	if !m.Present() {
		t.Error("the manager is not present")
	}
	for _, tell := range []struct {
		name string
		do   func() error
		want string
	}{
		{"ready", func() error { return m.Ready("2 channels") }, `^READY=1\nSTATUS=2 channels$`},
		{"reloading", m.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[0-9]+$`},
		{"status", func() error { return m.Status("fine") }, `^STATUS=fine$`},
		{"stopping", m.Stopping, `^STOPPING=1$`},
	} {
		if err := tell.do(); err != nil {
			t.Fatalf("%s: %v", tell.name, err)
		}
		if got := hear(t, c); !regexp.MustCompile(tell.want).MatchString(got) {
			t.Errorf("%s: the manager heard %q", tell.name, got)
		}
	}
}

func TestManagerIsReachedInTheAbstractNamespace(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has the abstract namespace")
	}
	m, c := managed(t, "@watertight-test-"+strconv.Itoa(os.Getpid()))
	if err := m.Stopping(); err != nil {
		t.Fatal(err)
	}
	if got := hear(t, c); got != "STOPPING=1" {
		t.Errorf("the manager heard %q", got)
	}
}

func TestReloadingCarriesTheMonotonicClock(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has systemd")
	}
	m, c := managed(t, filepath.Join(t.TempDir(), "notify"))
	before := monotonicMicroseconds()
	if err := m.Reloading(); err != nil {
		t.Fatal(err)
	}
	_, usec, _ := strings.Cut(hear(t, c), "MONOTONIC_USEC=")
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n < before || n > monotonicMicroseconds() || before <= 0 {
		t.Errorf("the clock is %q, and it was %d before", usec, before)
	}
}

func TestStatusCannotHoldAnotherAssignment(t *testing.T) {
	m, c := managed(t, filepath.Join(t.TempDir(), "notify"))
	if err := m.Status("a\nMAINPID=1\x00" + strings.Repeat("é", 500)); err != nil {
		t.Fatal(err)
	}
	got := hear(t, c)
	if strings.ContainsAny(got, "\n\x00") || len(got) > len("STATUS=")+maxStatus {
		t.Errorf("the manager heard %q", got)
	}
}

func TestWithoutAManagerNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	m, err := ServiceManager()
	if err != nil || m.Present() {
		t.Fatalf("a manager is present: %v", err)
	}
	for _, err := range []error{m.Ready(""), m.Reloading(), m.Stopping(), m.Status("x")} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestServiceManagerLeavesNothingForChildren(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	managed(t, filepath.Join(t.TempDir(), "notify"))
	for _, v := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if s, ok := os.LookupEnv(v); ok {
			t.Errorf("%s=%s is left for children", v, s)
		}
	}
}

func TestServiceManagerRefusesWhatItCannotObey(t *testing.T) {
	for _, v := range []struct{ path, usec string }{
		{"vsock:2:1234", ""}, {"relative/path", ""}, {"/run/x", "soon"}, {"/run/x", "-5"}, {"/run/x", "0"}, {"/run/x", "9223372036854775807"},
	} {
		t.Run(v.path+" "+v.usec, func(t *testing.T) {
			t.Setenv("NOTIFY_SOCKET", v.path)
			t.Setenv("WATCHDOG_USEC", v.usec)
			t.Setenv("WATCHDOG_PID", "")
			if m, err := ServiceManager(); err == nil {
				t.Errorf("it was taken: %+v", m)
			}
		})
	}
}

func TestAManagerThatIsGoneIsAnError(t *testing.T) {
	m, c := managed(t, filepath.Join(t.TempDir(), "notify"))
	c.Close()
	if err := m.Ready(""); err == nil {
		t.Error("nobody heard it, and that is no error")
	}
}

func TestWatchdogBeatsWhileTheProcessIsAlive(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m, c := managed(t, filepath.Join(t.TempDir(), "notify"))
	if m.watchdog != 2*time.Millisecond {
		t.Fatalf("the watchdog's interval is %v", m.watchdog)
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	done := make(chan error, 1)
	go func() {
		done <- m.Watchdog(ctx, func() bool { asked++; return asked != 2 && asked < 5 })
	}()
	for range 3 { // the first, the third and the fourth
		if got := hear(t, c); got != "WATCHDOG=1" {
			t.Errorf("the manager heard %q", got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if asked < 4 {
		t.Errorf("the process was asked %d times whether it is alive, for 3 beats", asked)
	}
}

func TestWatchdogOfAnotherProcessIsNotObeyed(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()+1))
	m, _ := managed(t, filepath.Join(t.TempDir(), "notify"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Watchdog(ctx, func() bool { t.Error("asked"); return true }); err != nil {
		t.Error(err)
	}
}
