//go:build !linux

package netwatch

import "time"

var begun = time.Now()

// Clocks reads the clock of Go, which stands still while the host sleeps, and that of the calendar, which does not. The
// latter may be set; where it is set forward that is taken for a sleep.
func Clocks() (awake, all time.Duration) {
	now := time.Now()
	return now.Sub(begun), now.Round(0).Sub(begun.Round(0))
}
