package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watertight/config"
	outcomes "watertight/leaktest/history"
	"watertight/leaktest/regular"
	"watertight/netwatch"
	"watertight/state"
	"watertight/webhook"
)

// selfTests is how the program tests itself by itself.
type selfTests struct {
	schedule *regular.Schedule
	valve    *regular.Valve
	hook     *webhook.Teller
	// test makes one test.
	test     func(ctx context.Context, cause regular.Cause) regular.Outcome
	underWay atomic.Bool            // a test
	zone     atomic.Pointer[string] // of the canary
	clients  testClients

	mu      sync.Mutex // guards what follows
	setting testSetting
	last    *regular.Outcome
	before  string            // the verdict of the test before last; empty where it is not known
	runs    map[string]uint64 // by verdict
}

// testSetting is what a configuration asks of the tests.
type testSetting struct {
	config.LeakTest
	store   regular.Store     // nil: nothing is kept
	history *outcomes.History // nil: nothing is kept
}

// newTests makes what tests, and tests nothing yet.
func (d *Daemon) newTests() (err error) {
	t := &d.tests
	t.runs, t.test = map[string]uint64{}, d.testOnce
	if t.valve, err = regular.NewValve(d.o.Log); err != nil {
		return err
	}
	if t.hook, err = webhook.New(d.o.Log); err != nil {
		return err
	}
	t.schedule, err = regular.New(regular.Options{
		Test:   d.testRegularly,
		Closed: func() bool { return t.valve.Closed() != nil },
		Random: rand.N[time.Duration],
	})
	return err
}

// testsOf gives what a configuration asks of the tests.
func (d *Daemon) testsOf(c *config.Config) (testSetting, error) {
	s := testSetting{LeakTest: c.LeakTest}
	if s.IsZero() {
		return s, nil
	}
	dir := stateDir(c, d.o.State)
	if dir != "" {
		store, err := state.New(dir)
		if err != nil {
			return s, err
		}
		s.store = store
	}
	if s.OnLeak == config.OnLeakClose && s.store == nil {
		return s, errors.New("`on_leak: close` needs a directory in which it is kept that a leak was found, and none is known: write `state: DIR`")
	}
	path := s.History
	if path == "" && dir != "" {
		path = filepath.Join(dir, outcomes.File)
	}
	if path == "" || path == config.NoState {
		return s, nil
	}
	var err error
	s.history, err = outcomes.New(path, s.Keep, d.o.Log)
	return s, err
}

// setTests puts in force what a configuration asks of the tests.
func (d *Daemon) setTests(s testSetting) error {
	t := &d.tests
	if err := t.valve.Set(s.OnLeak == config.OnLeakClose, s.store); err != nil {
		return err
	}
	t.zone.Store(&s.Canary.Zone)
	t.mu.Lock()
	t.setting = s
	t.mu.Unlock()
	t.schedule.Set(regular.Setting{Every: s.Every, OnChange: s.OnChange, Limit: s.Limit})
	return nil
}

// resettle puts in force what a reload asks of the tests, and has it tested.
func (d *Daemon) resettle(s testSetting) {
	if err := d.setTests(s); err != nil {
		d.o.Log.Error("the leak test could not be changed", "error", err) // it was checked: a fault of the program
	}
	d.tests.schedule.Changed(regular.Configuration)
}

// whatChanged is reason for a test.
func whatChanged(k netwatch.Kind) regular.Cause {
	switch k {
	case netwatch.Resume:
		return regular.Resume
	case netwatch.Resolver:
		return regular.Resolver
	}
	return regular.Network
}

// closed says why nothing goes out by any channel, or nil. While a test runs, names of the canary's zone do: else no test could
// be clean again.
func (d *Daemon) closed(names func() []string) error {
	c := d.tests.valve.Closed()
	if c == nil {
		return nil
	}
	if zone := *d.tests.zone.Load(); zone != "" && d.tests.underWay.Load() {
		all := names()
		outside := func(name string) bool { return name != zone && !strings.HasSuffix(name, "."+zone) }
		if len(all) > 0 && !slices.ContainsFunc(all, outside) {
			return nil
		}
	}
	return c.Fault()
}

// Accept opens by a person's word what a leak has closed, and gives what was closed; nil where nothing was.
func (d *Daemon) Accept() *regular.Closure { return d.tests.valve.Accept() }

// Outcomes gives what came of the tests, the latest first.
func (d *Daemon) Outcomes(ctx context.Context, f outcomes.Filter) ([]outcomes.Run, error) {
	d.tests.mu.Lock()
	h := d.tests.setting.history
	d.tests.mu.Unlock()
	if h == nil {
		return nil, errors.New("the running proxy keeps no outcomes: it has no `leaktest`, or no place for its history")
	}
	return h.Read(ctx, f)
}
