package resolve_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
)

// chainOf counts the look-ups of keys and delegations that a server was asked for.
func chainOf(s *dnstest.Server) (n int) {
	for _, q := range s.Log() {
		if q.Type == dnswire.DS || q.Type == dnswire.DNSKEY {
			n++
		}
	}
	return n
}

func TestLookupsOfTheChainGoToTheChannelsUpstreamsAreCountedAndRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		g, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		wantChain := func(want int) {
			t.Helper()
			synctest.Wait()
			if n, counted := chainOf(server), r.Stats().DNSSEC.Chain; n != want || counted != uint64(want) {
				t.Errorf("%d look-ups of the chain, and %d counted, want %d: %q", n, counted, want, server.Names())
			}
		}
		// Keys of the root, for the answer and for what follows them; then DS and keys of example and of shop.example.
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		wantChain(6)
		if err := lookupA(t, r, "www.shop.example"); err != nil {
			t.Error(err)
		}
		wantChain(6)
		if n := r.Stats().Entries; n != 2 {
			t.Errorf("%d entries: what the chain found is not for clients", n)
		}
		r.Flush()
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Error(err)
		}
		wantChain(11)
		if n := len(g.Net.Dials()); n != 2 {
			t.Errorf("dialled %v", g.Net.Dials())
		}
	})
}

func TestLookupsOfTheChainGoToTheUpstreamThatKnowsTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 8 { // chance chooses
			s := newSigned(t)
			o := s.options(t, resolve.Validate)
			o.Strategy.Random = true
			_, servers, r := three(t, o, s.answer, s.answer, s.answer)
			if err := lookupA(t, r, "api.shop.example"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			told := 0
			for _, server := range servers {
				if strings.Contains(strings.Join(server.Names(), " "), "shop.example") {
					told++
				}
			}
			if told != 1 {
				t.Errorf("%d upstreams heard of the name", told)
			}
			r.Close()
			for _, server := range servers {
				server.Close()
			}
		}
	})
}

func TestAnUpstreamThatFailsDuringTheChainGivesNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		handler dnstest.Handler
		code    fault.Code
		part    string
	}{
		"silent":    {dnstest.Silent, fault.DNSTimeout, "could not be validated in time"},
		"hangs up":  {dnstest.Hangup, fault.DNSServFail, "could not be validated"},
		"SERVFAIL":  {dnstest.RCode(dnswire.ServFail), fault.DNSServFail, "could not be validated"},
		"REFUSED":   {dnstest.RCode(dnswire.Refused), fault.DNSServFail, "could not be validated"},
		"malformed": {dnstest.Malformed, fault.DNSServFail, "could not be validated"},
	} {
		for _, host := range []string{"api.shop.example", "www.plain.example"} {
			t.Run(name+" "+host, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSigned(t)
					_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
					server.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
						if q.Type == dnswire.DS {
							return c.handler(ctx, q)
						}
						return s.answer(ctx, q)
					})
					f := dnsrig.WantFault(t, lookupA(t, r, host), c.code, c.part)
					if c.code == fault.DNSServFail && f.ExtendedError() != dnssec.EDEIndeterminate {
						t.Errorf("EDE %d", f.ExtendedError())
					}
					server.Handle(s.answer)
					time.Sleep(time.Minute)
					if err := lookupA(t, r, host); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestANameOfManyLabelsCostsABoundedNumberOfLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		for i := range 5 {
			host := fmt.Sprintf("h%d%s.shop.example", i, strings.Repeat(".a", 110))
			s.change(func(q dns.Question, m *dns.Msg) {
				if q.Qtype == dns.TypeA {
					unsign(q, m) // so that each label may be a delegation
				}
			})
			before := chainOf(server)
			if err := lookupA(t, r, host); err == nil {
				t.Error("it passed")
			}
			if n := chainOf(server) - before; n > 65 {
				t.Errorf("%d look-ups for one question", n)
			}
		}
	})
}

func TestAnAnswerThatIsBeingValidatedWhenTheResolverClosesIsNotGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		server.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Type == dnswire.DNSKEY {
				return dnstest.Silent(ctx, q)
			}
			return s.answer(ctx, q)
		})
		done := make(chan error, 1)
		go func() { done <- lookupA(t, r, "api.shop.example") }()
		synctest.Wait()
		start := time.Now()
		r.Close()
		dnsrig.WantFault(t, <-done, fault.NotReady, "closed")
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestTheChainOfARaceTakesNoMoreTimeThanTheAnswerHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		late := func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			switch q.Type {
			case dnswire.DS:
				return dnstest.Silent(ctx, q)
			case dnswire.DNSKEY:
				time.Sleep(2 * time.Second)
			}
			return s.answer(ctx, q)
		}
		o := s.options(t, resolve.Validate)
		o.Strategy.Race = 2
		_, _, r := three(t, o, late, late, late)
		start := time.Now()
		dnsrig.WantFault(t, lookupA(t, r, "api.shop.example"), fault.DNSTimeout, "in time")
		if took := time.Since(start); took != resolve.DefaultTimeout {
			t.Errorf("it took %v", took)
		}
	})
}
