package resolve_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

// outcome is what the one who began a look-up was told.
type outcome struct {
	answer *dnswire.Answer
	err    error
	times  int
	after  time.Duration
}

// begin begins a look-up for a host's IPv4 addresses, with the time that the door gives a question.
func begin(r *resolve.Resolver, host string) (*outcome, bool) {
	var o outcome
	began := time.Now()
	ok := r.Begin(began.Add(10*time.Second), dnswire.Question{Name: host, Type: dnswire.A}, func(a *dnswire.Answer, err error) {
		o = outcome{a, err, o.times + 1, time.Since(began)}
	})
	return &o, ok
}

// begun begins a look-up that has to begin, and waits for its end.
func begun(t *testing.T, r *resolve.Resolver, host string) *outcome {
	t.Helper()
	o, ok := begin(r, host)
	if !ok {
		t.Fatalf("%s was not asked for", host)
	}
	time.Sleep(8 * time.Second)
	synctest.Wait()
	if o.times != 1 {
		t.Fatalf("%s: told %d times", host, o.times)
	}
	return o
}

func TestALookupThatNobodyWaitsForIsLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		for _, host := range []string{"four.shop.example", "one.shop.example"} { // the second over the connection of the first
			o := begun(t, r, host)
			if o.err != nil || len(o.answer.Addrs()) != 1 {
				t.Errorf("%s: %+v", host, o)
			}
			if err := lookupA(t, r, host); err != nil {
				t.Error(err)
			}
			wantAsked(t, s, host, 1) // the answer was kept
		}
		if s.Conns() != 1 {
			t.Errorf("%d connections", s.Conns())
		}
		fresh := 0
		for _, l := range g.sink.all() {
			if !l.Cached && l.Type == "A" {
				fresh++
			}
		}
		if fresh != 2 {
			t.Errorf("%d look-ups were reported", fresh)
		}
		if o := begun(t, r, "missing.shop.example"); o.err != nil || o.answer.RCode != dnswire.NXDomain {
			t.Errorf("%+v", o)
		}
	})
}

func TestALookupThatNobodyWaitsForFailsLikeAnyOther(t *testing.T) {
	for name, test := range map[string]struct {
		first, second dnstest.Handler // second is nil where there is no second upstream
		code          fault.Code      // empty for an answer
		after         time.Duration
	}{
		"silent":                 {dnstest.Silent, nil, fault.DNSTimeout, resolve.DefaultTimeout},
		"silent, and the next":   {dnstest.Silent, dnsrig.Zone.Handler(), "", resolve.DefaultAttemptTimeout},
		"broken":                 {dnstest.Hangup, nil, fault.ResolverUnreachable, 0},
		"broken, and the next":   {dnstest.Hangup, dnsrig.Zone.Handler(), "", 0},
		"SERVFAIL is final":      {dnstest.RCode(dnswire.ServFail), dnsrig.Zone.Handler(), fault.DNSServFail, 0},
		"and both are silent":    {dnstest.Silent, dnstest.Silent, fault.DNSTimeout, resolve.DefaultTimeout},
		"and both are not there": {dnstest.Hangup, dnstest.Hangup, fault.ResolverUnreachable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				s := g.Serve(dot, first, dnsrig.Zone.Handler())
				ups := []upstream.Upstream{g.Upstream(dot, first)}
				if test.second != nil {
					g.Serve(dot, second, test.second)
					ups = append(ups, g.Upstream(dot, second))
				}
				r := g.resolver(t, resolve.Options{}, ups...)
				wantAddrs(t, r, "four.shop.example", "192.0.2.4") // a connection is at hand
				s.Handle(test.first)
				o := begun(t, r, "one.shop.example")
				if test.code == "" {
					if o.err != nil || len(o.answer.Addrs()) != 1 {
						t.Errorf("%+v", o)
					}
				} else {
					dnsrig.WantFault(t, o.err, test.code, "")
				}
				if o.after != test.after {
					t.Errorf("after %v", o.after)
				}
			})
		})
	}
}

func TestAConnectionThatBreaksUnderABegunLookupIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := dnsrig.Zone.Handler()
		var mu sync.Mutex
		breaks := 0
		_, s, r := one(t, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if breaks > 0 {
				breaks--
				return dnstest.Hangup(ctx, q)
			}
			return answers(ctx, q)
		}, resolve.Options{})
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		mu.Lock()
		breaks = 1
		mu.Unlock()
		if o := begun(t, r, "one.shop.example"); o.err != nil {
			t.Error(o.err)
		}
		if s.Conns() != 2 {
			t.Errorf("%d connections", s.Conns())
		}
		if st := r.Stats().Upstreams[0]; !st.Healthy || st.Errors != 0 || st.InFlight != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestNothingBeginsWhereThereIsMoreToDoThanToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		release := make(chan struct{})
		g.Serve(dot, first, dnstest.Held(dnsrig.Zone.Handler(), release))
		g.Serve(dot, second, dnsrig.Zone.Handler())
		up, other := g.Upstream(dot, first), g.Upstream(dot, second)
		plain := g.resolver(t, resolve.Options{}, up)
		never := func(why string, r *resolve.Resolver, host string) {
			t.Helper()
			if _, ok := begin(r, host); ok {
				t.Errorf("%s: it began", why)
			}
		}
		never("a special-use name", plain, "a.localhost")
		never("a race", g.resolver(t, resolve.Options{Strategy: resolve.Strategy{Race: 2}}, up, other), "one.shop.example")
		never("validation", g.resolver(t, resolve.Options{DNSSEC: resolve.DNSSEC{Mode: resolve.Validate}}, up), "one.shop.example")
		never("more time than there is", g.resolver(t, resolve.Options{Timeout: 11 * time.Second}, up), "one.shop.example")
		first, ok := begin(plain, "one.shop.example")
		if !ok {
			t.Fatal("it did not begin")
		}
		never("somebody asks already", plain, "one.shop.example")
		joined := make(chan error)
		go func() { joined <- lookupA(t, plain, "one.shop.example") }()
		synctest.Wait()
		close(release)
		if err := <-joined; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if first.times != 1 || first.err != nil {
			t.Errorf("%+v", first)
		}
		never("it is known", plain, "one.shop.example")
		down := g.resolver(t, resolve.Options{}, g.Upstream(dot, third))
		lookupA(t, down, "two.shop.example")
		never("the upstream is left alone", down, "one.shop.example")
		plain.Close()
		never("closed", plain, "two.shop.example")
	})
}

func TestCloseEndsWhatWasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		s.Handle(dnstest.Silent)
		var all []*outcome
		for i := range 100 { // some of them wait for a goroutine, since one connection takes only so many
			o, ok := begin(r, fmt.Sprintf("h%d.shop.example", i))
			if !ok {
				t.Fatal("it did not begin")
			}
			all = append(all, o)
		}
		synctest.Wait()
		if n := r.Stats().InFlight; n != 100 {
			t.Errorf("%d under way", n)
		}
		r.Close()
		for _, o := range all {
			if o.times != 1 {
				t.Fatalf("told %d times", o.times)
			}
			dnsrig.WantFault(t, o.err, fault.NotReady, "")
		}
	})
}

func TestCloseEndsWhatWasBegunBeforeAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		s.Handle(dnstest.Silent)
		o, ok := begin(r, "one.shop.example")
		if !ok {
			t.Fatal("it did not begin")
		}
		r.Flush() // leaves the connection to what is under way on it
		started := time.Now()
		r.Close()
		if took := time.Since(started); took != 0 || o.times != 1 {
			t.Errorf("after %v, told %d times", took, o.times)
		}
		dnsrig.WantFault(t, o.err, fault.NotReady, "")
	})
}

func TestAnExpiredAnswerStandsInForABegunLookupThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Stale: time.Hour})
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		s.Handle(dnstest.RCode(dnswire.ServFail))
		time.Sleep(301 * time.Second)
		if _, ok := begin(r, "four.shop.example"); ok {
			t.Error("it began, though there is something to give meanwhile")
		}
	})
}
