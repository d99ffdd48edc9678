package resolve

import (
	"errors"
	"sync"
	"time"

	"watertight/clock"
	"watertight/dnssec"
	"watertight/fault"
)

// maxSetBack is how far a clock may be set back while the program runs without a word: by a correction of its own.
const maxSetBack = 24 * time.Hour

// clockwork is what signatures are judged by, with what is known of the time.
type clockwork struct {
	now   func() time.Time
	floor *clock.Floor

	mu   sync.Mutex
	good time.Time // the last at which a signature was good
}

// read gives the time, or the fault that it cannot be: then nothing is judged, since old signatures would be good again.
func (c *clockwork) read(name string) (time.Time, *fault.Error) {
	now := c.now().Round(0) // signatures go by the calendar
	var behind *clock.Behind
	if errors.As(c.floor.Check(now), &behind) {
		return now, wrongClock(name, behind)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.good.IsZero() && now.Before(c.good.Add(-maxSetBack)) {
		const hint = "set the clock of this host; if it is right now and was not before, restart the program"
		return now, wrongClock(name, &clock.Behind{Says: now, Passed: c.good, Hint: hint})
	}
	return now, nil
}

// passed remembers a time at which a signature was good.
func (c *clockwork) passed(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.After(c.good) {
		c.good = now
	}
}

func wrongClock(name string, behind *clock.Behind) *fault.Error {
	f := fault.New(fault.DNSBogus, "the answer about "+shown(name)+" was not validated: "+behind.Error(), nil)
	f.EDE, f.Hint = dnssec.EDEIndeterminate, behind.Hint
	return f
}
