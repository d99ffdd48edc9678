package wire

import "context"

type segmentsKey struct{}

// WithSegments gives a context under which [DialTCP] asks the far side for segments of at most so many octets of data,
// 488 to 1,400; other numbers ask for nothing. It is for a connection on which messages of one known length come, one
// at a time: a far side that keeps a segment which is not full until what it sent before is acknowledged (RFC 9293,
// section 3.7.4, Nagle's algorithm) sends each of them at once where it fills segments. It is a wish: a system that
// cannot say it, and a far side that does not heed it, change nothing but the time.
func WithSegments(ctx context.Context, octets int) context.Context {
	return context.WithValue(ctx, segmentsKey{}, octets)
}

// Least and most that may be wished for. Smaller segments are taken for an attack by some firewalls, and larger ones do
// not fit every path.
const (
	minSegment = 488
	maxSegment = 1400
)

// segments gives the wish, or 0.
func segments(ctx context.Context) int {
	n, _ := ctx.Value(segmentsKey{}).(int)
	if n < minSegment || n > maxSegment {
		return 0
	}
	return n
}
