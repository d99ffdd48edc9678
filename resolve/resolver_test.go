package resolve_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/transport"
	"watertight/upstream"
)

// covered names the test that fails if a field had no effect.
var covered = map[string]func(*testing.T){
	"Options.Channel":        TestEveryQuestionIsReportedOnceWithoutItsName,
	"Options.Upstreams":      TestTheSecondUpstreamIsAskedWhereTheFirstGivesNoReply,
	"Options.Forward":        TestASpecialUseSuffixIsAskedOnlyWhereTheConfigurationSaysSo,
	"Options.DNSSEC":         TestAChangedAnswerIsBogusAndIsNotKeptAsGood,
	"Options.CacheOctets":    TestTheCacheIsBoundedAndDropsWhatWasUsedLeastRecently,
	"Options.Strategy":       TestInARaceSoManyUpstreamsSeeANameAndTheFirstAnswerIsTaken,
	"Options.Budget":         TestSeveralCachesStayWithinTheirBudget,
	"Options.Stale":          TestAStaleAnswerStandsInWhereNoUpstreamGivesAnother,
	"Options.Prefetch":       TestAHotAnswerIsAskedForAgainBeforeItExpires,
	"Options.Timeout":        TestABlackholeIsDNS_TIMEOUTAfterTheWholeTimeout,
	"Options.AttemptTimeout": TestTheAttemptTimeoutLeavesTimeForTheNextUpstream,
	"Options.IdleTimeout":    TestAnUnusedConnectionIsClosedAfterTheIdleTimeout,
	"Options.Sink":           TestEveryQuestionIsReportedOnceWithoutItsName,
	"Options.Now":            TestTheClockCanBeGiven,
	"Options.Floor":          TestByAClockThatIsBehindWhatHasPassedNothingIsAsked,

	"DNSSEC.Mode":            TestWhatItsOwnerDoesNotSignPassesUnlessAllHasToBeSecure,
	"DNSSEC.Anchors":         TestAForeignRootIsBogus,
	"DNSSEC.NegativeAnchors": TestNothingIsValidatedAtAndBelowANegativeAnchor,
	"DNSSEC.Keep":            TestTheTimeOfANewKeyOfTheRootGoesOnOverARestart,
}

func TestEveryOptionHasATest(t *testing.T) {
	known := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[resolve.Options](), reflect.TypeFor[resolve.DNSSEC]()} {
		for i := range typ.NumField() {
			field := typ.Name() + "." + typ.Field(i).Name
			known[field] = true
			if covered[field] == nil {
				t.Errorf("%s has no test; add it to the table", field)
			}
		}
	}
	for field := range covered {
		if !known[field] {
			t.Errorf("%s is in the table and does not exist", field)
		}
	}
}

func TestNilAndNothingAreErrorsOfTheConstructor(t *testing.T) {
	dial := func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, net.ErrClosed }
	up, err := upstream.Parse("quad9")
	if err != nil {
		t.Fatal(err)
	}
	good := resolve.Options{Upstreams: []upstream.Upstream{up}, Sink: event.Discard{}}
	if r, err := resolve.New(good, transport.Way{Dial: dial}); err != nil {
		t.Error(err)
	} else {
		r.Close()
	}
	if _, err := resolve.New(good, transport.Way{}); err == nil {
		t.Error("a resolver without a dial function")
	}
	for name, change := range map[string]func(*resolve.Options){
		"no upstream":        func(o *resolve.Options) { o.Upstreams = nil },
		"zero upstream":      func(o *resolve.Options) { o.Upstreams = []upstream.Upstream{{}} },
		"no sink":            func(o *resolve.Options) { o.Sink = nil },
		"negative cache":     func(o *resolve.Options) { o.CacheOctets = -1 },
		"negative age":       func(o *resolve.Options) { o.Stale = -1 },
		"endless age":        func(o *resolve.Options) { o.CacheOctets, o.Stale = 1<<20, resolve.MaxStale+1 },
		"stale, no cache":    func(o *resolve.Options) { o.Stale = time.Hour },
		"prefetch, no cache": func(o *resolve.Options) { o.Prefetch = true },
		"negative time-out":  func(o *resolve.Options) { o.Timeout = -1 },
		"unknown mode":       func(o *resolve.Options) { o.DNSSEC.Mode = "valid" },
		"idle anchors":       func(o *resolve.Options) { o.DNSSEC.Anchors = dnssec.RootAnchors() },
		"idle exception":     func(o *resolve.Options) { o.DNSSEC.NegativeAnchors = []string{"corp.example"} },
		"strict exception": func(o *resolve.Options) {
			o.DNSSEC.Mode, o.DNSSEC.NegativeAnchors = "require-secure", []string{"a.example"}
		},
		"exception for all": func(o *resolve.Options) { o.DNSSEC.Mode, o.DNSSEC.NegativeAnchors = "validate", []string{""} },
		"empty anchor":      func(o *resolve.Options) { o.DNSSEC.Mode, o.DNSSEC.Anchors = "validate", make([]dnssec.Anchor, 1) },
		"broken CA":         func(o *resolve.Options) { o.Upstreams[0].CA = [][]byte{{1}} },
	} {
		o := good
		o.Upstreams = []upstream.Upstream{up}
		change(&o)
		if _, err := resolve.New(o, transport.Way{Dial: dial}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAnswersComeForBothFamiliesIPv6First(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{}, g.Upstream(k, first))
		wantAddrs(t, r, "api.shop.example", "2001:db8::1 192.0.2.1")
		wantAddrs(t, r, "WWW.Shop.Example.", "2001:db8::1 192.0.2.1")
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		_, err := r.Lookup(t.Context(), "text.shop.example")
		dnsrig.WantFault(t, err, fault.DNSNoData, "text.shop.example has no address record")
		_, err = r.Lookup(t.Context(), "nope.shop.example")
		dnsrig.WantFault(t, err, fault.DNSNXDomain, "nope.shop.example does not exist")
	})
}

func TestOneFamilyThatFailsDoesNotHideTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := dnsrig.Zone.Handler()
		_, _, r := one(t, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Type == dnswire.AAAA {
				return dnstest.RCode(dnswire.ServFail)(ctx, q)
			}
			return answers(ctx, q)
		}, resolve.Options{})
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		_, err := r.Lookup(t.Context(), "text.shop.example")
		dnsrig.WantFault(t, err, fault.DNSServFail, "SERVFAIL")
	})
}

func TestExchangeGivesNegativeAnswersAsAnswersAndAnyType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		a, err := r.Exchange(t.Context(), dnswire.Question{Name: "TEXT.shop.example.", Type: dnswire.TXT})
		if err != nil || a.Records[0].Text() != `"hello"` || resolve.Verdict(a) != nil {
			t.Errorf("%+v, %v", a, err)
		}
		a, err = r.Exchange(t.Context(), dnswire.Question{Name: "nope.shop.example", Type: dnswire.TXT})
		if err != nil || a.RCode != dnswire.NXDomain || resolve.Verdict(a).Code != fault.DNSNXDomain {
			t.Errorf("%+v, %v", a, err)
		}
		a, err = r.Exchange(t.Context(), dnswire.Question{Name: "four.shop.example", Type: dnswire.TXT})
		if err != nil || a.RCode != dnswire.NoError || resolve.Verdict(a).Code != fault.DNSNoData {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestTheAttemptTimeoutLeavesTimeForTheNextUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(dot, first, dnstest.Silent)
		g.Serve(dot, second, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{AttemptTimeout: 700 * time.Millisecond}, g.Upstream(dot, first), g.Upstream(dot, second))
		start := time.Now()
		if err := lookupA(t, r, "four.shop.example"); err != nil || time.Since(start) != 700*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestTheClockCanBeGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		shift := time.Duration(0)
		now := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(shift)
		}
		_, s, r := one(t, dnsrig.Zone.Handler(), resolve.Options{Now: now})
		lookupA(t, r, "four.shop.example")
		mu.Lock()
		shift = 301 * time.Second
		mu.Unlock()
		lookupA(t, r, "four.shop.example")
		wantAsked(t, s, "four.shop.example", 2)
	})
}

func TestAnUpstreamThatFailsIsLeftAloneForAWhileAndASuccessEndsThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		dials := 0
		for _, hold := range []int{1, 2, 4, 8, 16, 30, 30} {
			dials++
			dnsrig.WantFault(t, lookupA(t, r, "four.shop.example"), fault.ResolverUnreachable, "refused")
			time.Sleep(time.Duration(hold)*time.Second - time.Millisecond)
			f := dnsrig.WantFault(t, lookupA(t, r, "one.shop.example"), fault.ResolverUnreachable, "refused")
			if !strings.Contains(f.Hint, "tried again in 1s") {
				t.Errorf("hint %q", f.Hint)
			}
			if n := len(g.Net.Dials()); n != dials {
				t.Fatalf("%d dials, want %d", n, dials)
			}
			time.Sleep(time.Millisecond)
		}
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		if st := r.Stats().Upstreams[0]; !st.Healthy || st.Failures != 0 || st.LastError != "" || st.LastOK.IsZero() {
			t.Errorf("stats %+v", st)
		}
		s.Close()
		synctest.Wait()
		lookupA(t, r, "two.shop.example")
		time.Sleep(time.Second) // back at the first pause
		before := len(g.Net.Dials())
		lookupA(t, r, "two.shop.example")
		if len(g.Net.Dials()) != before+1 {
			t.Error("the pause did not start again at a second")
		}
	})
}

func TestAFewQuestionsWithoutReplyPutTheUpstreamAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnstest.Silent)
		g.Serve(dot, second, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first), g.Upstream(dot, second))
		for _, host := range []string{"one.shop.example", "two.shop.example", "four.shop.example"} {
			lookupA(t, r, host)
		}
		start := time.Now()
		lookupA(t, r, "ever.shop.example")
		if took := time.Since(start); took != 0 {
			t.Errorf("the silent upstream was asked again: it took %v", took)
		}
		wantAsked(t, s, "ever.shop.example", 0)
	})
}

func TestProbeAcceptsAnyReplyPastCacheAndBackoffAndTellsNoName(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		r := g.resolver(t, resolve.Options{}, g.Upstream(k, first))
		dnsrig.WantFault(t, r.Probe(t.Context()), fault.ResolverUnreachable, "refused")
		s := g.Serve(k, first, dnstest.RCode(dnswire.ServFail))
		if err := r.Probe(t.Context()); err != nil { // at once: the pause is not waited for
			t.Error(err)
		}
		if st := r.Stats().Upstreams[0]; !st.Healthy {
			t.Errorf("stats %+v", st)
		}
		s.Handle(dnstest.Malformed)
		dnsrig.WantFault(t, r.Probe(t.Context()), fault.DNSServFail, "malformed")
		var results []string
		for _, e := range g.sink.all() {
			results = append(results, string(e.Code)+e.RCode)
		}
		if want := []string{string(fault.ResolverUnreachable), "SERVFAIL", string(fault.DNSServFail)}; !slices.Equal(results, want) {
			t.Errorf("the probes are reported as %q, want %q", results, want)
		}
		for _, n := range s.Names() {
			if n != "" && !strings.HasSuffix(n, dnsrig.ServerName) { // its own
				t.Errorf("the probe asked for %q", n)
			}
		}
	})
}

func TestEveryQuestionIsReportedOnceWithoutItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		lookupA(t, r, "four.shop.example")
		time.Sleep(7 * time.Second)
		lookupA(t, r, "four.shop.example")
		lookupA(t, r, "nope.shop.example")
		lookupA(t, r, "localhost")
		want := []event.Lookup{
			{Channel: "direct", Upstream: "tls://" + dnsrig.ServerName, Type: "A", RCode: "NOERROR"},
			{Channel: "direct", Type: "A", RCode: "NOERROR", Cached: true, Hit: true, Age: 7 * time.Second},
			{Channel: "direct", Upstream: "tls://" + dnsrig.ServerName, Type: "A", RCode: "NXDOMAIN"},
			{Channel: "direct", Type: "A", RCode: "NOERROR", Cached: true},
		}
		if got := g.sink.all(); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v", got)
		}
	})
}

func TestCloseEndsLookupsUnderWayAndEveryConnection(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnstest.Silent)
		r := g.resolver(t, resolve.Options{}, g.Upstream(k, first))
		var wg sync.WaitGroup
		wg.Go(func() { dnsrig.WantFault(t, lookupA(t, r, "four.shop.example"), fault.NotReady, "closed") })
		synctest.Wait()
		start := time.Now()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if s.Live() != 0 {
			t.Error("a connection is still open")
		}
		dnsrig.WantFault(t, lookupA(t, r, "one.shop.example"), fault.NotReady, "closed")
		dnsrig.WantFault(t, r.Probe(t.Context()), fault.NotReady, "closed")
		r.Close()
	})
}

func TestManyLookupsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Net.Blackhole(netip.AddrPortFrom(first, 853), true)
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		var wg sync.WaitGroup
		for i := range 4096 {
			wg.Go(func() { lookupA(t, r, fmt.Sprintf("h%d.shop.example", i)) })
		}
		synctest.Wait()
		dnsrig.WantFault(t, lookupA(t, r, "one.more.shop.example"), fault.Limit, "4096")
		wg.Wait()
	})
}

func TestAnUnusedConnectionIsClosedAfterTheIdleTimeout(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{IdleTimeout: 20 * time.Second}, g.Upstream(k, first))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		time.Sleep(19 * time.Second)
		wantAddrs(t, r, "one.shop.example", "192.0.2.11")
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if s.Live() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s.Live() != 0 || r.Stats().Upstreams[0].Conns != 0 {
			t.Error("still open")
		}
	})
}

func TestFlushForgetsTheSessionsOfTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		r.Flush()
		synctest.Wait()
		if n := r.Stats().Upstreams[0].Conns; n != 0 {
			t.Errorf("%d connections are in use across Flush", n)
		}
		wantAddrs(t, r, "one.shop.example", "192.0.2.11")
		if n := len(g.Net.Dials()); n != 2 {
			t.Errorf("%d connections were made, want a second one after Flush", n)
		}
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session was resumed across Flush")
			}
		}
	})
}

// TestOverRealSockets runs every transport over sockets of the loopback interface.
func TestOverRealSockets(t *testing.T) {
	for _, k := range dnsrig.Kinds {
		t.Run(string(k), func(t *testing.T) {
			s, u := dnsrig.OnLoopback(t, k, dnsrig.Zone.Handler())
			o := resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}, CacheOctets: 1 << 20}
			r, err := resolve.New(o, dnsrig.Sockets())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Probe(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantAddrs(t, r, "www.shop.example", "2001:db8::1 192.0.2.1")
			s.DropConns()
			wantAddrs(t, r, "one.shop.example", "192.0.2.11")
			s.Close()
			err = r.Probe(t.Context())
			if f := fault.Of(err); err == nil || f.Code != fault.ResolverUnreachable {
				t.Errorf("probe of a closed server: %v", err)
			}
			if strings.Contains(fmt.Sprint(err), "lookup") {
				t.Errorf("somebody looked something up: %v", err)
			}
		})
	}
}
