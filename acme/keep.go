package acme

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Times of the work.
const (
	attemptLimit = 5 * time.Minute  // one attempt, from the first request to the certificate
	awaitLimit   = 10 * time.Second // until the channel is ready, and then between two looks at it
	lookEvery    = time.Hour        // at the clock, which may have been set
)

// lockName is the lock of those who ask an authority and keep what it gives.
const lockName = "acme-lock"

// keep gets and renews the certificates of a setting until ctx ends, one after the other.
func (m *Manager) keep(ctx context.Context, s *Setting, certs []*certificate) {
	var unlock func()
	defer func() {
		if unlock != nil {
			unlock()
		}
	}()
	for ctx.Err() == nil {
		next := earliest(certs)
		if next == nil {
			<-ctx.Done()
			return
		}
		if wait := time.Until(next.due()); wait > 0 {
			pause(ctx, min(wait, lookEvery), certs)
			continue
		}
		if unlock == nil {
			var err error
			if unlock, err = s.Store.Lock(lockName); err != nil {
				unlock = nil
				for _, c := range certs {
					if time.Until(c.due()) > 0 {
						continue
					}
					c.waits(fmt.Errorf("another program keeps certificates in the same directory, or it cannot be locked: %w", err), floor)
					c.load(s.Store) // it may have renewed them
				}
				continue
			}
			for _, c := range certs { // the one that had the lock may have
				c.load(s.Store)
			}
			continue
		}
		m.attempt(ctx, s, next)
	}
}

// earliest gives the certificate that is due first; nil where there is none.
func earliest(certs []*certificate) (first *certificate) {
	for _, c := range certs {
		if first == nil || c.due().Before(first.due()) {
			first = c
		}
	}
	return first
}

// pause waits, but for no longer than until one of the certificates is woken.
func pause(ctx context.Context, d time.Duration, certs []*certificate) {
	inner, stop := context.WithTimeout(ctx, d)
	var watching sync.WaitGroup
	defer watching.Wait() // so that no wake is taken by who does not look any more
	defer stop()
	for _, c := range certs {
		watching.Go(func() {
			select {
			case <-c.wake:
				stop()
			case <-inner.Done():
			}
		})
	}
	<-inner.Done()
}

// attempt tries to get one certificate.
func (m *Manager) attempt(ctx context.Context, s *Setting, c *certificate) {
	patience, stop := context.WithTimeout(ctx, awaitLimit)
	err := s.Await(patience)
	stop()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.waits(err, awaitLimit)
		return
	}
	if err := c.begin(s.Store); err != nil {
		c.waits(fmt.Errorf("what is kept cannot be written, and each start would ask the authority anew: %w", err), floor)
		return
	}
	limit, stop := context.WithTimeout(ctx, attemptLimit)
	defer stop()
	chain, key, err := m.order(limit, s, c.names)
	if err == nil {
		err = c.obtained(s.Store, chain, key)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil: // the end of the program, or of the setting
	case errors.Is(err, context.DeadlineExceeded):
		c.failed(s.Store, fmt.Errorf("it took longer than %v: %w", attemptLimit, err), 0)
	default:
		c.failed(s.Store, err, limitOf(err))
	}
}
