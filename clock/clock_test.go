package clock

import (
	"errors"
	"testing"
	"time"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func TestAClockThatIsBehindTheFloorIsToldAndOneThatIsALittleBehindIsNot(t *testing.T) {
	f := NewFloor(noon, "")
	for off, behind := range map[time.Duration]bool{-24 * time.Hour: true, -time.Hour: true, -slack - 1: true, -slack: false, 0: false, 24 * time.Hour: false} {
		err := f.Check(noon.Add(off))
		var b *Behind
		if errors.As(err, &b) != behind {
			t.Errorf("%v: %v", off, err)
		}
		if behind && (b.Hint == "" || !b.Passed.Equal(noon) || !b.Says.Equal(noon.Add(off))) {
			t.Errorf("%v: %+v", off, b)
		}
	}
	if got := f.Check(noon.Add(-time.Hour)).Error(); got != "the clock says 2026-06-01 11:00, and 2026-06-01 12:00 has passed" {
		t.Error(got)
	}
	if got := f.Check(time.Unix(0, 0)).Error(); got != "the clock says 1970-01-01, and 2026-06-01 has passed" {
		t.Error(got)
	}
	if got := NewFloor(noon, "turn it").Check(time.Time{}).(*Behind).Hint; got != "turn it" {
		t.Error(got)
	}
}

func TestAFloorRisesOnlyAndNeverAboveTheClock(t *testing.T) {
	f := NewFloor(noon, "")
	f.Raise(noon.Add(2*time.Hour), noon.Add(time.Hour)) // of a future that the clock does not know
	f.Raise(noon.Add(-time.Hour), noon)
	select {
	case <-f.Risen():
		t.Error("it is said to have risen")
	default:
	}
	if !f.At().Equal(noon) {
		t.Error(f.At())
	}
	for range 3 { // nobody has to read
		f.Raise(f.At().Add(time.Minute), noon.Add(time.Hour))
	}
	if !f.At().Equal(noon.Add(3 * time.Minute)) {
		t.Error(f.At())
	}
	select {
	case <-f.Risen():
	default:
		t.Error("nobody is told that it has risen")
	}
}

func TestAFloorThatIsNotThereKnowsNothing(t *testing.T) {
	var f *Floor
	f.Raise(noon, noon)
	if !f.At().IsZero() || f.Check(time.Unix(0, 0)) != nil {
		t.Error(f.At())
	}
}
