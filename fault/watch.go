package fault

import (
	"context"
	"sync"
)

// Watch knows what those who work under its context wait for, so that one whose patience ends before theirs can still
// say whose silence it was. Its methods may be called from many goroutines.
type Watch struct {
	mu   sync.Mutex
	why  func() error
	over bool
}

type watchKey struct{}

// teller is a Watch with what is to be made of a fault before it is noted.
type teller struct {
	watch *Watch
	as    func(error) error // nil: as it is
}

func tellerOf(ctx context.Context) *teller {
	t, _ := ctx.Value(watchKey{}).(*teller)
	return t
}

// WithWatch gives a context that is watched.
func WithWatch(ctx context.Context) (context.Context, *Watch) {
	w := &Watch{}
	return context.WithValue(ctx, watchKey{}, &teller{watch: w}), w
}

// Watched says whether anyone wants to know: [Waiting] and [Retold] do nothing where nobody does.
func Watched(ctx context.Context) bool { return tellerOf(ctx) != nil }

// Waiting notes what went wrong if the time runs out now. why is called only if it does, from any goroutine.
func Waiting(ctx context.Context, why func() error) {
	t := tellerOf(ctx)
	if t == nil {
		return
	}
	if t.as != nil {
		bare := why
		why = func() error { return t.as(bare()) }
	}
	t.watch.mu.Lock()
	defer t.watch.mu.Unlock()
	if !t.watch.over {
		t.watch.why = why
	}
}

// Retold gives a context under which a fault is noted as what as makes of it.
func Retold(ctx context.Context, as func(error) error) context.Context {
	t := tellerOf(ctx)
	if t == nil {
		return ctx
	}
	both := as
	if outer := t.as; outer != nil {
		both = func(err error) error { return outer(as(err)) }
	}
	return context.WithValue(ctx, watchKey{}, &teller{watch: t.watch, as: both})
}

// Reached says that one who works under ctx has got where all want to get: what is waited for from now on is the far
// side's affair, and nothing is noted any more.
func Reached(ctx context.Context) {
	t := tellerOf(ctx)
	if t == nil {
		return
	}
	t.watch.mu.Lock()
	defer t.watch.mu.Unlock()
	t.watch.why, t.watch.over = nil, true
}

// Err gives what was noted last, or nil.
func (w *Watch) Err() error {
	w.mu.Lock()
	why := w.why
	w.mu.Unlock()
	if why == nil {
		return nil
	}
	return why()
}
