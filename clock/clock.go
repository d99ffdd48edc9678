// Package clock holds what is certain of the time: a moment that has passed, whatever the clock of this host says.
//
// It promises that the moment only rises, and never above what the clock said when it was proven, so that a clock which
// is right is never called wrong. It asks nobody for the time and keeps nothing outside its memory.
package clock

import (
	"fmt"
	"sync"
	"time"
)

// slack is how far a clock may be behind without a word: those of two hosts differ a little, and are corrected.
const slack = time.Minute

// Floor is a moment that has passed for certain. Its methods may be called from many goroutines, and a nil Floor knows
// of none.
type Floor struct {
	hint  string
	risen chan struct{}

	mu sync.Mutex
	at time.Time
}

// NewFloor makes a floor. The hint says what to do about a clock that is behind it; empty means to set the clock.
func NewFloor(at time.Time, hint string) *Floor {
	if hint == "" {
		hint = "set the clock of this host"
	}
	return &Floor{hint: hint, risen: make(chan struct{}, 1), at: at.Round(0)}
}

// At is the moment; the zero time where none is known.
func (f *Floor) At() time.Time {
	if f == nil {
		return time.Time{}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// Raise takes a moment that was proven, by a clock that said now: by a signature that holds, of which it is the
// beginning. One after now proves nothing.
func (f *Floor) Raise(proven, now time.Time) {
	if f == nil || proven.After(now) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !proven.After(f.at) {
		return
	}
	f.at = proven.Round(0)
	select {
	case f.risen <- struct{}{}:
	default:
	}
}

// Risen has a value when the moment rose since the last value was taken. It is for one reader.
func (f *Floor) Risen() <-chan struct{} { return f.risen }

// Check gives a [*Behind] where the clock, which says now, is behind what has passed.
func (f *Floor) Check(now time.Time) error {
	now = now.Round(0) // by the calendar: what was slept through counts
	if at := f.At(); now.Before(at.Add(-slack)) {
		return &Behind{Says: now, Passed: at, Hint: f.hint}
	}
	return nil
}

// Behind is a clock that says less than what has passed.
type Behind struct {
	Says, Passed time.Time
	Hint         string // what to do about it
}

func (b *Behind) Error() string {
	const form = "2006-01-02"
	says, passed := b.Says.UTC().Format(form), b.Passed.UTC().Format(form)
	if says == passed {
		says, passed = b.Says.UTC().Format(form+" 15:04"), b.Passed.UTC().Format(form+" 15:04")
	}
	return fmt.Sprintf("the clock says %s, and %s has passed", says, passed)
}
