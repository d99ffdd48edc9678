package resolve_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

func TestAQueryTellsNoMoreThanItMust(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.serve(k, first, zone.Handler())
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		for _, host := range []string{"one.shop.example", "two.shop.example", "a-name-of-quite-another-length.shop.example"} {
			lookupA(t, r, host)
		}
		zeros := 0
		for _, q := range s.Log() {
			if q.Size != dnswire.PadQuery || q.UDPSize != 1232 || !q.RecursionDesired || q.Subnet != netip.MustParsePrefix("0.0.0.0/0") {
				t.Errorf("query %+v", q.Request)
			}
			if q.ID == 0 {
				zeros++
			}
			for h, v := range q.Header {
				switch h {
				case "Accept", "Content-Type", "Content-Length":
				default:
					t.Errorf("header %s: %v", h, v)
				}
			}
			if k == upstream.DoH && (q.Method != "POST" || q.Path != "/dns-query") {
				t.Errorf("%s %s", q.Method, q.Path)
			}
		}
		if k == upstream.DoH && zeros != 3 {
			t.Errorf("%d of 3 queries have ID 0 over DoH", zeros)
		}
		if k == upstream.DoT && zeros == 3 {
			t.Error("the ID is not random over DoT")
		}
	})
}

func TestManyQuestionsShareOneConnection_RepliesInAnyOrder(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		const n = 100
		var big dnstest.Zone
		for i := range n {
			big = append(big, fmt.Sprintf("h%d.shop.example. 300 A 192.0.2.%d", i, i))
		}
		answers := big.Handler()
		s := g.serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			var i int
			fmt.Sscanf(q.Name, "h%d.", &i)
			select { // the last asked is answered first
			case <-time.After(time.Duration(n-i) * time.Millisecond):
			case <-ctx.Done():
			}
			return answers(ctx, q)
		})
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				got, err := r.LookupFamily(t.Context(), fmt.Sprintf("h%d.shop.example", i), dnswire.A)
				if err != nil || got[0] != netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) {
					t.Errorf("h%d: %v, %v", i, got, err)
				}
			})
		}
		wg.Wait()
		if s.Conns() != 1 {
			t.Errorf("%d connections", s.Conns())
		}
	})
}

func TestQuestionsBeyondTheBoundOfOneConnectionOpenAFewMoreAndThenWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		release := make(chan struct{})
		s := g.serve(upstream.DoT, first, dnstest.Held(dnstest.RCode(dnswire.NXDomain), release))
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first))
		var wg sync.WaitGroup
		for i := range 4*128 + 50 {
			wg.Go(func() { lookupA(t, r, fmt.Sprintf("h%d.shop.example", i)) })
		}
		synctest.Wait()
		if s.Conns() != 4 || len(s.Log()) != 4*128 {
			t.Errorf("%d connections and %d questions", s.Conns(), len(s.Log()))
		}
		close(release)
		wg.Wait()
		if s.Conns() != 4 || len(s.Log()) != 4*128+50 {
			t.Errorf("%d connections and %d questions in the end", s.Conns(), len(s.Log()))
		}
	})
}

func TestAConnectionClosedWhileIdleIsReplacedUnnoticed(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.serve(k, first, zone.Handler())
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		s.DropConns()
		synctest.Wait()
		wantAddrs(t, r, "one.shop.example", "192.0.2.11")
		if s.Conns() != 2 {
			t.Errorf("%d connections", s.Conns())
		}
		if st := r.Stats().Upstreams[0]; !st.Healthy || st.Errors != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAConnectionThatBreaksUnderAQuestionIsRetriedOnceOnAFreshOne(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		answers := zone.Handler()
		breaks := 1
		var mu sync.Mutex
		s := g.serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if breaks > 0 {
				breaks--
				return dnstest.Hangup(ctx, q)
			}
			return answers(ctx, q)
		})
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		if err := lookupA(t, r, "four.shop.example"); err != nil {
			t.Errorf("one break: %v", err)
		}
		if n := s.Count("four.shop.example", dnswire.A); n != 2 || s.Conns() != 2 {
			t.Errorf("asked %d times over %d connections", n, s.Conns())
		}
		mu.Lock()
		breaks = 100
		mu.Unlock()
		wantFault(t, lookupA(t, r, "one.shop.example"), fault.ResolverUnreachable, "closed the connection")
		if n := s.Count("one.shop.example", dnswire.A); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

func TestAnUnusedConnectionIsClosedAfterTheIdleTimeout(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.serve(k, first, zone.Handler())
		r := g.resolver(resolve.Options{IdleTimeout: 20 * time.Second}, g.upstream(k, first))
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

func TestASilentConnectionIsNotUsedAgain(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.serve(k, first, zone.Handler())
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		s.Handle(dnstest.Silent)
		wantFault(t, lookupA(t, r, "one.shop.example"), fault.DNSTimeout, "")
		s.Handle(zone.Handler())
		wantAddrs(t, r, "two.shop.example", "192.0.2.12")
		if s.Conns() != 2 {
			t.Errorf("%d connections", s.Conns())
		}
	})
}

func TestALateReplyIsNotTakenForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		answers := zone.Handler()
		s := g.serve(upstream.DoT, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Name == "one.shop.example" {
				time.Sleep(6 * time.Second)
			}
			return answers(ctx, q)
		})
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first))
		var wg sync.WaitGroup
		wg.Go(func() { wantFault(t, lookupA(t, r, "one.shop.example"), fault.DNSTimeout, "") })
		time.Sleep(4 * time.Second)
		wantAddrs(t, r, "four.shop.example", "192.0.2.4") // proof that the connection lives
		wg.Wait()
		time.Sleep(3 * time.Second) // the late reply comes now
		wantAddrs(t, r, "two.shop.example", "192.0.2.12")
		if s.Conns() != 1 {
			t.Errorf("%d connections", s.Conns())
		}
	})
}

func TestTheNextAddressIsTriedBesideASlowOneAndTheOneThatServedIsFirstNextTime(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.net.Blackhole(netip.AddrPortFrom(first, port(k)), true)
		s := g.serve(k, third, zone.Handler())
		r := g.resolver(resolve.Options{}, g.upstream(k, first, second, third))
		start := time.Now()
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("it took %v: the second refuses at once, and the first is not waited for", took)
		}
		s.DropConns()
		synctest.Wait()
		wantAddrs(t, r, "one.shop.example", "192.0.2.11")
		dials := g.net.Dials()
		if len(dials) != 4 || dials[3].Addr() != third {
			t.Errorf("dialled %v", dials)
		}
	})
}

func TestAgeIsSubtractedFromTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.serve(upstream.DoH, first, dnstest.Age(zone.Handler(), 290))
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoH, first))
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

// TestOverRealSockets runs both transports over TCP on the loopback interface.
func TestOverRealSockets(t *testing.T) {
	for _, k := range both {
		t.Run(string(k), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ca := dnstest.NewCA()
			loopback := netip.MustParseAddr("127.0.0.1")
			serve := dnstest.ServeDoT
			if k == upstream.DoH {
				serve = dnstest.ServeDoH
			}
			s := serve(l, ca.Issue(nil, []netip.Addr{loopback}), zone.Handler())
			defer s.Close()
			u := build(t, upstream.Spec{URL: string(k) + "://" + l.Addr().String(), CA: caFile(t, ca)})
			dial := func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", to.String())
			}
			o := resolve.Options{Upstreams: []upstream.Upstream{u}, Sink: event.Discard{}, CacheEntries: 10}
			r, err := resolve.New(o, dial)
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
