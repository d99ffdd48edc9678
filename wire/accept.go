package wire

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// The pauses of [Accept]: each is twice the one before.
const (
	firstPause   = 5 * time.Millisecond
	longestPause = time.Second
)

// Accept gives the next connection that accept has. A client that went away before it was accepted is passed over. Without
// descriptors or memory what waits in the backlog waits on, and a connection that ends makes room: that is waited out, and short
// is told of it once. Any other error is given back, and so is each once ctx has ended.
func Accept[C any](ctx context.Context, accept func() (C, error), short func(error)) (C, error) {
	for pause := time.Duration(0); ; {
		conn, err := accept()
		switch {
		case err == nil, ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return conn, err
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case !isShortage(err):
			return conn, err
		}
		if pause == 0 {
			short(err)
		}
		pause = min(max(2*pause, firstPause), longestPause)
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// isShortage says whether an error is of a lack that may be over later.
func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
