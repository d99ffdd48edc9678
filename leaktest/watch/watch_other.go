//go:build !linux

package watch

import (
	"context"
	"net/netip"
	"runtime"
)

// Watch watches nothing: only Linux lets it.
type Watch struct{}

// Start begins nothing, and [Seen.Blind] will say so.
func Start(_ context.Context, o Options) (*Watch, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Watch{}, nil
}

// Stop gives that nothing was seen.
func (*Watch) Stop() (Seen, error) {
	return Seen{Blind: "neither packets nor the sockets of this process are seen on " + runtime.GOOS + ": run the test on Linux, or capture packets beside it"}, nil
}

// Child returns at once: there is no observer.
func Child() {}

// HasFarEnd is false here: it is not known.
func HasFarEnd(netip.AddrPort) bool { return false }

// Caller is not known here.
func Caller(netip.AddrPort) (process string, uid int, ok bool) { return "", 0, false }
