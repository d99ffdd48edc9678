package resolve

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/fault"
)

// anchorsRetry is after how long the keys of the root are looked at again where the first look failed (RFC 5011, section
// 2.3: an hour at least).
const anchorsRetry = time.Hour

// anchors follows the keys of the root in the channel (RFC 5011), from the first answer that is judged until the Resolver
// is closed.
type anchors struct {
	once sync.Once
	keep Keeper // nil: what it learnt ends with the Resolver

	mu      sync.Mutex
	set     *dnssec.AnchorSet
	revoked bool  // all of them
	err     error // of the last look
}

// Keeper keeps what a Resolver learns of the keys of the root beyond its life: a new key has to be seen for 30 days before
// it is trusted, which is longer than most programs run. Its methods may be called from many goroutines.
type Keeper interface {
	// Load gives what was kept last, or nothing.
	Load() []byte
	// Refuse is told that what Load gave was not used, and why.
	Refuse(why error)
	// Save keeps a text in place of the one before.
	Save(text []byte)
}

// restore gives the keys of the root as they were kept, or, where nothing was that can be used, the anchors to begin with.
func restore(initial []dnssec.Anchor, keep Keeper) (*anchors, error) {
	a := &anchors{keep: keep}
	if keep != nil {
		if text := keep.Load(); len(text) > 0 {
			set, err := dnssec.RestoreAnchorSet(initial, text)
			if err == nil {
				a.set, a.revoked = set, len(set.Anchors()) == 0
				return a, nil
			}
			keep.Refuse(err)
		}
	}
	var err error
	a.set, err = dnssec.NewAnchorSet(initial)
	return a, err
}

// save keeps what is known now. It is called with the lock held, so that what is kept is never older than it was.
func (a *anchors) save() {
	if a.keep == nil {
		return
	}
	if text, err := json.Marshal(a.set); err == nil { // it is plain data
		a.keep.Save(text)
	}
}

// follow begins to follow the keys, once. It is called while a look-up of r is under way.
func (a *anchors) follow(r *Resolver) {
	a.once.Do(func() {
		r.wg.Go(func() {
			retry := anchorsRetry
			for {
				wait := retry
				if seen, ok := a.look(r); ok {
					wait, retry = seen.Next, seen.Retry
				}
				timer := time.NewTimer(wait)
				select {
				case <-timer.C:
				case <-r.ctx.Done():
					timer.Stop()
					return
				}
			}
		})
	})
}

// look asks for the keys of the root once, and trusts from then on what they say.
func (a *anchors) look(r *Resolver) (dnssec.Observation, bool) {
	ctx, cancel := context.WithTimeout(r.ctx, r.options.Timeout)
	defer cancel()
	wire, err := r.askChain(ctx, dnswire.Question{Type: dnswire.DNSKEY})
	a.mu.Lock()
	defer a.mu.Unlock()
	var seen dnssec.Observation
	if err == nil {
		var now time.Time
		var f *fault.Error
		if now, f = r.validation.clock.read(""); f != nil {
			err = f
		} else {
			seen, err = a.set.Observe(wire, now)
			r.options.Floor.Raise(seen.Since, now)
		}
	}
	if err == nil {
		a.save()
	}
	if a.err = err; err != nil || len(seen.Changes) == 0 {
		return seen, err == nil
	}
	trusted := a.set.Anchors()
	if a.revoked = len(trusted) == 0; a.revoked {
		r.validation.validator.Flush()
	} else {
		a.err = r.validation.validator.SetAnchors(trusted)
	}
	return seen, a.err == nil
}

// fault says that nothing can be validated any more, or nil.
func (a *anchors) fault(name string) *fault.Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.revoked {
		return nil
	}
	f := fault.New(fault.DNSBogus, "the answer about "+shown(name)+" was not validated: every trust anchor of the root was revoked", nil)
	f.EDE, f.Hint = dnssec.EDEIndeterminate, "install a version of the program with newer trust anchors"
	return f
}

// states gives the keys by tag, and why the last look failed.
func (a *anchors) states() (map[uint16]dnssec.AnchorState, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var f *fault.Error
	switch {
	case errors.As(a.err, &f):
		return a.set.States(), f.Message
	case a.err != nil:
		return a.set.States(), a.err.Error()
	}
	return a.set.States(), ""
}
