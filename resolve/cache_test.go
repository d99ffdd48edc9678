package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

// one starts a DoT resolver on the rig and gives a Resolver that asks it.
func one(t *testing.T, h dnstest.Handler, o resolve.Options) (*rig, *dnstest.Server, *resolve.Resolver) {
	t.Helper()
	g := newRig(t)
	s := g.Serve(dot, first, h)
	return g, s, g.resolver(t, o, g.Upstream(dot, first))
}

func wantAsked(t *testing.T, s *dnstest.Server, host string, want int) {
	t.Helper()
	if n := s.Count(host, dnswire.A); n != want {
		t.Errorf("%s was asked for %d times, want %d", host, n, want)
	}
}

func TestAnAnswerIsKeptAsLongAsItsTTLAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		host := "www.shop.example" // its CNAME record has the smallest TTL, 30 seconds
		lookupA(t, r, host)
		time.Sleep(29 * time.Second)
		lookupA(t, r, host)
		wantAsked(t, s, host, 1)
		a, err := r.Exchange(t.Context(), dnswire.Question{Name: host, Type: dnswire.A})
		if err != nil || a.TTL != time.Second || a.Records[0].TTL != 1 || a.Records[1].TTL != 271 {
			t.Errorf("after 29 seconds: %+v, %v", a, err)
		}
		time.Sleep(time.Second)
		lookupA(t, r, host)
		wantAsked(t, s, host, 2)
	})
}

func TestAnAnswerIsKeptAsLongAsItsTTLLessItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(doh, first, dnstest.Age(dnsrig.Zone.Handler(), 290))
		r := g.resolver(t, resolve.Options{}, g.Upstream(doh, first))
		a, err := r.Exchange(t.Context(), dnswire.Question{Name: "four.shop.example", Type: dnswire.A})
		if err != nil || a.TTL != 10*time.Second || a.Records[0].TTL != 10 {
			t.Fatalf("%+v, %v", a, err)
		}
		time.Sleep(11 * time.Second)
		lookupA(t, r, "four.shop.example")
		if n := s.Count("four.shop.example", dnswire.A); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestAStaleAnswerIsNeverServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		lookupA(t, r, "four.shop.example")
		s.Close()
		time.Sleep(301 * time.Second)
		dnsrig.WantFault(t, lookupA(t, r, "four.shop.example"), fault.ResolverUnreachable, "")
	})
}

func TestATTLOfZeroIsUsedOnceByThoseWhoWaitAndNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		_, s, r := one(t, dnstest.Held(dnsrig.Zone.Handler(), release), resolve.Options{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := lookupA(t, r, "once.shop.example"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		wantAsked(t, s, "once.shop.example", 1)
		lookupA(t, r, "once.shop.example")
		wantAsked(t, s, "once.shop.example", 2)
		if st := r.Stats(); st.Joined != 9 || st.Misses != 2 || st.Entries != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAHugeTTLIsKeptForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		lookupA(t, r, "ever.shop.example")
		time.Sleep(24*time.Hour - time.Second)
		lookupA(t, r, "ever.shop.example")
		wantAsked(t, s, "ever.shop.example", 1)
		time.Sleep(time.Second)
		lookupA(t, r, "ever.shop.example")
		wantAsked(t, s, "ever.shop.example", 2)
	})
}

func TestANegativeAnswerIsKeptAsItsSOARecordSays(t *testing.T) {
	for host, code := range map[string]fault.Code{"nope.shop.example": fault.DNSNXDomain, "text.shop.example": fault.DNSNoData} {
		synctest.Test(t, func(t *testing.T) {
			_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{}) // MINIMUM is 60 seconds, the SOA's TTL an hour
			dnsrig.WantFault(t, lookupA(t, r, host), code, host)
			time.Sleep(59 * time.Second)
			dnsrig.WantFault(t, lookupA(t, r, host), code, host)
			wantAsked(t, s, host, 1)
			time.Sleep(time.Second)
			dnsrig.WantFault(t, lookupA(t, r, host), code, host)
			wantAsked(t, s, host, 2)
		})
	}
}

func TestANegativeAnswerWithoutASOARecordIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnstest.RCode(dnswire.NXDomain), resolve.Options{})
		lookupA(t, r, "nope.shop.example")
		lookupA(t, r, "nope.shop.example")
		wantAsked(t, s, "nope.shop.example", 2)
	})
}

func TestAFailureIsKeptForASecondAndThenTwiceAsLongUpToFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnstest.RCode(dnswire.ServFail), resolve.Options{})
		host := "four.shop.example"
		asked := 0
		for _, hold := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
			asked++
			dnsrig.WantFault(t, lookupA(t, r, host), fault.DNSServFail, "SERVFAIL")
			time.Sleep(time.Duration(hold)*time.Second - time.Millisecond)
			dnsrig.WantFault(t, lookupA(t, r, host), fault.DNSServFail, "SERVFAIL")
			wantAsked(t, s, host, asked)
			time.Sleep(time.Millisecond)
		}
		s.Handle(dnsrig.Zone.Handler())
		wantAddrs(t, r, host, "192.0.2.4")
		time.Sleep(301 * time.Second)
		s.Handle(dnstest.RCode(dnswire.ServFail))
		lookupA(t, r, host)
		time.Sleep(time.Second) // the success put the count back to one
		before := s.Count(host, dnswire.A)
		lookupA(t, r, host)
		wantAsked(t, s, host, before+1)
	})
}

func TestTheCacheIsBoundedAndDropsWhatWasUsedLeastRecently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z dnstest.Zone
		for i := range 12 {
			z = append(z, fmt.Sprintf("h%d.shop.example. 300 A 192.0.2.1", i))
		}
		_, _, r := one(t, z.Handler(), resolve.Options{})
		lookupA(t, r, "h0.shop.example")
		each := r.Stats().Octets
		_, s, r := one(t, z.Handler(), resolve.Options{CacheOctets: 10*each + each/2})
		for i := range 10 {
			lookupA(t, r, fmt.Sprintf("h%d.shop.example", i))
		}
		lookupA(t, r, "h0.shop.example") // used again: h1 is the oldest now
		lookupA(t, r, "h10.shop.example")
		if st := r.Stats(); st.Entries != 10 || st.Evicted != 1 || st.Hits != 1 || st.Octets > st.MaxOctets {
			t.Errorf("stats %+v", st)
		}
		lookupA(t, r, "h0.shop.example")
		wantAsked(t, s, "h0.shop.example", 1)
		lookupA(t, r, "h1.shop.example")
		wantAsked(t, s, "h1.shop.example", 2)
	})
}

func TestALargeAnswerTakesThePlaceOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := dnstest.Zone{"small.shop.example. 300 A 192.0.2.1"}
		for i := range 10 {
			for j := range 1500 {
				z = append(z, fmt.Sprintf("h%d.shop.example. 300 A 10.0.%d.%d", i, j/256, j%256))
			}
		}
		_, _, r := one(t, z.Handler(), resolve.Options{CacheOctets: 160 << 10})
		for i := range 10 {
			if err := lookupA(t, r, fmt.Sprintf("h%d.shop.example", i)); err != nil {
				t.Fatal(err)
			}
		}
		if st := r.Stats(); st.Octets > 160<<10 || st.Entries != 2 || st.Evicted != 8 {
			t.Errorf("stats %+v", st)
		}
		_, _, r = one(t, z.Handler(), resolve.Options{CacheOctets: 32 << 10})
		lookupA(t, r, "small.shop.example")
		lookupA(t, r, "h0.shop.example")
		if st := r.Stats(); st.Entries != 1 || st.Evicted != 0 {
			t.Errorf("what is larger than the cache emptied it: %+v", st)
		}
	})
}

// What is asked for as a message, and not for its addresses alone, is kept unpacked too, and that is counted.
func TestAnAnswerThatIsUnpackedCostsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		lookupA(t, r, "four.shop.example")
		packed := r.Stats().Octets
		q := dnswire.Question{Name: "four.shop.example", Type: dnswire.A}
		for range 2 {
			if a, err := r.Exchange(t.Context(), q); err != nil || len(a.Addrs()) != 1 {
				t.Fatal(a, err)
			}
		}
		if st := r.Stats(); st.Octets < packed+200 || st.Octets > packed+1000 {
			t.Errorf("%d octets packed, %d unpacked", packed, st.Octets)
		}
		wantAsked(t, s, "four.shop.example", 1)
		r.Flush()
		if st := r.Stats(); st.Octets != 0 || st.Entries != 0 {
			t.Errorf("after Flush: %+v", st)
		}
	})
}

func TestWithoutACacheEveryLookupIsAskedButFailuresAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		o := resolve.Options{Sink: g.sink, Upstreams: []upstream.Upstream{g.Upstream(dot, first)}}
		r, err := resolve.New(o, g.Way())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		lookupA(t, r, "four.shop.example")
		lookupA(t, r, "four.shop.example")
		wantAsked(t, s, "four.shop.example", 2)
		s.Handle(dnstest.RCode(dnswire.ServFail))
		lookupA(t, r, "one.shop.example")
		lookupA(t, r, "one.shop.example")
		wantAsked(t, s, "one.shop.example", 1)
	})
}

func TestOneWhoGivesUpDoesNotEndTheLookupOfTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		_, s, r := one(t, dnstest.Held(dnsrig.Zone.Handler(), release), resolve.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := r.LookupFamily(ctx, "four.shop.example", dnswire.A)
			if f := dnsrig.WantFault(t, err, fault.DNSTimeout, ""); !errors.Is(f, context.Canceled) {
				t.Errorf("cause %v", f.Err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if err := lookupA(t, r, "four.shop.example"); err != nil {
				t.Errorf("the other: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		wg.Wait()
		wantAsked(t, s, "four.shop.example", 1)
	})
}

func TestFlushEmptiesTheCacheAndALookupUnderWayDoesNotFillIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		lookupA(t, r, "four.shop.example")
		r.Flush()
		lookupA(t, r, "four.shop.example")
		wantAsked(t, s, "four.shop.example", 2)

		release := make(chan struct{})
		s.Handle(dnstest.Held(dnsrig.Zone.Handler(), release))
		var wg sync.WaitGroup
		wg.Go(func() { lookupA(t, r, "one.shop.example") })
		synctest.Wait()
		r.Flush()
		wg.Go(func() { lookupA(t, r, "one.shop.example") }) // asks anew instead of joining
		synctest.Wait()
		wantAsked(t, s, "one.shop.example", 2)
		r.Flush()
		close(release)
		wg.Wait()
		if st := r.Stats(); st.Entries != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestEveryCallerGetsASliceAndAFaultOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		a, _ := r.LookupFamily(t.Context(), "four.shop.example", dnswire.A)
		a[0] = first
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		f := lookupA(t, r, "nope.shop.example").(*fault.Error)
		f.Message = "changed"
		dnsrig.WantFault(t, lookupA(t, r, "nope.shop.example"), fault.DNSNXDomain, "does not exist")
	})
}

func TestCachedTellsWhatIsKnownWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		if _, _, known := r.Cached("four.shop.example", dnswire.A); known || len(s.Log()) != 0 {
			t.Error("known before anybody asked")
		}
		lookupA(t, r, "four.shop.example")
		if a, err, known := r.Cached("four.shop.example", dnswire.A); !known || err != nil || len(a) != 1 {
			t.Errorf("%v, %v, %v", a, err, known)
		}
		if a, err, known := r.Cached("localhost", dnswire.A); !known || err != nil || len(a) != 1 {
			t.Errorf("localhost: %v, %v, %v", a, err, known)
		}
		if _, err, known := r.Cached("printer.local", dnswire.A); !known || fault.Of(err).Code != fault.DNSNXDomain {
			t.Errorf("printer.local: %v, %v", err, known)
		}
	})
}

func TestACacheHitCostsAtMostTwoAllocations(t *testing.T) {
	g := newRig(t)
	g.Serve(dot, first, dnsrig.Zone.Handler())
	u := g.Upstream(dot, first)
	o := resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}, CacheOctets: 1 << 20}
	r, err := resolve.New(o, g.Way())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	lookupA(t, r, "four.shop.example")
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { r.LookupFamily(ctx, "four.shop.example", dnswire.A) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	g := newRig(b)
	g.Serve(dot, first, dnsrig.Zone.Handler())
	u := g.Upstream(dot, first)
	r, err := resolve.New(resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}, CacheOctets: 1 << 20}, g.Way())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.LookupFamily(ctx, "four.shop.example", dnswire.A); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExchangeHit(b *testing.B) {
	g := newRig(b)
	g.Serve(dot, first, dnsrig.Zone.Handler())
	u := g.Upstream(dot, first)
	r, err := resolve.New(resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}, CacheOctets: 1 << 20}, g.Way())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	ctx := b.Context()
	q := dnswire.Question{Name: "four.shop.example", Type: dnswire.A}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Exchange(ctx, q); err != nil {
			b.Fatal(err)
		}
	}
}
