package netwatch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// around is what a test changes around a watch.
type around struct {
	dir     string
	network chan struct{}

	mu    sync.Mutex
	sleep time.Duration
	told  []Kind

	failed error
}

func (a *around) sleeps(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sleep = d
}

func (a *around) clocks(since time.Time) (awake, all time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(since), time.Since(since) + a.sleep
}

func (a *around) tell(k Kind) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, k)
}

// watching runs a watch of two files, of which one is not there, under a clock of the test's own.
func watching(t *testing.T, do func(a *around)) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 192.0.2.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a := &around{dir: dir, network: make(chan struct{})}
		begun := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- Run(ctx, Options{
				Network: func(ctx context.Context, changed func()) error {
					for {
						select {
						case <-ctx.Done():
							return nil
						case _, ok := <-a.network:
							if !ok {
								return errors.New("it is over")
							}
							changed()
						}
					}
				},
				Files:  []string{filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "nsswitch.conf")},
				Clocks: func() (awake, all time.Duration) { return a.clocks(begun) },
			}, a.tell, func(err error) { a.failed = err })
		}()
		synctest.Wait()
		do(a)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// pass lets one look happen, and one more, after which everything that was to be told has been.
func pass() {
	time.Sleep(2 * look)
	synctest.Wait()
}

func (a *around) write(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join(a.dir, file)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// wants wants exactly this to have been told since the last time.
func (a *around) wants(t *testing.T, kinds ...Kind) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.told, kinds) {
		t.Errorf("%v was told, want %v", a.told, kinds)
	}
	a.told = nil
}

func TestWhatIsAroundTheProgramIsToldOnceWhenItChanges(t *testing.T) {
	watching(t, func(a *around) {
		pass()
		a.wants(t)
		a.network <- struct{}{}
		synctest.Wait()
		a.wants(t, Network)
		a.write(t, "resolv.conf", "nameserver 192.0.2.2\n")
		pass()
		a.wants(t, Resolver)
		a.write(t, "nsswitch.conf", "hosts: files\n")
		pass()
		a.wants(t, Resolver)
		if err := os.Remove(filepath.Join(a.dir, "resolv.conf")); err != nil {
			t.Error(err)
		}
		pass()
		a.wants(t, Resolver)
		a.sleeps(time.Minute)
		pass()
		a.wants(t, Resume)
	})
}

func TestWhatChangesNothingIsNotTold(t *testing.T) {
	watching(t, func(a *around) {
		a.write(t, "resolv.conf", "nameserver 192.0.2.1\n") // by a program that writes it anew with the same in it
		now := time.Now().Add(time.Hour)
		if err := os.Chtimes(filepath.Join(a.dir, "resolv.conf"), now, now); err != nil {
			t.Error(err)
		}
		pass()
		a.wants(t)
		a.sleeps(time.Second) // a clock that is set a little
		pass()
		a.wants(t)
	})
}

func TestWhereTheNetworkIsWatchedNoMoreTheRestIs(t *testing.T) {
	watching(t, func(a *around) {
		close(a.network)
		synctest.Wait()
		if a.failed == nil {
			t.Error("nobody was told")
		}
		a.write(t, "resolv.conf", "nameserver 192.0.2.3\n")
		pass()
		a.wants(t, Resolver)
	})
}

func TestAWatchWithoutSourcesIsRefused(t *testing.T) {
	clocks := func() (time.Duration, time.Duration) { return 0, 0 }
	network := func(context.Context, func()) error { return nil }
	for _, o := range []Options{{Clocks: clocks}, {Network: network}} {
		if err := Run(t.Context(), o, func(Kind) {}, func(error) {}); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestTheClocksOfThisHostRunAlike(t *testing.T) {
	awake, all := Clocks()
	later, allLater := Clocks()
	if later < awake || allLater < all || (allLater-all)-(later-awake) > slept {
		t.Errorf("%v %v, then %v %v", awake, all, later, allLater)
	}
}

func TestWhoeverTellsOfTheNetworkAndEndsIsAFailure_WithAReasonOrWithout(t *testing.T) {
	for _, reason := range []error{nil, errors.New("it is over")} {
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			failures := 0
			go func() {
				synctest.Wait()
				stop()
			}()
			err := Run(ctx, Options{
				Network: func(context.Context, func()) error { return reason },
				Clocks:  func() (awake, all time.Duration) { return 0, 0 },
			}, func(Kind) {}, func(err error) {
				if failures++; err == nil {
					t.Error("it has no reason")
				}
			})
			if err != nil || failures != 1 {
				t.Errorf("%v, and %d failures", err, failures)
			}
		})
	}
}
