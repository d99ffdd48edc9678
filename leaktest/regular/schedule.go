// Package regular decides when the running program tests itself, and what a leak does.
//
// It promises that no two tests run at a time, that a test ends in bounded time, that changes in a row make one test, and
// that chance decides when it is: nobody knows a program by the minute at which it tests. What a leak has closed is closed
// after a restart too, until a test is clean or a person says so. It makes no test by itself and reaches nothing: whoever
// tests is given to it.
package regular

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Cause is what a test is made for.
type Cause string

// The causes.
const (
	Start         Cause = "start"
	Clock         Cause = "schedule"
	Network       Cause = "network"
	Resume        Cause = "resume"
	Resolver      Cause = "resolver"
	Configuration Cause = "configuration"
	Asked         Cause = "asked"
)

// Times between tests.
const (
	settle = 3 * time.Second  // without another change: what changes has settled
	storm  = 30 * time.Second // of changes without an end
	jitter = 5 * time.Second  // that chance adds to a test on a change
	gap    = time.Minute      // from the end of a test that a change made to the next one
	again  = 5 * time.Minute  // to the next test while everything is closed
)

// Setting says when there are tests. The zero Setting makes none.
type Setting struct {
	Every    time.Duration // give or take a tenth; 0: not by the clock
	OnChange bool
	Limit    time.Duration // of one test
}

// Options is what a schedule is made of. All of it must be given.
type Options struct {
	// Test makes a test, and returns when it is over or its context ends. It is called by one goroutine.
	Test func(ctx context.Context, cause Cause)
	// Closed says whether a leak has closed everything: then tests are made more often.
	Closed func() bool
	// Random gives a time below n.
	Random func(n time.Duration) time.Duration
}

// Schedule makes tests. Its methods may be called from many goroutines.
type Schedule struct {
	o    Options
	wake chan struct{}

	mu      sync.Mutex
	setting Setting
	next    time.Time // by the clock; zero: never
	ended   time.Time // the last test; zero: there was none
	shut    time.Time // since then everything is closed, as far as was noticed; zero: it is open
	rested  time.Time // from then on a change makes a test; zero: at any time
	change  change
	running Cause // empty: no test runs
}

// change is what has changed since the last test began. The zero change is nothing.
type change struct {
	cause       Cause // the first
	first, last time.Time
	jitter      time.Duration
}

// New checks the options.
func New(o Options) (*Schedule, error) {
	if o.Test == nil || o.Closed == nil || o.Random == nil {
		return nil, errors.New("regular: a schedule needs who tests, who knows what is closed, and chance")
	}
	return &Schedule{o: o, wake: make(chan struct{}, 1)}, nil
}

// Set puts a setting in force.
func (s *Schedule) Set(n Setting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.Every != s.setting.Every {
		s.next = s.after(n.Every)
	}
	s.setting = n
	if n == (Setting{}) {
		s.change = change{}
	}
	s.nudge()
}

// after gives the time of the next test by the clock, from now. It is called with the lock held.
func (s *Schedule) after(every time.Duration) time.Time {
	if every == 0 {
		return time.Time{}
	}
	return time.Now().Add(every - every/10 + s.o.Random(every/5+1))
}

func (s *Schedule) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Changed says that something has changed, which is reason for a test where the setting says so. [Start] is one wherever
// there are tests at all.
func (s *Schedule) Changed(cause Cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.setting.OnChange && (cause != Start || s.setting.Every == 0) {
		return
	}
	now := time.Now()
	if s.change.cause == "" {
		s.change = change{cause: cause, first: now, jitter: s.o.Random(jitter)}
	}
	s.change.last = now
	s.nudge()
}

// Next tells when the next test is; the zero time where none is planned.
func (s *Schedule) Next() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := s.due()
	return at
}

// Look has the schedule notice that everything is closed, or open again.
func (s *Schedule) Look() { s.nudge() }

// Running tells what the test is made for that runs; empty where none does.
func (s *Schedule) Running() Cause {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// due gives the next test. It is called with the lock held.
func (s *Schedule) due() (at time.Time, cause Cause) {
	at, cause = s.next, Clock
	if !s.o.Closed() {
		s.shut = time.Time{}
	} else if s.setting != (Setting{}) {
		if s.shut.IsZero() {
			s.shut = time.Now()
		}
		from := s.shut // by a test that was asked for, or before this program began
		if s.ended.After(from) {
			from = s.ended
		}
		if soon := from.Add(again); at.IsZero() || soon.Before(at) {
			at = soon
		}
	}
	if s.change.cause == "" {
		return at, cause
	}
	when := s.change.last.Add(settle)
	if most := s.change.first.Add(storm); when.After(most) {
		when = most
	}
	if when.Before(s.rested) {
		when = s.rested
	}
	if when = when.Add(s.change.jitter); at.IsZero() || when.Before(at) {
		return when, s.change.cause
	}
	return at, cause
}

// Run makes tests until ctx ends.
func (s *Schedule) Run(ctx context.Context) {
	for {
		s.mu.Lock()
		at, cause := s.due()
		s.mu.Unlock()
		var due <-chan time.Time
		var timer *time.Timer
		if !at.IsZero() {
			timer = time.NewTimer(time.Until(at))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-due:
			if s.still(at, cause) {
				s.test(ctx, cause)
			}
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// still says whether a test is due that was planned before: what is closed may be open meanwhile.
func (s *Schedule) still(at time.Time, cause Cause) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, why := s.due()
	return now.Equal(at) && why == cause
}

// test makes one test. What changes while it runs is reason for another: it may have looked before.
func (s *Schedule) test(ctx context.Context, cause Cause) {
	s.mu.Lock()
	limit := s.setting.Limit
	if s.setting == (Setting{}) {
		s.mu.Unlock()
		return
	}
	s.change, s.running = change{}, cause
	s.mu.Unlock()

	within, cancel := context.WithTimeout(ctx, 2*limit) // it may have to wait for one that was asked for, which has as long
	s.o.Test(within, cause)
	cancel()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.running = time.Now(), ""
	if cause != Clock && cause != Start {
		s.rested = s.ended.Add(gap)
	}
	s.next = s.after(s.setting.Every)
}
