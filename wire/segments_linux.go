package wire

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// timestamps is what the option of that name takes of every segment, where both sides use it (RFC 7323, section 3.2).
// Linux does, and the size that is announced does not count it (RFC 6691).
const timestamps = 12

// limitSegments says a wish of WithSegments on a socket that is not connected yet.
func limitSegments(ctx context.Context, _, _ string, raw syscall.RawConn) error {
	octets := segments(ctx)
	if octets == 0 {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, octets+timestamps)
	})
}
