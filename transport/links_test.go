package transport_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

func TestAQueryTellsNoMoreThanItMust(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first))
		for _, host := range []string{"one.shop.example", "two.shop.example", "a-name-of-quite-another-length.shop.example"} {
			ask(t, c, host)
		}
		zeros := 0
		for _, q := range s.Log() {
			if k != odoh && q.Size != dnswire.PadQuery || q.UDPSize != 1232 || !q.RecursionDesired || q.Subnet != netip.MustParsePrefix("0.0.0.0/0") {
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
			if q.Transport == dnstest.DoH && (q.Method != "POST" || q.Path != "/dns-query") {
				t.Errorf("%s %s", q.Method, q.Path)
			}
		}
		if k != dot && zeros != 3 {
			t.Errorf("%d of 3 queries have ID 0", zeros)
		}
		if k == dot && zeros == 3 {
			t.Error("the ID is not random over DoT")
		}
	})
}

func TestATemplateAsksWithGET(t *testing.T) {
	dnsrig.EachOf(t, overHTTP, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		spec := g.Spec(k, first)
		spec.URL += "/ask{?dns}"
		wantAddr(t, g.client(t, dnsrig.Build(t, spec)), "one.shop.example", "192.0.2.11")
		q := s.Log()[0]
		if q.Method != "GET" || q.Path != "/ask" || q.Size != dnswire.PadQuery || q.ID != 0 {
			t.Errorf("%s %s, %d octets, ID %d", q.Method, q.Path, q.Size, q.ID)
		}
		if _, ok := q.Header["Content-Type"]; ok {
			t.Error("a request without content says its type")
		}
	})
}

func TestOverHTTP1OneQuestionAtATimeTravelsOnAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		answers := dnsrig.Zone.Handler()
		s := g.Serve(doh, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			time.Sleep(time.Second)
			return answers(ctx, q)
		}, func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
		c := g.client(t, g.Upstream(doh, first))
		var wg sync.WaitGroup
		start := time.Now()
		for range 3 {
			wg.Go(func() { wantAddr(t, c, "one.shop.example", "192.0.2.11") })
		}
		wg.Wait()
		if took := time.Since(start); s.Conns() == 1 && took < 3*time.Second {
			t.Errorf("three questions of a second each took %v over one connection", took)
		}
		conns := s.Conns()
		for range 3 {
			wantAddr(t, c, "two.shop.example", "192.0.2.12")
		}
		if s.Conns() != conns {
			t.Errorf("%d connections, and then %d: none is used twice", conns, s.Conns())
		}
	})
}

func TestManyQuestionsShareOneConnection_RepliesInAnyOrder(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		const n = 100
		var big dnstest.Zone
		for i := range n {
			big = append(big, fmt.Sprintf("h%d.shop.example. 300 A 192.0.2.%d", i, i))
		}
		answers := big.Handler()
		s := g.Serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			var i int
			fmt.Sscanf(q.Name, "h%d.", &i)
			select { // the last asked is answered first
			case <-time.After(time.Duration(n-i) * time.Millisecond):
			case <-ctx.Done():
			}
			return answers(ctx, q)
		})
		c := g.client(t, g.Upstream(k, first))
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				wantAddr(t, c, fmt.Sprintf("h%d.shop.example", i), fmt.Sprintf("192.0.2.%d", i))
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
		s := g.Serve(dot, first, dnstest.Held(dnstest.RCode(dnswire.NXDomain), release))
		c := g.client(t, g.Upstream(dot, first))
		var wg sync.WaitGroup
		for i := range 4*128 + 50 {
			wg.Go(func() { ask(t, c, fmt.Sprintf("h%d.shop.example", i)) })
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
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		s.DropConns()
		synctest.Wait()
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if s.Conns() != 2 {
			t.Errorf("%d connections", s.Conns())
		}
		if st := c.Stats(time.Now()); !st.Healthy || st.Errors != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAConnectionThatBreaksUnderAQuestionIsRetriedOnceOnAFreshOne(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		answers := dnsrig.Zone.Handler()
		breaks := 1
		var mu sync.Mutex
		s := g.Serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			mu.Lock()
			defer mu.Unlock()
			if breaks > 0 {
				breaks--
				return dnstest.Hangup(ctx, q)
			}
			return answers(ctx, q)
		})
		c := g.client(t, g.Upstream(k, first))
		if err := ask(t, c, "four.shop.example"); err != nil {
			t.Errorf("one break: %v", err)
		}
		if n := s.Count("four.shop.example", dnswire.A); n != 2 || s.Conns() != 2 {
			t.Errorf("asked %d times over %d connections", n, s.Conns())
		}
		mu.Lock()
		breaks = 100
		mu.Unlock()
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUnreachable, "closed the connection")
		if n := s.Count("one.shop.example", dnswire.A); n != 2 {
			t.Errorf("asked %d times, want 2", n)
		}
	})
}

func TestAnUnusedConnectionIsClosedAfterTheIdleTimeout(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first), func(o *transport.Options) { o.IdleTimeout = 20 * time.Second })
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		time.Sleep(19 * time.Second)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if s.Live() != 1 {
			t.Error("closed too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if s.Live() != 0 || c.Stats(time.Now()).Conns != 0 {
			t.Error("still open")
		}
	})
}

func TestASilentConnectionIsNotUsedAgain(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		s := g.Serve(k, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		s.Handle(dnstest.Silent)
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.DNSTimeout, "")
		s.Handle(dnsrig.Zone.Handler())
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if s.Conns() != 2 {
			t.Errorf("%d connections", s.Conns())
		}
	})
}

func TestALateReplyIsNotTakenForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		answers := dnsrig.Zone.Handler()
		s := g.Serve(dot, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Name == "one.shop.example" {
				time.Sleep(6 * time.Second)
			}
			return answers(ctx, q)
		})
		c := g.client(t, g.Upstream(dot, first))
		var wg sync.WaitGroup
		wg.Go(func() { dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.DNSTimeout, "") })
		time.Sleep(4 * time.Second)
		wantAddr(t, c, "four.shop.example", "192.0.2.4") // proof that the connection lives
		wg.Wait()
		time.Sleep(3 * time.Second) // the late reply comes now
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if s.Conns() != 1 {
			t.Errorf("%d connections", s.Conns())
		}
	})
}

func TestTheNextAddressIsTriedBesideASlowOneAndTheOneThatServedIsFirstNextTime(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Net.Blackhole(netip.AddrPortFrom(first, dnsrig.Port(k)), true)
		s := g.Serve(k, third, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(k, first, second, third))
		start := time.Now()
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		if took := time.Since(start); took != 250*time.Millisecond {
			t.Errorf("it took %v: the second refuses at once, and the first is not waited for", took)
		}
		s.DropConns()
		synctest.Wait()
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		dials := g.Net.Dials()
		if len(dials) != 4 || dials[3].Addr() != third {
			t.Errorf("dialled %v", dials)
		}
	})
}

func TestAgeIsSubtractedFromTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(doh, first, dnstest.Age(dnsrig.Zone.Handler(), 290))
		a, fail := exchange(t, g.client(t, g.Upstream(doh, first)), "four.shop.example")
		if fail != nil || a.TTL != 10*time.Second || a.Records[0].TTL != 10 {
			t.Errorf("%+v, %v", a, fail)
		}
	})
}

// TestOverRealSockets runs every transport over sockets of the loopback interface.
func TestOverRealSockets(t *testing.T) {
	for _, k := range dnsrig.Kinds {
		t.Run(string(k), func(t *testing.T) {
			s, u := dnsrig.OnLoopback(t, k, dnsrig.Zone.Handler())
			c := newRig(t).client(t, u, func(o *transport.Options) { o.Way = dnsrig.Sockets() })
			wantAddr(t, c, "www.shop.example", "192.0.2.1")
			s.DropConns()
			wantAddr(t, c, "one.shop.example", "192.0.2.11")
			s.Close()
			dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.ResolverUnreachable, "")
		})
	}
}
