package resolve_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"watertight/clock"
	"watertight/dnssec"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/resolve"
)

func TestByAClockThatIsBehindWhatHasPassedNothingIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range []resolve.Mode{resolve.Off, resolve.Validate} {
			s := newSigned(t)
			o := resolve.Options{Floor: clock.NewFloor(time.Now().Add(time.Hour), "")}
			if mode != resolve.Off {
				o.DNSSEC = s.options(t, mode).DNSSEC
			}
			_, server, r := signedOne(t, s, o)
			f := dnsrig.WantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUntrusted, "the clock says 2000-01-01")
			if f.Hint != "set the clock of this host" {
				t.Errorf("%+v", f)
			}
			if err := r.Probe(t.Context()); err == nil || server.Conns() != 0 {
				t.Errorf("%v, %d connections", err, server.Conns())
			}
			time.Sleep(2 * time.Hour)
			if err := lookupA(t, r, "api.shop.example"); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestByAClockThatFallsBehindWhatHasPassedNothingIsJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.valid = 1000 * time.Hour
		o := s.options(t, resolve.Validate)
		var shift atomic.Int64
		o.Now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		o.Floor = clock.NewFloor(time.Now(), "")
		_, server, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := chainOf(server)
		shift.Store(int64(-2 * time.Hour)) // less than what is forgiven where nothing is known
		for _, host := range []string{"www.shop.example", "www.plain.example"} {
			wantBogus(t, lookupA(t, r, host), "the clock says ", dnssec.EDEIndeterminate)
		}
		if n := chainOf(server) - before; n != 0 {
			t.Errorf("%d look-ups of the chain", n)
		}
	})
}

// The word of the root about the time is the beginning of its signature over its keys.
func TestTheRootsSignatureProvesThatItsBeginningHasPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		o := s.options(t, resolve.Validate)
		o.Floor = clock.NewFloor(time.Now().Add(-48*time.Hour), "")
		s.change(unsign)
		_, _, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err == nil {
			t.Error("it passed")
		}
		synctest.Wait()
		if got := time.Since(o.Floor.At()); got != 48*time.Hour {
			t.Errorf("keys without a signature prove that %v ago has passed", got)
		}
		s.change(nil)
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if got := time.Since(o.Floor.At()); got.Round(time.Minute) != time.Hour {
			t.Errorf("%v ago has passed for certain, and the root signed an hour ago", got)
		}
		_ = r
	})
}

func TestAnAnswerOfTheFutureIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		var shift atomic.Int64
		o := resolve.Options{Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
		_, server, r := signedOne(t, s, o)
		for i, want := range []int{1, 1, 2} {
			if i == 2 {
				shift.Store(int64(-2 * time.Hour))
			}
			if err := lookupA(t, r, "api.shop.example"); err != nil {
				t.Fatal(err)
			}
			if n := server.Count("api.shop.example", 1); n != want {
				t.Errorf("asked %d times, want %d", n, want)
			}
		}
	})
}

func TestAClockThatIsSetBackFarJudgesNothingAndACorrectionIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.valid = 1000 * time.Hour
		o := s.options(t, resolve.Validate)
		var shift atomic.Int64
		o.Now = func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }
		_, _, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		shift.Store(int64(-30 * time.Minute))
		if err := lookupA(t, r, "www.shop.example"); err != nil {
			t.Error(err)
		}
		shift.Store(int64(-48 * time.Hour))
		r.Flush()
		for _, host := range []string{"api.shop.example", "www.plain.example"} {
			f := dnsrig.WantFault(t, lookupA(t, r, host), fault.DNSBogus, "the clock says 1999-12-30")
			if f.ExtendedError() != dnssec.EDEIndeterminate || f.Hint == "" {
				t.Errorf("%+v", f)
			}
		}
	})
}
