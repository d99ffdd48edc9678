package resolve_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
)

const host = "four.shop.example" // its TTL is 300 seconds

func hasEDE(a *dnswire.Answer, code uint16) bool {
	return slices.ContainsFunc(a.EDE, func(e dnswire.EDE) bool { return e.Code == code })
}

func TestAStaleAnswerStandsInWhereNoUpstreamGivesAnother(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(s *dnstest.Server)
		took time.Duration
	}{
		"gone":     {func(s *dnstest.Server) { s.Close() }, 0},
		"silent":   {func(s *dnstest.Server) { s.Handle(dnstest.Silent) }, 1800 * time.Millisecond},
		"SERVFAIL": {func(s *dnstest.Server) { s.Handle(dnstest.RCode(dnswire.ServFail)) }, 0},
		"REFUSED":  {func(s *dnstest.Server) { s.Handle(dnstest.RCode(dnswire.Refused)) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
				lookupA(t, r, host)
				time.Sleep(301 * time.Second)
				c.fail(s)
				started := time.Now()
				a, err := r.Exchange(t.Context(), dnswire.Question{Name: host, Type: dnswire.A})
				if err != nil || a.TTL != 30*time.Second || a.Records[0].TTL != 30 || !hasEDE(a, 3) || time.Since(started) != c.took {
					t.Fatalf("%+v, %v after %v", a, err, time.Since(started))
				}
				if err := lookupA(t, r, host); err != nil {
					t.Error(err)
				}
				if st := r.Stats(); st.Stale != 2 {
					t.Errorf("stats %+v", st)
				}
				if all := g.sink.all(); !all[len(all)-1].Stale || all[len(all)-1].Age < 301*time.Second {
					t.Errorf("reported %+v", all)
				}
				time.Sleep(2 * time.Hour)
				if err := lookupA(t, r, host); err == nil {
					t.Error("it still stands in after more than it may")
				}
			})
		})
	}
}

func TestAnAnswerThatIsNegativeStandsInAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
		dnsrig.WantFault(t, lookupA(t, r, "nope.shop.example"), fault.DNSNXDomain, "")
		time.Sleep(61 * time.Second)
		s.Close()
		a, err := r.Exchange(t.Context(), dnswire.Question{Name: "nope.shop.example", Type: dnswire.A})
		if err != nil || a.RCode != dnswire.NXDomain || !hasEDE(a, 19) {
			t.Errorf("%+v, %v", a, err)
		}
		dnsrig.WantFault(t, lookupA(t, r, "nope.shop.example"), fault.DNSNXDomain, "")
	})
}

func TestAFreshAnswerEndsTheTimeOfAStaleOneAndSoDoesNo(t *testing.T) {
	for name, h := range map[string]dnstest.Handler{
		"another address": dnstest.Zone{host + ". 300 A 192.0.2.77"}.Handler(),
		"NXDOMAIN":        dnstest.Zone{"shop.example. 300 NS ns.shop.example."}.Handler(),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
				lookupA(t, r, host)
				time.Sleep(301 * time.Second)
				s.Handle(dnstest.RCode(dnswire.ServFail))
				lookupA(t, r, host) // the failure hides the answer, and does not lose it
				time.Sleep(31 * time.Second)
				lookupA(t, r, host)
				if st := r.Stats(); st.Stale != 2 {
					t.Fatalf("stats %+v", st)
				}
				time.Sleep(31 * time.Second)
				s.Handle(h)
				lookupA(t, r, host)
				if st := r.Stats(); st.Stale != 2 {
					t.Errorf("the stale answer was given in place of a fresh one: %+v", st)
				}
			})
		})
	}
}

func TestAfterAFailureTheUpstreamIsLeftAloneForHalfAMinuteWhileAnAnswerStandsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
		lookupA(t, r, host)
		time.Sleep(301 * time.Second)
		s.Handle(dnstest.RCode(dnswire.ServFail))
		for range 29 {
			lookupA(t, r, host)
			time.Sleep(time.Second)
		}
		wantAsked(t, s, host, 2)
		time.Sleep(time.Second)
		lookupA(t, r, host)
		wantAsked(t, s, host, 3)
	})
}

func TestAResolverThatDidNotProveWhoItIsIsNotCoveredUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
		lookupA(t, r, host)
		time.Sleep(301 * time.Second)
		s.Close()
		g.Serve(dot, first, dnsrig.Zone.Handler(), dnsrig.With(dnstest.NewCA().Issue([]string{dnsrig.ServerName}, nil)))
		dnsrig.WantFault(t, lookupA(t, r, host), fault.ResolverUntrusted, "")
	})
}

func TestWhatIsFlushedNeverStandsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
		lookupA(t, r, host)
		time.Sleep(301 * time.Second)
		s.Handle(dnstest.Silent)
		var wg sync.WaitGroup
		wg.Go(func() { // it waits, and there was something that could stand in
			dnsrig.WantFault(t, lookupA(t, r, host), fault.DNSTimeout, "")
		})
		synctest.Wait()
		r.Flush()
		wg.Wait()
		s.Close()
		if err := lookupA(t, r, host); err == nil {
			t.Error("what was flushed stands in")
		}
		if st := r.Stats(); st.Stale != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAHotAnswerIsAskedForAgainBeforeItExpires(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Prefetch: on})
			more := map[bool]int{true: 1}[on]
			lookupA(t, r, host)
			lookupA(t, r, host)
			time.Sleep(269 * time.Second)
			lookupA(t, r, host)
			synctest.Wait()
			wantAsked(t, s, host, 1)
			time.Sleep(2 * time.Second) // in the last tenth
			for range 5 {
				lookupA(t, r, host)
				synctest.Wait()
			}
			wantAsked(t, s, host, 1+more)
			if st := r.Stats(); st.Prefetch != uint64(more) || st.Misses != 1 {
				t.Errorf("stats %+v", st)
			}
			time.Sleep(60 * time.Second) // the first answer is over
			lookupA(t, r, host)
			wantAsked(t, s, host, 2)
		})
	}
}

func TestWhatWasAskedForOnceOrIsKeptForMomentsIsNotAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := dnstest.Zone{"brief.shop.example. 9 A 192.0.2.1", host + ". 300 A 192.0.2.4"}
		_, s, r := one(t, z.Handler(), resolve.Options{Prefetch: true})
		lookupA(t, r, host)
		time.Sleep(299 * time.Second)
		lookupA(t, r, host)
		lookupA(t, r, "brief.shop.example")
		time.Sleep(8500 * time.Millisecond)
		for range 3 {
			lookupA(t, r, "brief.shop.example")
		}
		synctest.Wait()
		wantAsked(t, s, host, 1)
		wantAsked(t, s, "brief.shop.example", 1)
	})
}

func TestAPrefetchThatFailsTakesNothingAwayAndIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Prefetch: true})
		lookupA(t, r, host)
		time.Sleep(280 * time.Second)
		s.Handle(dnstest.RCode(dnswire.ServFail))
		for range 5 {
			if err := lookupA(t, r, host); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		wantAsked(t, s, host, 2)
	})
}

func TestPrefetchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z dnstest.Zone
		for i := range 100 {
			z = append(z, fmt.Sprintf("h%d.shop.example. 300 A 192.0.2.1", i))
		}
		release := make(chan struct{})
		_, s, r := one(t, z.Handler(), resolve.Options{Prefetch: true})
		for i := range 100 {
			lookupA(t, r, fmt.Sprintf("h%d.shop.example", i))
		}
		s.Handle(dnstest.Held(z.Handler(), release))
		time.Sleep(280 * time.Second)
		for i := range 200 {
			lookupA(t, r, fmt.Sprintf("h%d.shop.example", i%100))
		}
		synctest.Wait()
		if st := r.Stats(); st.Prefetch != 64 || st.InFlight != 64 {
			t.Errorf("stats %+v", st)
		}
		close(release)
		synctest.Wait()
		time.Sleep(280 * time.Second)
		for i := range 200 {
			lookupA(t, r, fmt.Sprintf("h%d.shop.example", i%100))
		}
		synctest.Wait()
		if st := r.Stats(); st.Prefetch <= 64 || st.InFlight != 0 {
			t.Errorf("those that are done still count: %+v", st)
		}
	})
}

func TestAPrefetchEndsWithItsResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Prefetch: true})
		lookupA(t, r, host)
		time.Sleep(280 * time.Second)
		s.Handle(dnstest.Silent)
		lookupA(t, r, host)
		lookupA(t, r, host)
		synctest.Wait()
		if st := r.Stats(); st.InFlight != 1 {
			t.Fatalf("stats %+v", st)
		}
		started := time.Now()
		r.Close()
		if took := time.Since(started); took != 0 {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Exchange(ctx, dnswire.Question{Name: "one.shop.example", Type: dnswire.A}); err == nil {
			t.Error("a closed resolver answers")
		}
	})
}
