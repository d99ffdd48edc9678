package daemon

import (
	"maps"

	"watertight/control"
	"watertight/leaktest/regular"
	"watertight/metrics"
)

// testStatus is how the program tests itself, for the control surface; nil where it does not.
func (d *Daemon) testStatus() *control.LeakTest {
	t := &d.tests
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.setting.IsZero() {
		return nil
	}
	s := &control.LeakTest{Running: string(t.schedule.Running()), Next: instant(t.schedule.Next()), Closed: t.valve.Closed()}
	if h := t.setting.history; h != nil {
		s.History = h.Path()
	}
	if o := t.last; o != nil {
		s.Last = &control.Outcome{At: o.At.UTC(), TookMS: o.Took.Milliseconds(), Cause: string(o.Cause), Verdict: o.Verdict, Cases: o.Cases}
	}
	return s
}

// testMetrics is the same for the metrics.
func (d *Daemon) testMetrics() *metrics.LeakTestState {
	t := &d.tests
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.setting.IsZero() {
		return nil
	}
	s := &metrics.LeakTestState{Runs: maps.Clone(t.runs), Closed: t.valve.Closed() != nil, Untold: t.hook.Failed()}
	if o := t.last; o != nil {
		s.Last, s.Took, s.Verdict = o.At, o.Took, o.Verdict
		s.Cases = map[string]int{
			regular.Sealed: o.Cases.Sealed, regular.Leak: o.Cases.Leak, regular.Inconclusive: o.Cases.Inconclusive, "skipped": o.Cases.Skipped,
		}
	}
	return s
}
