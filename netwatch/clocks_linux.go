package netwatch

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clocks reads CLOCK_MONOTONIC, which stands still while the host sleeps, and CLOCK_BOOTTIME, which does not
// (clock_gettime(2)).
func Clocks() (awake, all time.Duration) {
	read := func(clock int32) time.Duration {
		var ts unix.Timespec
		if err := unix.ClockGettime(clock, &ts); err != nil {
			return 0 // it cannot fail with these clocks
		}
		return time.Duration(ts.Nano())
	}
	return read(unix.CLOCK_MONOTONIC), read(unix.CLOCK_BOOTTIME)
}
