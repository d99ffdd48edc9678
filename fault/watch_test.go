package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

var errSilent = errors.New("silent")

func TestAWatchTellsWhatWasWaitedForLastAsThoseAboveWouldTellIt(t *testing.T) {
	ctx, w := WithWatch(t.Context())
	if w.Err() != nil {
		t.Errorf("nobody waits, and it tells %v", w.Err())
	}
	outer := Retold(ctx, func(err error) error { return fmt.Errorf("outer: %w", err) })
	inner := Retold(outer, func(err error) error { return fmt.Errorf("inner: %w", err) })
	calls := 0
	Waiting(inner, func() error { calls++; return errSilent })
	if calls != 0 {
		t.Error("the fault was made before anyone asked")
	}
	if err := w.Err(); err == nil || err.Error() != "outer: inner: silent" || !errors.Is(err, errSilent) {
		t.Errorf("it tells %v", err)
	}
	Waiting(outer, func() error { return errSilent })
	if err := w.Err(); err == nil || err.Error() != "outer: silent" {
		t.Errorf("it tells %v", err)
	}
	Reached(inner)
	Waiting(ctx, func() error { return errSilent })
	if w.Err() != nil {
		t.Errorf("the far side is reached, and it tells %v", w.Err())
	}
}

func TestWhereNobodyWatchesNothingIsNotedAndNothingMade(t *testing.T) {
	ctx := context.Background()
	Waiting(ctx, func() error { t.Error("it was asked"); return nil })
	Reached(ctx)
	if Watched(ctx) || Retold(ctx, func(err error) error { return err }) != ctx {
		t.Error("a context that nobody watches is watched")
	}
}
