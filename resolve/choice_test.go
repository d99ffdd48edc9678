package resolve_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
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

var (
	inRandom  = resolve.Options{Strategy: resolve.Strategy{Random: true}}
	raceOfTwo = resolve.Options{Strategy: resolve.Strategy{Race: 2}}
)

// three starts three resolvers on the rig, and gives a Resolver over them. A nil handler is for one that is not there.
func three(t *testing.T, o resolve.Options, handlers ...dnstest.Handler) (*rig, []*dnstest.Server, *resolve.Resolver) {
	t.Helper()
	g := newRig(t)
	var servers []*dnstest.Server
	var ups []upstream.Upstream
	for i, at := range []netip.Addr{first, second, third} {
		var s *dnstest.Server
		if handlers[i] != nil {
			s = g.Serve(dot, at, handlers[i])
		}
		servers = append(servers, s)
		ups = append(ups, g.Upstream(dot, at))
	}
	return g, servers, g.resolver(t, o, ups...)
}

func knows() dnstest.Handler { return dnsrig.Zone.Handler() }

// seenBy wants each server to have been asked for the host so often; -1 is for one that is not there.
func seenBy(t *testing.T, servers []*dnstest.Server, host string, want ...int) {
	t.Helper()
	for i, s := range servers {
		if s == nil {
			continue
		}
		if n := s.Count(host, dnswire.A); n != want[i] {
			t.Errorf("upstream %d was asked for %s %d times, want %d", i+1, host, n, want[i])
		}
	}
}

func TestInARaceSoManyUpstreamsSeeANameAndTheFirstAnswerIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		other := dnstest.Zone{host + ". 300 A 192.0.2.99"}
		_, servers, r := three(t, raceOfTwo, dnstest.Held(knows(), release), other.Handler(), knows())
		started := time.Now()
		wantAddrs(t, r, host, "192.0.2.99")
		if took := time.Since(started); took != 0 {
			t.Errorf("it took %v", took)
		}
		close(release)
		synctest.Wait()
		seenBy(t, servers, host, 1, 1, 0)
		if st := r.Stats(); st.Strategy != "race" || st.Asked != 2 || len(st.Upstreams) != 3 || st.Upstreams[0].Asked == 0 || st.Upstreams[2].Asked != 0 {
			t.Errorf("stats %+v", st)
		}
		if st := r.Stats().Upstreams[0]; st.LastOK.IsZero() {
			t.Error("one that lost was not heard to its end")
		}
	})
}

func TestInARaceOneThatCannotBeReachedIsReplacedByTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		_, servers, r := three(t, raceOfTwo, nil, dnstest.Held(knows(), release), knows())
		wantAddrs(t, r, host, "192.0.2.4")
		close(release)
		synctest.Wait()
		seenBy(t, servers, host, -1, 1, 1)
		time.Sleep(300 * time.Millisecond) // the first is left alone still
		if err := lookupA(t, r, "one.shop.example"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		seenBy(t, servers, "one.shop.example", -1, 1, 1)
	})
}

func TestInARaceAnErrorDoesNotWinAndNobodyElseIsAskedBecauseOfIt(t *testing.T) {
	later := func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		time.Sleep(time.Second)
		return dnstest.Hangup(ctx, q)
	}
	for _, c := range []struct {
		name          string
		first, second dnstest.Handler
		code          fault.Code
	}{
		{"one fails", dnstest.RCode(dnswire.ServFail), knows(), ""},
		{"one is malformed", dnstest.Malformed, knows(), ""},
		{"both fail", dnstest.RCode(dnswire.ServFail), dnstest.RCode(dnswire.Refused), fault.DNSServFail},
		{"one fails, then one hangs up", dnstest.RCode(dnswire.ServFail), later, fault.DNSServFail},
		{"one fails, one is silent", dnstest.RCode(dnswire.ServFail), dnstest.Silent, fault.DNSServFail},
		{"it does not exist", dnstest.RCode(dnswire.NXDomain), dnstest.Silent, fault.DNSNXDomain},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, servers, r := three(t, raceOfTwo, c.first, c.second, knows())
				err := lookupA(t, r, host)
				if c.code == "" && err != nil {
					t.Error(err)
				} else if c.code != "" {
					dnsrig.WantFault(t, err, c.code, "")
				}
				time.Sleep(time.Minute)
				if n := servers[2].Count(host, dnswire.A); n != 0 {
					t.Error("the third was asked")
				}
			})
		})
	}
}

func TestInARaceOneThatIsSilentIsLeftAloneAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, servers, r := three(t, raceOfTwo, dnstest.Silent, knows(), knows())
		for i := range 3 {
			lookupA(t, r, []string{"one.shop.example", "two.shop.example", "api.shop.example"}[i])
			time.Sleep(2100 * time.Millisecond) // its time is over
		}
		lookupA(t, r, host)
		synctest.Wait()
		seenBy(t, servers, host, 0, 1, 1)
	})
}

func TestInARaceWhereNobodyCanBeReachedTheMostTellingFailureIsGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, r := three(t, raceOfTwo, nil, nil, nil)
		g.Serve(dot, third, knows(), dnsrig.With(dnstest.NewCA().Issue([]string{dnsrig.ServerName}, nil)))
		dnsrig.WantFault(t, lookupA(t, r, host), fault.ResolverUntrusted, "unknown authority")
		dials := len(g.Net.Dials())
		f := dnsrig.WantFault(t, lookupA(t, r, "one.shop.example"), fault.ResolverUntrusted, "")
		if len(g.Net.Dials()) != dials || f.Hint == "" {
			t.Errorf("they are not left alone; hint %q", f.Hint)
		}
	})
}

func TestTheFailureOfOneThatIsPassedOverIsToldWhereItTellsMore(t *testing.T) {
	for _, o := range []resolve.Options{{}, inRandom, raceOfTwo} {
		synctest.Test(t, func(t *testing.T) {
			g, servers, r := three(t, o, nil, knows(), nil)
			g.Serve(dot, first, knows(), dnsrig.With(dnstest.NewCA().Issue([]string{dnsrig.ServerName}, nil)))
			for i := range 10 { // by one of them the first is met
				lookupA(t, r, fmt.Sprintf("%c.shop.example", 'a'+i))
			}
			servers[1].Close()
			synctest.Wait()
			dnsrig.WantFault(t, lookupA(t, r, host), fault.ResolverUntrusted, "")
		})
	}
}

func TestARaceEndsWithItsResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, servers, r := three(t, raceOfTwo, dnstest.Silent, knows(), knows())
		lookupA(t, r, host)
		started := time.Now()
		r.Close()
		synctest.Wait()
		if took := time.Since(started); took != 0 || servers[0].Live() != 0 {
			t.Errorf("it took %v, and %d connections are left", took, servers[0].Live())
		}
	})
}

func TestByChanceEachNameIsSeenByOneUpstreamAndEachUpstreamSeesSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z dnstest.Zone
		for i := range 60 {
			z = append(z, fmt.Sprintf("h%d.shop.example. 300 A 192.0.2.1", i))
		}
		_, servers, r := three(t, inRandom, z.Handler(), z.Handler(), z.Handler())
		for i := range 60 {
			name := fmt.Sprintf("h%d.shop.example", i)
			for range 3 { // each time it is the same one, for every type
				r.Lookup(t.Context(), name)
				time.Sleep(301 * time.Second)
			}
			seen := 0
			for _, s := range servers {
				if s.Count(name, dnswire.A)+s.Count(name, dnswire.AAAA) > 0 {
					seen++
				}
			}
			if seen != 1 {
				t.Errorf("%s was seen by %d upstreams", name, seen)
			}
		}
		for i, s := range servers {
			if n := len(s.Names()); n < 10 { // by chance, not once in 10^6 runs
				t.Errorf("upstream %d was asked %d times about 60 names", i+1, n)
			}
		}
		if st := r.Stats(); st.Strategy != "random" || st.Asked != 1 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestByChanceOneThatCannotBeReachedIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, servers, r := three(t, inRandom, nil, knows(), nil)
		for i := range 20 {
			if err := lookupA(t, r, fmt.Sprintf("%c.shop.example", 'a'+i)); fault.Of(err).Code != fault.DNSNXDomain {
				t.Errorf("look-up %d: %v", i, err)
			}
		}
		if n := len(g.Net.Dials()); n > 3 {
			t.Errorf("%d dials: those that failed are not left alone", n)
		}
		if n := strings.Count(strings.Join(servers[1].Names(), " "), "shop.example"); n != 20 {
			t.Errorf("the one that is there was asked %d times", n)
		}
	})
}

func TestWarmConnectsToThoseThatWillBeAskedAndSendsNothing(t *testing.T) {
	for _, c := range []struct {
		o     resolve.Options
		first dnstest.Handler
		want  []int // connections
	}{
		{resolve.Options{}, knows(), []int{1, 0, 0}},
		{resolve.Options{}, nil, []int{0, 1, 0}},
		{raceOfTwo, knows(), []int{1, 1, 0}},
		{inRandom, knows(), []int{1, 1, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			g, servers, r := three(t, c.o, c.first, knows(), knows())
			if c.first == nil { // that is known by now
				if err := r.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			r.Warm(t.Context())
			dials := len(g.Net.Dials())
			r.Warm(t.Context())
			if len(g.Net.Dials()) != dials {
				t.Error("what is warm was warmed again")
			}
			for i, s := range servers {
				if s == nil {
					continue
				}
				if s.Live() != c.want[i] {
					t.Errorf("%v: upstream %d has %d connections, want %d", c.o.Strategy, i+1, s.Live(), c.want[i])
				}
				for _, name := range s.Names() {
					if name != "" && name != "_dns."+dnsrig.ServerName { // the probe's, and the resolver's own record behind it
						t.Errorf("%v: upstream %d was asked for %q", c.o.Strategy, i+1, name)
					}
				}
			}
			lookupA(t, r, host)
			synctest.Wait()
			if len(g.Net.Dials()) != dials {
				t.Errorf("%v: a connection was missing", c.o.Strategy)
			}
			r.Close()
			r.Warm(t.Context())
			if len(g.Net.Dials()) != dials {
				t.Error("a closed resolver connects")
			}
		})
	}
}

func TestAStrategyThatCannotBeFollowedIsRefused(t *testing.T) {
	g := newRig(t)
	ups := []upstream.Upstream{g.Upstream(dot, first), g.Upstream(dot, second)}
	for _, s := range []resolve.Strategy{{Race: 1}, {Race: 3}, {Race: -1}, {Race: 2, Random: true}} {
		if r, err := resolve.New(resolve.Options{Upstreams: ups, Sink: g.sink, Strategy: s}, g.Way()); err == nil {
			r.Close()
			t.Errorf("%+v is accepted", s)
		}
	}
}
