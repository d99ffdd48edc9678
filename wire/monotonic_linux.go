package wire

import "golang.org/x/sys/unix"

// monotonicMicroseconds is CLOCK_MONOTONIC, by which the service manager orders a reload (sd_notify(3)).
func monotonicMicroseconds() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // it cannot fail with this clock
	}
	return ts.Nano() / 1000
}
