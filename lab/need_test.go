package lab

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/lab/internet"
)

// listener hears how a test would have ended.
type listener struct {
	testing.TB
	skipped, failed string
}

func (l *listener) Skipf(format string, args ...any) {
	l.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (l *listener) Fatalf(format string, args ...any) {
	l.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// hear gives how a test would have ended in what f does.
func hear(t *testing.T, f func(t testing.TB)) (skipped, failed string) {
	l := &listener{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() { f(l) })
	wg.Wait()
	return l.skipped, l.failed
}

func TestNeed_AModuleThatPythonLacksIsNamedInASkipOrAFailure(t *testing.T) {
	Need(t, "python3")
	for _, required := range []bool{false, true} {
		t.Setenv(requiredVar, map[bool]string{true: "required"}[required])
		skipped, failed := hear(t, func(t testing.TB) { NeedPython(t, "python3", "sys", "no_such_module") })
		said, other := skipped, failed
		if required {
			said, other = failed, skipped
		}
		if !strings.Contains(said, "python3 with the modules sys, no_such_module") || other != "" {
			t.Errorf("required: %v; skipped with %q, failed with %q", required, skipped, failed)
		}
		if skipped, failed := hear(t, func(t testing.TB) { NeedPython(t, "python3", "sys") }); skipped+failed != "" {
			t.Errorf("a module that is there: skipped with %q, failed with %q", skipped, failed)
		}
	}
}

func TestRun_AProgramThatDoesNotEndIsNamed(t *testing.T) {
	in := New(t, internet.V4)
	_, failed := hear(t, func(t testing.TB) {
		runFor(t, in.Client.Program("/bin/sh", "-c", "echo begun; exec tail -f /dev/null"), time.Second)
	})
	if !strings.Contains(failed, "/bin/sh did not end in 1s") || !strings.Contains(failed, "begun") {
		t.Errorf("failed with %q", failed)
	}
}

func TestAwait_SaysWhatWasWaitedFor(t *testing.T) {
	in := New(t, internet.V4)
	lasting := Must(in.Client.Program("/bin/sh", "-c", "exec tail -f /dev/null").Start(t.Context()))(t)
	hurry, cancel := context.WithCancel(t.Context())
	cancel()
	if err := lasting.AwaitTCP(hurry, in.Client.At(1080)); err == nil || !strings.Contains(err.Error(), "/bin/sh did not listen on 192.168.77.10:1080") {
		t.Errorf("got %v", err)
	}
	short := Must(in.Client.Program("/bin/sh", "-c", "echo bye").Start(t.Context()))(t)
	if _, err := short.AwaitOutput(t.Context(), "ready"); !errors.Is(err, internet.ErrEndedEarly) || !strings.Contains(err.Error(), `was to write "ready"`) {
		t.Errorf("got %v", err)
	}
}
