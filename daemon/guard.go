package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"watertight/config"
	"watertight/control"
	"watertight/guard"
	"watertight/metrics"
)

// Firewall is the guard of this host, which the program watches where its configuration has a `guard`. It is turned on and off by
// commands, never by the program.
type Firewall interface {
	// Look finds what is so, and Restore loads what should hold where it does not.
	Look(ctx context.Context) (guard.State, error)
	Restore(ctx context.Context) (restored bool, err error)
	// Watch calls changed when somebody has changed the guard's rules, until ctx ends; an error says why it can do so no longer.
	Watch(ctx context.Context, changed func()) error
}

// Times of the watch.
const (
	guardLook  = 10 * time.Second // at the latest after the last look
	guardPause = time.Second / 4  // at the earliest after the last look: another tool may fight
	guardLog   = time.Minute      // between two lines of the log that say the same
	guardArm   = 3 * time.Second  // `guard on` may be at it: meanwhile its rules are not those that it has noted
)

// States of the guard, as the status has them.
const (
	guardOff     = "off"
	guardOn      = "on"
	guardChanged = "changed" // it is on, and does not hold
	guardUnknown = "unknown"
)

// guarded is the watch of the guard: what the last look found, and what was done.
type guarded struct {
	wall   Firewall // nil: it is not watched
	log    *slog.Logger
	wanted func() *config.Config // in force
	wake   chan struct{}

	mu       sync.Mutex
	looked   bool
	state    guard.State
	why      string // where the state is not known, or not as it should be
	restored uint64
	last     time.Time // of that
	refused  guard.Counters
	seen     guard.Counters // by the last look

	failed bool                 // the last look, or what was done then, of run alone
	said   map[string]time.Time // lines of the log, of run alone
	was    string               // what was logged last
	told   time.Time            // when
}

func newGuarded(wall Firewall, log *slog.Logger, wanted func() *config.Config) *guarded {
	return &guarded{wall: wall, log: log, wanted: wanted, wake: make(chan struct{}, 1), said: map[string]time.Time{}}
}

// changed says that something is to be looked at.
func (w *guarded) changed() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run looks at the guard until ctx ends.
func (w *guarded) run(ctx context.Context) {
	if w.wall == nil {
		return
	}
	var hearing sync.WaitGroup
	defer hearing.Wait()
	heard := false
	deaf := make(chan error, 1)
	for ctx.Err() == nil {
		if c := w.wanted(); c != nil && c.Guard != nil {
			if !heard {
				heard = true
				hearing.Go(func() { deaf <- w.wall.Watch(ctx, w.changed) })
			}
			if !w.look(ctx, c) {
				w.changed() // again, soon
			}
		} else {
			w.forget()
		}
		if !sleep(ctx, guardPause) {
			return
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-time.After(guardLook - guardPause):
		case err := <-deaf:
			heard = false // tried again at the next look
			if ctx.Err() == nil {
				w.say(slog.LevelWarn, "changes of the firewall are not heard of; the guard is looked at every ten seconds", "error", err)
				sleep(ctx, guardLook-guardPause)
			}
		}
	}
}

// sleep gives false where ctx has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// look looks once, and puts back what is gone. It gives false where that is to be done again soon: the rules may have been changed
// while they were read.
func (w *guarded) look(ctx context.Context, c *config.Config) bool {
	s, err := w.wall.Look(ctx)
	if since := time.Since(s.Since); err == nil && s.Armed && !s.Held && since >= 0 && since < guardArm {
		return false
	}
	restored, why := false, s.Why
	if err == nil && s.Armed && !s.Held {
		if restored, err = w.wall.Restore(ctx); restored || err == nil {
			again, failed := w.wall.Look(ctx)
			if failed == nil {
				s = again
			} else if err == nil {
				err = failed
			}
		}
	}
	before := w.failed
	if w.failed = err != nil; ctx.Err() != nil || w.failed && !before && !restored {
		return false
	}
	w.keep(s, restored, err, c)
	if restored {
		w.say(slog.LevelWarn, "the guard of this host did not hold, and was put back", "why", why)
	}
	if err != nil {
		w.say(slog.LevelError, "the guard of this host could not be looked after", "error", err)
	}
	w.tell()
	return true
}

// keep notes what was found.
func (w *guarded) keep(s guard.State, restored bool, err error, c *config.Config) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.state, w.why = true, s, s.Why
	if err != nil {
		w.why, w.state.Held = err.Error(), false
	} else if w.why == "" {
		w.why = differs(s, c)
	}
	if restored {
		w.restored++
		w.last = time.Now()
	}
	if err != nil { // the counters may not have been read
		return
	}
	now, before, sum := counts(&s.Counters), counts(&w.seen), counts(&w.refused)
	for i := range sum {
		n := *now[i]
		if n >= *before[i] { // otherwise it began anew
			n -= *before[i]
		}
		*sum[i] += n
	}
	w.seen = s.Counters
}

// forget is for a configuration without a guard.
func (w *guarded) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked, w.was, w.told = false, "", time.Time{}
}

// counts gives the counters in the order of refusedKinds.
func counts(c *guard.Counters) [6]*uint64 {
	return [6]*uint64{&c.DNS, &c.DoT, &c.LocalNames, &c.Forwarded, &c.Raw, &c.Other}
}

// differs says that the guard was turned on with another configuration.
func differs(s guard.State, c *config.Config) string {
	switch {
	case !s.Armed:
	case s.Mark != c.Mark():
		return fmt.Sprintf("it lets through what bears the mark %d, and this program's mark is %d, so that nothing is sent: `watertight guard on` takes it", s.Mark, c.Mark())
	case !sameNetworks(s.Allow, c.Guard.Allow):
		return "the configuration allows other networks than when it was turned on: `watertight guard on` takes them"
	}
	return ""
}

func sameNetworks(a, b []netip.Prefix) bool {
	sorted := func(all []netip.Prefix) []netip.Prefix {
		return slices.SortedFunc(slices.Values(all), netip.Prefix.Compare)
	}
	return slices.Equal(sorted(a), sorted(b))
}

// name is the state as the status has it.
func (w *guarded) name() string {
	switch {
	case w.state.Armed && w.state.Held:
		return guardOn
	case w.state.Armed || w.state.Why != "":
		return guardChanged
	case w.why != "":
		return guardUnknown
	}
	return guardOff
}

// tell logs that the state is another than before, once in ten seconds at most.
func (w *guarded) tell() {
	w.mu.Lock()
	now, why := w.name(), w.why
	news := now+why != w.was && (w.told.IsZero() || time.Since(w.told) >= guardLook)
	if news {
		w.was, w.told = now+why, time.Now()
	}
	w.mu.Unlock()
	switch {
	case !news:
	case now == guardOff:
		w.log.Warn("the configuration has a `guard`, and the guard of this host is off: every program can send past this one; `watertight guard on` turns it on")
	case now == guardOn && why == "":
		w.log.Info("the guard of this host is on")
	case now == guardOn:
		w.log.Warn("the guard of this host is on", "but", why)
	case now == guardChanged:
		w.log.Error("the guard of this host does not hold", "why", why)
	}
}

// say logs a line, and the same line once a minute.
func (w *guarded) say(level slog.Level, line, key string, value any) {
	id := line + fmt.Sprint(value)
	if at, ok := w.said[id]; ok && time.Since(at) < guardLog {
		return
	}
	if len(w.said) >= maxRemembered {
		clear(w.said)
	}
	w.said[id] = time.Now()
	w.mu.Lock()
	times := w.restored
	w.mu.Unlock()
	w.log.Log(context.Background(), level, line, key, value, "restored", times)
}

// status is the guard for the control surface; nil where it is not watched.
func (w *guarded) status() *control.Guard {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.looked {
		return nil
	}
	s := &control.Guard{State: w.name(), Why: w.why, Since: instant(w.state.Since), Restored: w.restored, LastRestored: instant(w.last)}
	if w.state.Armed {
		refused := w.state.Counters
		s.Counters = &refused
	}
	return s
}

// metrics is the same for the metrics.
func (w *guarded) metrics() *metrics.GuardState {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.looked {
		return nil
	}
	return &metrics.GuardState{Armed: w.state.Armed, Held: w.state.Armed && w.state.Held, Restored: w.restored, Refused: w.refused}
}

// configuration is the one in force; nil before there is one.
func (d *Daemon) configuration() *config.Config {
	if g := d.current(); g != nil {
		return g.config
	}
	return nil
}
