package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/config"
	"watertight/guard"
)

// wall is a guard in memory.
type wall struct {
	mu      sync.Mutex
	state   guard.State
	broken  error // of Restore
	unseen  error // of Look
	deaf    error // of Watch
	looks   int
	tried   []time.Time // Restore
	changed func()
	after   func() // each Restore
}

func (w *wall) Look(context.Context) (guard.State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return w.state, w.unseen
}

func (w *wall) Restore(context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tried = append(w.tried, time.Now())
	if w.broken != nil {
		return false, w.broken
	}
	if !w.state.Armed || w.state.Held {
		return false, nil
	}
	w.state.Held, w.state.Why = true, ""
	if w.after != nil {
		w.after()
	}
	return true, nil
}

func (w *wall) Watch(ctx context.Context, changed func()) error {
	w.mu.Lock()
	w.changed = changed
	deaf := w.deaf
	w.mu.Unlock()
	if deaf != nil {
		return deaf
	}
	<-ctx.Done()
	return nil
}

// set makes another state of it, and tells who listens.
func (w *wall) set(f func(*guard.State)) {
	w.mu.Lock()
	f(&w.state)
	tell := w.changed
	w.mu.Unlock()
	if tell != nil {
		tell()
	}
}

func (w *wall) restores() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.tried)
}

func flushed(s *guard.State) {
	s.Held, s.Why, s.Counters = false, "the tables are gone", guard.Counters{}
}

// watchedWall runs the watch of a guard under a configuration, and gives its log.
func watchedWall(t *testing.T, w *wall, conf string, f func(g *guarded, log *bytes.Buffer)) {
	t.Helper()
	c := (&world{t: t}).parse(conf)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		g := newGuarded(w, slog.New(slog.NewTextHandler(&log, nil)), func() *config.Config { return c })
		var running sync.WaitGroup
		running.Go(func() { g.run(ctx) })
		synctest.Wait()
		f(g, &log)
		stop()
		running.Wait()
	})
}

func TestAGuardThatSomebodyFlushesIsPutBackAndCounted(t *testing.T) {
	on := guard.State{Armed: true, Held: true, Mark: config.GuardMark, Since: time.Unix(1_900_000_000, 0), Counters: guard.Counters{DNS: 3}}
	w := &wall{state: on}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		if s := g.status(); s == nil || s.State != guardOn || s.Why != "" || s.Restored != 0 || !s.Since.Equal(on.Since) || s.Counters.DNS != 3 {
			t.Errorf("at first: %+v", s)
		}
		w.set(func(s *guard.State) { s.Counters.DNS = 5 })
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		w.set(flushed)
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		w.set(func(s *guard.State) { s.Counters = guard.Counters{DNS: 2, Raw: 1} })
		time.Sleep(guardLook)
		synctest.Wait()
		s, m := g.status(), g.metrics()
		if s.State != guardOn || s.Restored != 1 || s.LastRestored == nil || *s.Counters != (guard.Counters{DNS: 2, Raw: 1}) {
			t.Errorf("afterwards: %+v", s)
		}
		if !m.Armed || !m.Held || m.Restored != 1 || m.Refused != (guard.Counters{DNS: 7, Raw: 1}) {
			t.Errorf("in the metrics: %+v", m)
		}
		if n := strings.Count(log.String(), "was put back"); n != 1 || !strings.Contains(log.String(), "the tables are gone") {
			t.Errorf("%d times in the log: %s", n, log)
		}
	})
}

func TestAGuardThatIsChangedWithoutAWordIsSeenWithinTenSeconds(t *testing.T) {
	w := &wall{state: guard.State{Armed: true, Held: true, Mark: config.GuardMark}, deaf: errors.New("operation not permitted")}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		w.set(flushed)
		time.Sleep(guardLook)
		synctest.Wait()
		if g.status().State != guardOn || w.restores() != 1 {
			t.Errorf("%+v", g.status())
		}
		time.Sleep(5 * guardLook)
		if n := strings.Count(log.String(), "not heard of"); n != 1 {
			t.Errorf("that nothing is heard of stands %d times in the log", n)
		}
	})
}

func TestAToolThatFightsTheGuardCostsLittle(t *testing.T) {
	w := &wall{state: guard.State{Armed: true, Held: true, Mark: config.GuardMark}}
	w.after = func() { // it is flushed again at once
		flushed(&w.state)
		w.changed()
	}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		w.set(flushed)
		time.Sleep(time.Minute - guardPause)
		synctest.Wait()
		if most := int(time.Minute / guardPause); w.restores() < most/2 || w.restores() > most {
			t.Errorf("it was put back %d times in a minute", w.restores())
		}
		if s := g.status(); s.State != guardChanged || s.Why == "" || s.Restored != uint64(w.restores()) {
			t.Errorf("%+v", s)
		}
		if n := strings.Count(log.String(), "\n"); n > 5 {
			t.Errorf("%d lines of the log: %s", n, log)
		}
	})
}

func TestAGuardIsNeverTurnedOnByTheProgram(t *testing.T) {
	w := &wall{}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := g.status(); s.State != guardOff || s.Since != nil || s.Counters != nil || w.restores() != 0 {
			t.Errorf("%+v, %d", s, w.restores())
		}
		if n := strings.Count(log.String(), "`watertight guard on`"); n != 1 {
			t.Errorf("%d times in the log: %s", n, log)
		}
		w.set(func(s *guard.State) { *s = guard.State{Armed: true, Held: true, Mark: 5} })
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		if s := g.status(); s.State != guardOn || !strings.Contains(s.Why, "mark 5") {
			t.Errorf("with another mark: %+v", s)
		}
		w.set(func(s *guard.State) {
			s.Mark, s.Allow = config.GuardMark, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		})
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		if s := g.status(); s.State != guardOn || !strings.Contains(s.Why, "other networks") {
			t.Errorf("with other networks: %+v", s)
		}
		w.set(func(s *guard.State) { *s = guard.State{Why: "there are tables"} })
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		if s := g.status(); s.State != guardChanged || s.Why != "there are tables" || w.restores() != 0 {
			t.Errorf("with tables of nobody: %+v", s)
		}
	})
}

func TestAGuardThatCannotBePutBackIsSaidToBe(t *testing.T) {
	w := &wall{state: guard.State{Armed: true, Mark: config.GuardMark, Why: "gone"}, broken: errors.New("nft is not there")}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		if s := g.status(); s != nil || w.restores() != 1 {
			t.Errorf("after one attempt, which may have come amiss: %+v", s)
		}
		time.Sleep(guardPause + time.Millisecond)
		synctest.Wait()
		if s, m := g.status(), g.metrics(); s == nil || s.State != guardChanged || s.Why != "nft is not there" || m.Held || !m.Armed {
			t.Errorf("%+v, %+v", s, m)
		}
		w.mu.Lock()
		w.broken, w.unseen = nil, errors.New("the file is torn")
		w.state = guard.State{}
		w.mu.Unlock()
		time.Sleep(guardLook)
		synctest.Wait()
		if s := g.status(); s.State != guardUnknown || s.Why != "the file is torn" {
			t.Errorf("%+v", s)
		}
	})
}

func TestAGuardThatComesAndGoesFillsNoLog(t *testing.T) {
	w := &wall{}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		for i := range 120 {
			w.set(func(s *guard.State) { *s = guard.State{Armed: i%2 == 0, Held: true, Mark: config.GuardMark} })
			time.Sleep(500 * time.Millisecond)
		}
		time.Sleep(guardLook)
		synctest.Wait()
		if n := strings.Count(log.String(), "\n"); n < 2 || n > 8 || !strings.Contains(log.String()[strings.LastIndex(strings.TrimSpace(log.String()), "\n")+1:], "is off") {
			t.Errorf("%d lines: %s", n, log)
		}
	})
}

// `guard on` notes what should hold before it loads it, and what came of it afterwards.
func TestAGuardThatIsBeingTurnedOnIsLeftAlone(t *testing.T) {
	w := &wall{}
	watchedWall(t, w, "{guard: {}}", func(g *guarded, log *bytes.Buffer) {
		w.set(func(s *guard.State) {
			*s = guard.State{Armed: true, Why: "other rules", Mark: config.GuardMark, Since: time.Now()}
		})
		time.Sleep(guardArm / 2)
		w.set(func(s *guard.State) { s.Held, s.Why = true, "" })
		time.Sleep(guardArm)
		synctest.Wait()
		if s := g.status(); s.State != guardOn || s.Restored != 0 || w.restores() != 0 {
			t.Errorf("%+v", s)
		}
		w.set(func(s *guard.State) { // by one that was killed while it was at it
			*s = guard.State{Armed: true, Why: "gone", Mark: config.GuardMark, Since: time.Now()}
		})
		time.Sleep(guardArm + guardPause)
		synctest.Wait()
		if s := g.status(); s.State != guardOn || s.Restored != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestWithoutAGuardInTheConfigurationNobodyLooksAtIt(t *testing.T) {
	w := &wall{state: guard.State{Armed: true, Why: "gone"}}
	watchedWall(t, w, "{}", func(g *guarded, log *bytes.Buffer) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if w.looks != 0 || w.restores() != 0 || g.status() != nil || g.metrics() != nil || log.Len() > 0 {
			t.Errorf("%d looks, %+v, %s", w.looks, g.status(), log)
		}
	})
}
