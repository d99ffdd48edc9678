//go:build !linux

package wire

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// networkLook is how often a system that tells of no change is looked at.
const networkLook = 5 * time.Second

// networkWatch looks at the links and addresses of this host from time to time. A route that changes without them is not
// noticed.
type networkWatch struct {
	ended chan struct{}
	once  sync.Once
	known string
}

var errWatchClosed = errors.New("wire: the watch is closed")

func openNetworkWatch() (*networkWatch, error) {
	w := &networkWatch{ended: make(chan struct{})}
	var err error
	if w.known, err = networkNow(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNetworkWatch, err)
	}
	return w, nil
}

func (w *networkWatch) run(changed func()) error {
	tick := time.NewTicker(networkLook)
	defer tick.Stop()
	for {
		select {
		case <-w.ended:
			return errWatchClosed
		case <-tick.C:
		}
		now, err := networkNow()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoNetworkWatch, err)
		}
		if now != w.known {
			w.known = now
			changed()
		}
	}
}

func (w *networkWatch) close() { w.once.Do(func() { close(w.ended) }) }

// networkNow writes down the addresses of the links that work, but those of loopback and of a single link.
func networkNow() (string, error) {
	links, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	var all []string
	for _, l := range links {
		if l.Flags&net.FlagUp == 0 || l.Flags&net.FlagRunning == 0 || l.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := l.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		for _, a := range addrs {
			if p, ok := a.(*net.IPNet); ok && !p.IP.IsLinkLocalUnicast() {
				all = append(all, l.Name+" "+p.String())
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n"), nil
}
