package transport_test

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

// covered names the test that fails if a field had no effect.
var covered = map[string]func(*testing.T){
	"Options.Way":         TestEveryFaultOfAnUpstreamIsExplicit,
	"Options.Now":         TestCertificatesAreJudgedByTheClockThatIsGiven,
	"Options.Floor":       TestNoConnectionIsMadeByAClockThatIsBehindWhatHasPassed,
	"Options.Timeout":     TestTheTimeoutBoundsTheMakingOfAConnection,
	"Options.DNSSEC":      TestSignaturesAreAskedForOnlyWhereTheyAreWanted,
	"Options.IdleTimeout": TestAnUnusedConnectionIsClosedAfterTheIdleTimeout,
	"Options.Records":     TestTheRecordOfAResolversOwnNameIsAskedOfItselfAlone,
	"Upstream.ECH":        TestTheHelloIsEncryptedToTheKeysOfTheConfiguration,
	"Upstream.Text":       TestStatsSayHowTheUpstreamDoes,
	"Upstream.Kind":       TestAQueryTellsNoMoreThanItMust,
	"Upstream.Host":       TestEveryFaultOfAnUpstreamIsExplicit,
	"Upstream.Path":       TestAQueryTellsNoMoreThanItMust,
	"Upstream.GET":        TestATemplateAsksWithGET,
	"Upstream.ServerName": TestTheServerNameIsSentAndALiteralAddressIsNot,
	"Upstream.Addrs":      TestTheNextAddressIsTriedBesideASlowOneAndTheOneThatServedIsFirstNextTime,
	"Upstream.Named":      TestAnUpstreamByNameIsLookedUpForEachConnectionByTheWayOrThereIsNone,
	"Upstream.Hashes":     TestTheHashesOfAStampAreCheckedOnEveryConnection_ResumedOnesToo,
	"Upstream.Pins":       TestAResumedConnectionWithAWrongPinIsRefused,
	"Upstream.PublicKey":  TestACertificateOfDNSCryptThatCannotBeTrustedIsRESOLVER_UNTRUSTED,
	"Upstream.Relay":      TestADeadRelayFailsClosed,
	"Upstream.TargetPath": TestWhatTheRelayOfODoHSeesIsWhereToAndHowLong,
	"Upstream.Behind":     TestEverythingGoesThroughTheRelayAndNothingToTheResolverItself,
	"Upstream.CA":         TestACAFileIsTrustedAloneAndOnlyForItsUpstream,
}

func TestEveryOptionHasATest(t *testing.T) {
	known := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[transport.Options](), reflect.TypeFor[upstream.Upstream]()} {
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
	g := newRig(t)
	good := g.Upstream(dot, first)
	for what, change := range map[string]func(*upstream.Upstream, *transport.Options){
		"no upstream":     func(u *upstream.Upstream, _ *transport.Options) { *u = upstream.Upstream{} },
		"another kind":    func(u *upstream.Upstream, _ *transport.Options) { u.Kind = "udp" },
		"no server name":  func(u *upstream.Upstream, _ *transport.Options) { u.ServerName = "" },
		"broken CA":       func(u *upstream.Upstream, _ *transport.Options) { u.CA = [][]byte{{1}} },
		"no dial":         func(_ *upstream.Upstream, o *transport.Options) { o.Way.Dial = nil },
		"no datagrams":    func(u *upstream.Upstream, o *transport.Options) { u.Kind, o.Way.DialPacket = upstream.DoQ, nil },
		"no clock":        func(_ *upstream.Upstream, o *transport.Options) { o.Now = nil },
		"no time-out":     func(_ *upstream.Upstream, o *transport.Options) { o.Timeout = 0 },
		"no idle timeout": func(_ *upstream.Upstream, o *transport.Options) { o.IdleTimeout = 0 },
	} {
		u, o := good, g.options()
		change(&u, &o)
		if c, err := transport.New(u, o); err == nil {
			c.Close()
			t.Errorf("%s is accepted", what)
		}
	}
}

func TestCertificatesAreJudgedByTheClockThatIsGiven(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first), func(o *transport.Options) {
			o.Now = func() time.Time { return time.Now().AddDate(200, 0, 0) }
		})
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUntrusted, "expired")
	})
}

func TestTheTimeoutBoundsTheMakingOfAConnection(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		u := g.Upstream(k, first)
		g.Net.Blackhole(u.Addrs[0], true)
		c := g.client(t, u, func(o *transport.Options) { o.Timeout = 3 * time.Second })
		start := time.Now()
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.DNSTimeout, "did not answer in time")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestStatsSayHowTheUpstreamDoes(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		u := g.Upstream(k, first)
		c := g.client(t, u)
		ask(t, c, "four.shop.example")
		s := c.Stats(time.Now())
		if s.Upstream != u.Text || s.Host != u.Host || s.Kind != k || s.Healthy || s.Errors != 1 || s.Failures != 1 ||
			s.LastCode != fault.ResolverUnreachable || s.RetryIn != time.Second {
			t.Errorf("refused: %+v", s)
		}
		g.Serve(k, first, dnsrig.Zone.Handler())
		ask(t, c, "four.shop.example")
		if s := c.Stats(time.Now()); !s.Healthy || s.Asked != 2 || s.Conns != 1 || s.LastError != "" || !s.LastOK.Equal(time.Now()) {
			t.Errorf("answered: %+v", s)
		}
	})
}

func TestAnUpstreamThatFailsIsBlockedEachTimeForLongerUntilItReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		c := g.client(t, g.Upstream(dot, first))
		if fail, _ := c.Blocked(time.Now()); fail != nil {
			t.Errorf("blocked before the first question: %v", fail)
		}
		for _, hold := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			ask(t, c, "four.shop.example")
			if fail, left := c.Blocked(time.Now()); fail == nil || fail.Fault.Code != fault.ResolverUnreachable || left != hold*time.Second {
				t.Errorf("blocked for %v by %v, want %v", left, fail, hold*time.Second)
			}
			time.Sleep(hold * time.Second)
			if fail, _ := c.Blocked(time.Now()); fail != nil {
				t.Errorf("blocked for longer than %v", hold*time.Second)
			}
		}
		ask(t, c, "four.shop.example")
		g.Serve(dot, first, dnstest.RCode(dnswire.ServFail))
		if err := ask(t, c, "four.shop.example"); err != nil { // Ask asks all the same
			t.Error(err)
		}
		if fail, _ := c.Blocked(time.Now()); fail != nil {
			t.Errorf("blocked after a reply: %v", fail)
		}
	})
}

func TestTheMoreTellingOfTwoFailuresIsKept(t *testing.T) {
	failed := func(code fault.Code) *transport.Failure { return &transport.Failure{Fault: fault.New(code, "x", nil)} }
	late, gone, liar := failed(fault.DNSTimeout), failed(fault.ResolverUnreachable), failed(fault.ResolverUntrusted)
	for _, c := range []struct{ a, b, want *transport.Failure }{
		{nil, nil, nil},
		{nil, late, late},
		{late, nil, late},
		{late, gone, gone},
		{gone, late, gone},
		{gone, liar, liar},
		{liar, gone, liar},
		{late, failed(fault.DNSTimeout), late},
	} {
		if got := transport.Worse(c.a, c.b); got != c.want {
			t.Errorf("of %v and %v, %v", c.a, c.b, got)
		}
	}
}

func TestCloseEndsQuestionsUnderWayAndEveryConnection_thoseLeftByFlushToo(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnstest.Silent)
		c := g.client(t, g.Upstream(k, first))
		var wg sync.WaitGroup
		under := func(host string) {
			wg.Go(func() {
				if a, fail := c.Ask(context.Background(), dnswire.Question{Name: host, Type: dnswire.A}); fail == nil {
					t.Errorf("%s: %+v", host, a)
				}
			})
			synctest.Wait()
		}
		under("one.shop.example")
		c.Flush()
		under("two.shop.example")
		if s.Live() != 2 {
			t.Errorf("%d connections before Close", s.Live())
		}
		start := time.Now()
		c.Close()
		wg.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		if s.Live() != 0 {
			t.Errorf("%d connections after Close", s.Live())
		}
		dials := len(g.Net.Dials())
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.NotReady, "closed")
		if len(g.Net.Dials()) != dials {
			t.Error("a closed client dialled")
		}
		c.Close()
	})
}

func TestFlushEndsThePauseAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		c := g.client(t, g.Upstream(dot, first))
		for range 5 {
			dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUnreachable, "refused")
		}
		if _, wait := c.Blocked(time.Now()); wait == 0 {
			t.Fatal("it is not left alone after failures")
		}
		c.Flush()
		if f, _ := c.Blocked(time.Now()); f != nil {
			t.Errorf("after Flush it is left alone: %v", f)
		}
		if st := c.Stats(time.Now()); st.Healthy {
			t.Error("it is taken for healthy before it replied")
		}
		time.Sleep(time.Second)
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUnreachable, "refused")
		if _, wait := c.Blocked(time.Now()); wait != 2*time.Second {
			t.Errorf("the next pause is %v", wait)
		}
	})
}

func TestCloseWaitsForADialUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var over atomic.Bool
		c := g.client(t, g.Upstream(dot, first), func(o *transport.Options) {
			o.Way.Dial = func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
				<-ctx.Done()
				time.Sleep(time.Second) // slow to see it
				over.Store(true)
				return nil, ctx.Err()
			}
		})
		go ask(t, c, "four.shop.example")
		synctest.Wait()
		c.Close()
		if !over.Load() {
			t.Error("the dial outlived its client")
		}
	})
}

func TestSignaturesAreAskedForOnlyWhereTheyAreWanted(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		for _, want := range []bool{false, true} {
			c := g.client(t, g.Upstream(k, first), func(o *transport.Options) { o.DNSSEC = want })
			wantAddr(t, c, "four.shop.example", "192.0.2.4")
			log := s.Log()
			var q dns.Msg
			if err := q.Unpack(log[len(log)-1].Raw); err != nil {
				t.Fatal(err)
			}
			if opt := q.IsEdns0(); opt == nil || opt.Do() != want || q.CheckingDisabled != want {
				t.Errorf("DO and CD are to be %v:\n%v", want, q.String())
			}
			if n := len(log[len(log)-1].Raw); k != upstream.DNSCrypt && k != odoh && n%dnswire.PadQuery != 0 { // those two pad what they seal
				t.Errorf("a query of %d octets", n)
			}
		}
	})
}
