//go:build !linux

package wire

// monotonicMicroseconds has no reader where there is no systemd.
func monotonicMicroseconds() int64 { return 0 }
