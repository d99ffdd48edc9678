package wire

import (
	"context"
	"errors"
	"time"
)

// ErrNoNetworkWatch is returned where this system does not tell of changes of its network.
var ErrNoNetworkWatch = errors.New("this system does not tell of changes of its network")

// Times of a watch.
const (
	networkQuiet = 500 * time.Millisecond // without another change: the network has settled
	networkStorm = 5 * time.Second        // of changes without an end
)

// WatchNetwork calls changed when the network of this host has changed: an address came or went, a link that has one
// went up or down, a route was added, removed or replaced. It calls at the first change, and once more when those that
// follow are over, or after five seconds of them. What every host has anyway does not count: addresses and routes of a
// single link, and those that the kernel keeps for itself. A system other than Linux is looked at every five seconds, and
// its routes are not.
//
// It gives nil when ctx ends, and otherwise the reason why it can watch no longer: ErrNoNetworkWatch where that is how
// the system is.
func WatchNetwork(ctx context.Context, changed func()) error {
	w, err := openNetworkWatch()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, w.close)()
	happened := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- w.run(func() {
			select {
			case happened <- struct{}{}:
			default:
			}
		})
	}()
	err = settling(happened, ended, changed)
	w.close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// settling calls changed for what happened, at once and then no more often than a network settles, until it has ended.
func settling(happened <-chan struct{}, ended <-chan error, changed func()) error {
	for {
		select {
		case err := <-ended:
			return err
		case <-happened:
		}
		changed()
		again, err := settled(happened, ended)
		if again {
			changed()
		}
		if err != nil {
			return err
		}
	}
}

// settled waits until nothing happens any more, and says whether anything did until then.
func settled(happened <-chan struct{}, ended <-chan error) (again bool, err error) {
	quiet, storm := time.NewTimer(networkQuiet), time.NewTimer(networkStorm)
	defer quiet.Stop()
	defer storm.Stop()
	for {
		select {
		case err := <-ended:
			return again, err
		case <-happened:
			again = true
			quiet.Reset(networkQuiet)
		case <-quiet.C:
			return again, nil
		case <-storm.C:
			return again, nil
		}
	}
}
