package resolve_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/dnssec"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/resolve"
	"watertight/upstream"
)

// wantBogus wants a fault with an Extended DNS Error.
func wantBogus(t *testing.T, err error, part string, ede uint16) {
	t.Helper()
	if f := dnsrig.WantFault(t, err, fault.DNSBogus, part); f.ExtendedError() != ede {
		t.Errorf("EDE %d, want %d: %v", f.ExtendedError(), ede, f.Err)
	}
}

func apiA(name string) dnswire.Question { return dnswire.Question{Name: name, Type: dnswire.A} }

// sealedPadded are the kinds that pad what they seal, and not the message in it.
var sealedPadded = map[upstream.Kind]bool{upstream.DNSCrypt: true, upstream.ODoH: true}

func TestAnAnswerWhoseChainIsWholePassesAndIsCalledSecure(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		s := newSigned(t)
		g := newRig(t)
		server := g.Serve(k, first, s.answer)
		r := g.resolver(t, s.options(t, resolve.RequireSecure), g.Upstream(k, first))
		wantAddrs(t, r, "www.shop.example", "2001:db8::1 192.0.2.1")
		dnsrig.WantFault(t, lookupA(t, r, "nope.shop.example"), fault.DNSNoData, "nope.shop.example")
		a, err := r.Exchange(t.Context(), apiA("www.shop.example"))
		if err != nil {
			t.Fatal(err)
		}
		if !a.AD || len(a.Records) != 2 {
			t.Errorf("%+v", a)
		}
		synctest.Wait()
		if d := r.Stats().DNSSEC; d.Mode != resolve.RequireSecure || d.Secure != 3 || d.Bogus+d.Insecure+d.Indeterminate != 0 || d.AnchorsError != "" {
			t.Errorf("%+v", d)
		}
		for _, q := range server.Log() {
			var m dns.Msg
			if err := m.Unpack(q.Raw); err != nil || !m.IsEdns0().Do() || !m.CheckingDisabled || !sealedPadded[k] && len(q.Raw)%dnswire.PadQuery != 0 {
				t.Errorf("%v: %d octets, %v\n%v", err, len(q.Raw), q.Question, m.String())
			}
		}
	})
}

func TestSignaturesAreForClientsThatAskForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, _, r := signedOne(t, s, s.options(t, resolve.Validate))
		q := apiA("www.shop.example")
		for range 2 { // from the upstream, and from the cache
			a, err := r.Exchange(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []bool{false, true} {
				query, err := dnswire.QueryWith(q, 1, dnswire.QueryOptions{DNSSEC: want})
				if err != nil {
					t.Fatal(err)
				}
				var asked dnswire.Asked
				if rcode, err := asked.Read(query); rcode != dnswire.NoError || err != nil {
					t.Fatal(rcode, err)
				}
				b, err := asked.AppendReply(nil, a, dnswire.Said{})
				if err != nil {
					t.Fatal(err)
				}
				var said dns.Msg
				if err := said.Unpack(b); err != nil {
					t.Fatal(err)
				}
				before := len(said.Answer) + len(said.Ns)
				unsign(said.Question[0], &said)
				if signed := len(said.Answer)+len(said.Ns) < before; signed != want || len(said.Answer) != 2 {
					t.Errorf("DO %v:\n%v", want, said.String())
				}
			}
		}
	})
}

func TestAChangedAnswerIsBogusAndIsNotKeptAsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		s.change(forge)
		wantBogus(t, lookupA(t, r, "api.shop.example"), "failed validation", dnssec.EDEBogus)
		wantBogus(t, lookupA(t, r, "api.shop.example"), "failed validation", dnssec.EDEBogus)
		wantAsked(t, server, "api.shop.example", 1)
		_, _, known := r.Cached("api.shop.example", dnswire.A)
		if a, ok := r.ExchangeCached(apiA("api.shop.example")); ok || !known {
			t.Errorf("%+v", a)
		}
		s.change(nil)
		time.Sleep(2 * time.Second) // the pause after a failure
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAnswerWithoutItsSignaturesIsBogus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, _, r := signedOne(t, s, s.options(t, resolve.Validate))
		s.change(func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				unsign(q, m)
			}
		})
		wantBogus(t, lookupA(t, r, "api.shop.example"), "failed validation", dnssec.EDESignaturesMissing)
		wantBogus(t, lookupA(t, r, "nope.shop.example"), "failed validation", dnssec.EDESignaturesMissing)
		if d := r.Stats().DNSSEC; d.Bogus != 2 {
			t.Errorf("%+v", d)
		}
	})
}

func TestAResolverThatPassesOnNoSignaturesAtAllGivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.change(unsign)
		_, _, r := signedOne(t, s, s.options(t, resolve.Validate))
		for _, host := range []string{"api.shop.example", "www.plain.example", "nope.shop.example"} {
			if err := lookupA(t, r, host); fault.Of(err).Code != fault.DNSBogus && fault.Of(err).Code != fault.DNSServFail {
				t.Errorf("%s: %v", host, err)
			}
		}
	})
}

func TestWhatItsOwnerDoesNotSignPassesUnlessAllHasToBeSecure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		g, _, r := signedOne(t, s, s.options(t, resolve.Validate))
		for _, host := range []string{"www.plain.example", "toplain.shop.example"} {
			a, err := r.Exchange(t.Context(), apiA(host))
			if err != nil || a.AD || len(a.Addrs()) != 1 {
				t.Errorf("%s: %+v, %v", host, a, err)
			}
		}
		strict := g.resolver(t, s.options(t, resolve.RequireSecure), g.Upstream(dot, first))
		wantBogus(t, lookupA(t, strict, "www.plain.example"), "www.plain.example is not signed", dnssec.EDESignaturesMissing)
		wantBogus(t, lookupA(t, strict, "toplain.shop.example"), "is not signed", dnssec.EDESignaturesMissing)
		dnsrig.WantFault(t, lookupA(t, strict, "nope.plain.example"), fault.DNSBogus, "is not signed")
		if d := strict.Stats().DNSSEC; d.Insecure != 3 {
			t.Errorf("%+v", d)
		}
	})
}

func TestWithoutValidationNoSignatureIsAskedForAndTheResolverIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.change(forge)
		for _, mode := range []resolve.Mode{"", resolve.Off} {
			_, server, r := signedOne(t, s, resolve.Options{DNSSEC: resolve.DNSSEC{Mode: mode}})
			wantAddrs(t, r, "api.shop.example", "2001:db8::1 192.0.2.0")
			asked := 0
			for _, q := range server.Log() {
				var m dns.Msg
				if err := m.Unpack(q.Raw); err != nil || m.IsEdns0().Do() || m.CheckingDisabled {
					t.Errorf("%v\n%v", err, m.String())
				}
				if !strings.HasSuffix(q.Name, dnsrig.ServerName) {
					asked++
				}
			}
			if d := r.Stats().DNSSEC; d.Mode != resolve.Off || d.Chain != 0 || asked != 2 {
				t.Errorf("%+v, %v", d, server.Names())
			}
			server.Close()
		}
	})
}

func TestNothingIsValidatedAtAndBelowANegativeAnchor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.change(forge)
		o := s.options(t, resolve.Validate)
		o.DNSSEC.NegativeAnchors = []string{"shop.example"}
		_, _, r := signedOne(t, s, o)
		a, err := r.Exchange(t.Context(), apiA("api.shop.example"))
		if err != nil || a.AD {
			t.Errorf("%+v, %v", a, err)
		}
		s.change(func(q dns.Question, m *dns.Msg) {
			if q.Qtype == dns.TypeA {
				unsign(q, m)
			}
		})
		wantBogus(t, lookupA(t, r, "other.example"), "other.example failed", dnssec.EDESignaturesMissing)
	})
}

func TestAForeignRootIsBogus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		for name, anchors := range map[string][]dnssec.Anchor{"the program's own": nil, "another": {newSigned(t).anchor(t)}} {
			_, server, r := signedOne(t, s, resolve.Options{DNSSEC: resolve.DNSSEC{Mode: resolve.Validate, Anchors: anchors}})
			f := fault.Of(lookupA(t, r, "api.shop.example"))
			if f == nil || f.Code != fault.DNSBogus || strings.Contains(f.Message, "secure") {
				t.Errorf("%s: %v", name, f)
			}
			synctest.Wait()
			if d := r.Stats().DNSSEC; d.AnchorsError == "" {
				t.Errorf("%s: %+v", name, d)
			}
			r.Close()
			server.Close()
		}
	})
}

func TestAnAnswerIsKeptNoLongerThanItsSignaturesAreGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		s.valid = 100 * time.Second
		_, server, r := signedOne(t, s, s.options(t, resolve.Validate))
		a, err := r.Exchange(t.Context(), apiA("api.shop.example"))
		if err != nil {
			t.Fatal(err)
		}
		if a.TTL > s.valid || a.Records[0].TTL > 100 {
			t.Errorf("kept for %v, and told %d s", a.TTL, a.Records[0].TTL)
		}
		time.Sleep(101 * time.Second)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Error(err)
		}
		wantAsked(t, server, "api.shop.example", 2)
	})
}

func TestAnExpiredAnswerDoesNotStandInForOneThatIsBogus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		o := s.options(t, resolve.Validate)
		o.Stale = time.Hour
		_, _, r := signedOne(t, s, o)
		if err := lookupA(t, r, "api.shop.example"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(301 * time.Second)
		s.change(forge)
		wantBogus(t, lookupA(t, r, "api.shop.example"), "failed validation", dnssec.EDEBogus)
	})
}

func TestWhatIsAnsweredHereIsNotValidated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSigned(t)
		_, server, r := signedOne(t, s, s.options(t, resolve.RequireSecure))
		wantAddrs(t, r, "localhost", "::1 127.0.0.1")
		dnsrig.WantFault(t, lookupA(t, r, "printer.local"), fault.DNSNXDomain, "printer.local")
		if n := len(server.Log()); n != 0 {
			t.Errorf("%d questions were asked", n)
		}
	})
}
