package wire

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestChangesOfTheNetwork_AreToldAtOnceAndWhenTheyAreOver(t *testing.T) {
	for what, c := range map[string]struct {
		at   []time.Duration // changes
		want []time.Duration // calls
	}{
		"one":             {[]time.Duration{0}, []time.Duration{0}},
		"a few":           {[]time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond}, []time.Duration{0, 800 * time.Millisecond}},
		"two, far apart":  {[]time.Duration{0, 10 * time.Second}, []time.Duration{0, 10 * time.Second}},
		"without an end":  {every(400*time.Millisecond, 13), []time.Duration{0, 5 * time.Second}},
		"one more, later": {[]time.Duration{0, 300 * time.Millisecond, time.Second}, []time.Duration{0, 800 * time.Millisecond, time.Second}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				happened, ended := make(chan struct{}, 1), make(chan error, 1)
				started := time.Now()
				var got []time.Duration
				done := make(chan error, 1)
				go func() {
					done <- settling(happened, ended, func() { got = append(got, time.Since(started)) })
				}()
				for _, at := range c.at {
					time.Sleep(at - time.Since(started))
					happened <- struct{}{}
				}
				time.Sleep(time.Minute)
				ended <- errors.New("over")
				if err := <-done; err == nil || !slices.Equal(got, c.want) {
					t.Errorf("called at %v (%v), want %v", got, err, c.want)
				}
			})
		})
	}
}

func every(d time.Duration, n int) (all []time.Duration) {
	for i := range n {
		all = append(all, time.Duration(i)*d)
	}
	return all
}

func TestAWatchOfTheNetwork_ThatEndsWhileThingsHappen_TellsOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		happened, ended := make(chan struct{}, 1), make(chan error, 1)
		calls := 0
		done := make(chan error, 1)
		go func() { done <- settling(happened, ended, func() { calls++ }) }()
		happened <- struct{}{}
		synctest.Wait()
		happened <- struct{}{}
		synctest.Wait()
		ended <- errors.New("over")
		if err := <-done; err == nil || calls != 2 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}
