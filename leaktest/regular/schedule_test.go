package regular

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tests is who tests, and notes when and what for.
type tests struct {
	mu     sync.Mutex
	made   []made
	takes  time.Duration
	closed atomic.Bool
	chance time.Duration // of every thousand
	cut    bool
}

type made struct {
	cause Cause
	at    time.Duration // since the test of this program began
}

// scheduled runs a schedule under a clock of the test's own.
func scheduled(t *testing.T, n Setting, do func(s *Schedule, made *tests)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		m := &tests{takes: 10 * time.Second}
		running := false
		s, err := New(Options{
			Test: func(ctx context.Context, cause Cause) {
				m.mu.Lock()
				if running {
					t.Error("two tests run at a time")
				}
				running = true
				m.made = append(m.made, made{cause, time.Since(begun)})
				takes := m.takes
				m.mu.Unlock()
				select {
				case <-time.After(takes):
				case <-ctx.Done():
					m.mu.Lock()
					m.cut = true
					m.mu.Unlock()
				}
				m.mu.Lock()
				running = false
				m.mu.Unlock()
			},
			Closed: m.closed.Load,
			Random: func(n time.Duration) time.Duration { return n / 1000 * m.chance },
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Set(n)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Run(ctx)
		}()
		synctest.Wait()
		do(s, m)
		stop()
		<-ended
	})
}

func (m *tests) causes() (all []Cause) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.made {
		all = append(all, one.cause)
	}
	return all
}

// wants waits for a time, and wants exactly these tests to have begun until then.
func (m *tests) wants(t *testing.T, after time.Duration, causes ...Cause) {
	t.Helper()
	time.Sleep(after)
	synctest.Wait()
	if got := m.causes(); !slices.Equal(got, causes) {
		t.Errorf("%v, want %v", got, causes)
	}
}

var hourly = Setting{Every: time.Hour, OnChange: true, Limit: 5 * time.Minute}

func TestByTheClockATestIsGiveOrTakeATenthOfItsTime(t *testing.T) {
	for chance, want := range map[time.Duration]time.Duration{0: 54 * time.Minute, 500: time.Hour, 999: 66 * time.Minute} {
		scheduled(t, Setting{}, func(s *Schedule, m *tests) {
			m.chance = chance
			s.Set(hourly)
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			first := m.made[0].at
			if d := first - want; m.made[0].cause != Clock || d < -time.Minute || d > time.Minute {
				t.Errorf("chance %d: the first is at %v, want %v", chance, first, want)
			}
			if d := m.made[1].at - first - 10*time.Second - want; d < -time.Minute || d > time.Minute {
				t.Errorf("chance %d: the second is %v after the first", chance, m.made[1].at-first)
			}
		})
	}
}

func TestChangesInARowMakeOneTestOnceTheyHaveSettled(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		for range 5 {
			s.Changed(Network)
			s.Changed(Resolver)
			m.wants(t, settle-time.Second)
		}
		m.wants(t, 2*time.Second, Network)
		m.wants(t, 10*time.Minute, Network)
	})
}

func TestAStormOfChangesDoesNotPutATestOff(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		for range int(storm/time.Second) + 5 {
			s.Changed(Network)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := m.causes(); len(got) != 1 {
			t.Errorf("%v", got)
		}
	})
}

func TestChangesMakeTestsAtABoundedRate(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		for range 30 * 60 { // half an hour in which something changes all the time
			s.Changed(Network)
			time.Sleep(time.Second)
		}
		if n := len(m.causes()); n < 20 || n > 30 {
			t.Errorf("%d tests in half an hour", n)
		}
	})
}

func TestAChangeDuringATestIsReasonForAnother(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		s.Changed(Network)
		m.wants(t, settle+time.Second, Network)
		if s.Running() != Network {
			t.Errorf("%q runs", s.Running())
		}
		s.Changed(Resolver)
		m.wants(t, time.Minute, Network) // it runs for ten seconds, and then there is a minute of rest
		m.wants(t, 20*time.Second, Network, Resolver)
	})
}

func TestWhereNoTestIsToBeOnChangesThereIsNone_ButAtTheStart(t *testing.T) {
	scheduled(t, Setting{Every: time.Hour, Limit: time.Minute}, func(s *Schedule, m *tests) {
		s.Changed(Network)
		m.wants(t, 10*time.Minute)
		s.Changed(Start)
		m.wants(t, 10*time.Minute, Start)
	})
	scheduled(t, Setting{Limit: time.Minute}, func(s *Schedule, m *tests) {
		s.Changed(Start)
		m.wants(t, 24*time.Hour)
		if !s.Next().IsZero() {
			t.Error(s.Next())
		}
	})
	scheduled(t, Setting{OnChange: true, Limit: time.Minute}, func(s *Schedule, m *tests) {
		s.Changed(Start)
		m.wants(t, 24*time.Hour, Start)
	})
	scheduled(t, Setting{}, func(s *Schedule, m *tests) {
		s.Changed(Start)
		s.Changed(Network)
		m.wants(t, 24*time.Hour)
	})
}

func TestASettingHoldsFromTheMomentOn(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		s.Set(Setting{Every: 10 * time.Minute, Limit: time.Minute})
		m.wants(t, 10*time.Minute, Clock)
		s.Changed(Start)
		s.Set(Setting{})
		m.wants(t, 24*time.Hour, Clock)
		s.Set(hourly)
		m.wants(t, time.Hour, Clock, Clock)
	})
}

func TestATestEndsInBoundedTime(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		m.mu.Lock()
		m.takes = 24 * time.Hour
		m.mu.Unlock()
		s.Changed(Network)
		m.wants(t, hourly.Limit+10*time.Second, Network)
		if s.Running() == "" {
			t.Error("one that had to wait for another's end has no time of its own")
		}
		m.wants(t, hourly.Limit, Network)
		m.mu.Lock()
		defer m.mu.Unlock()
		if !m.cut || s.Running() != "" {
			t.Errorf("%v %q", m.cut, s.Running())
		}
	})
}

func TestWhileEverythingIsClosedTestsAreMadeMoreOften(t *testing.T) {
	scheduled(t, hourly, func(s *Schedule, m *tests) {
		m.closed.Store(true)
		s.Changed(Start)
		m.wants(t, time.Minute, Start)
		m.wants(t, 6*time.Minute, Start, Clock)
		m.wants(t, 6*time.Minute, Start, Clock, Clock)
		m.closed.Store(false)
		m.wants(t, 30*time.Minute, Start, Clock, Clock)
	})
}

func TestAScheduleWithoutItsPartsIsRefused(t *testing.T) {
	if s, err := New(Options{}); err == nil {
		t.Errorf("%+v", s)
	}
}

// What closes may be a test that a person asked for, or may have closed before this program began.
func TestWhereNoTestIsMadeByItselfThereAreSomeWhileEverythingIsClosed(t *testing.T) {
	scheduled(t, Setting{Limit: time.Minute}, func(s *Schedule, made *tests) {
		made.wants(t, time.Hour)
		made.closed.Store(true)
		s.Look()
		made.wants(t, again-time.Second)
		made.wants(t, 2*time.Second, Clock)
		made.wants(t, again+20*time.Second, Clock, Clock)
		made.closed.Store(false)
		s.Look()
		made.wants(t, time.Hour, Clock, Clock)
		made.closed.Store(true)
		s.Look()
		made.wants(t, again-time.Second, Clock, Clock)
		made.wants(t, 2*time.Second, Clock, Clock, Clock)
	})
}
