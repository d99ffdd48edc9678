package resolve_test

import (
	"context"
	"errors"
	"net/http"
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

func TestEveryFaultOfAResolverIsExplicitAndFinal(t *testing.T) {
	past := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	long := make(dnstest.Zone, 0, 20)
	for i := range 20 {
		long = append(long, string(rune('a'+i))+".loop.example. 60 CNAME "+string(rune('b'+i))+".loop.example.")
	}
	answers := dnsrig.Zone.Handler()
	for _, c := range []struct {
		name    string
		handler dnstest.Handler
		tweak   func(*rig) dnsrig.Tweak
		host    string
		code    fault.Code
		part    string
		rcode   string
	}{
		{name: "silent", handler: dnstest.Silent, code: fault.DNSTimeout, part: "no answer about api.shop.example in time"},
		{name: "hangs up", handler: dnstest.Hangup, code: fault.ResolverUnreachable, part: "closed the connection"},
		{name: "expired", code: fault.ResolverUntrusted, part: "expired", tweak: func(g *rig) dnsrig.Tweak {
			return dnsrig.With(g.CA.IssueLeaf(dnstest.Leaf{Names: []string{dnsrig.ServerName}, NotAfter: past}))
		}},
		{name: "SERVFAIL", handler: dnstest.RCode(dnswire.ServFail, dnswire.EDE{Code: 6, Text: "bad sig"}), code: fault.DNSServFail, part: "the resolver HOST could not resolve api.shop.example: SERVFAIL: DNSSEC Bogus", rcode: "SERVFAIL"},
		{name: "REFUSED", handler: dnstest.RCode(dnswire.Refused), code: fault.DNSServFail, part: "refuses to resolve api.shop.example: REFUSED", rcode: "REFUSED"},
		{name: "FORMERR", handler: dnstest.RCode(dnswire.FormErr), code: fault.DNSServFail, part: "FORMERR", rcode: "FORMERR"},
		{name: "malformed", handler: dnstest.Malformed, code: fault.DNSServFail, part: "malformed reply"},
		{name: "endless chain", handler: long.Handler(), host: "a.loop.example", code: fault.DNSServFail, part: "a.loop.example", rcode: "SERVFAIL"},
		{name: "NXDOMAIN", host: "nope.shop.example", code: fault.DNSNXDomain, part: "nope.shop.example does not exist"},
		{name: "NODATA", host: "text.shop.example", code: fault.DNSNoData, part: "text.shop.example has no A record"},
	} {
		for _, k := range dnsrig.OverTLS {
			t.Run(c.name+" "+string(k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t)
					if c.handler == nil {
						c.handler = answers
					}
					if c.host == "" {
						c.host = "api.shop.example"
					}
					var tweaks []dnsrig.Tweak
					if c.tweak != nil {
						tweaks = append(tweaks, c.tweak(g))
					}
					g.Serve(k, first, c.handler, tweaks...)
					u := g.Upstream(k, first)
					r := g.resolver(t, resolve.Options{}, u)
					f := dnsrig.WantFault(t, lookupA(t, r, c.host), c.code, strings.Replace(c.part, "HOST", u.Host, 1))
					if f.RCode != c.rcode {
						t.Errorf("the fault says that the resolver gave %q, and it gave %q", f.RCode, c.rcode)
					}
					for _, to := range g.Net.Dials() {
						if to != netip.AddrPortFrom(first, dnsrig.Port(k)) {
							t.Errorf("something else was dialled: %v", to)
						}
					}
				})
			})
		}
	}
}

func TestABlackholeIsDNS_TIMEOUTAfterTheWholeTimeout(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Net.Blackhole(netip.AddrPortFrom(first, dnsrig.Port(k)), true)
		r := g.resolver(t, resolve.Options{Timeout: 3 * time.Second}, g.Upstream(k, first))
		start := time.Now()
		dnsrig.WantFault(t, lookupA(t, r, "api.shop.example"), fault.DNSTimeout, "no answer about api.shop.example in time")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAFaultOfTheDialFunctionIsPreserved(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Fail = fault.New(fault.HopAuth, "the hop gw.example:1080 refused user and password", nil)
		r := g.resolver(t, resolve.Options{}, g.Upstream(k, first, second), g.Upstream(k, third))
		err := lookupA(t, r, "api.shop.example")
		dnsrig.WantFault(t, err, fault.HopAuth, "gw.example:1080")
		if err == g.Fail {
			t.Error("the very fault of the dial function was handed out; those above complete it")
		}
	})
}

func TestAnAnswerOfAnyKindIsFinal_TheSecondUpstreamIsNotAsked(t *testing.T) {
	for name, h := range map[string]dnstest.Handler{
		"NXDOMAIN":  dnstest.RCode(dnswire.NXDomain),
		"NODATA":    dnstest.RCode(dnswire.NoError),
		"SERVFAIL":  dnstest.RCode(dnswire.ServFail),
		"REFUSED":   dnstest.RCode(dnswire.Refused),
		"malformed": dnstest.Malformed,
	} {
		t.Run(name, func(t *testing.T) {
			dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
				g := newRig(t)
				g.Serve(k, first, h)
				backup := g.Serve(k, second, dnsrig.Zone.Handler())
				r := g.resolver(t, resolve.Options{}, g.Upstream(k, first), g.Upstream(k, second))
				if err := lookupA(t, r, "api.shop.example"); err == nil {
					t.Error("the look-up succeeded")
				}
				if backup.Conns() != 0 || len(g.Net.Dials()) != 1 {
					t.Errorf("dialled %v", g.Net.Dials())
				}
			})
		})
	}
}

func TestTheSecondUpstreamIsAskedWhereTheFirstGivesNoReply(t *testing.T) {
	for name, prepare := range map[string]func(*rig, upstream.Kind){
		"refused":   func(*rig, upstream.Kind) {},
		"blackhole": func(g *rig, k upstream.Kind) { g.Net.Blackhole(netip.AddrPortFrom(first, dnsrig.Port(k)), true) },
		"silent":    func(g *rig, k upstream.Kind) { g.Serve(k, first, dnstest.Silent) },
		"wrong name": func(g *rig, k upstream.Kind) {
			g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(g.CA.Issue([]string{"x.example"}, nil)))
		},
		"HTTP 503": func(g *rig, _ upstream.Kind) {
			g.Serve(doh, first, dnstest.Status(http.StatusServiceUnavailable, "", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			kinds := dnsrig.Kinds
			if name == "wrong name" {
				kinds = dnsrig.OverTLS
			}
			dnsrig.EachOf(t, kinds, func(t *testing.T, k upstream.Kind) {
				g := newRig(t)
				prepare(g, k)
				g.Serve(k, second, dnsrig.Zone.Handler())
				r := g.resolver(t, resolve.Options{}, g.Upstream(k, first), g.Upstream(k, second))
				start := time.Now()
				wantAddrs(t, r, "four.shop.example", "192.0.2.4")
				if took := time.Since(start); took > resolve.DefaultAttemptTimeout {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

func TestTheMostTellingFailureOfSeveralUpstreamsIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(dot, second, dnsrig.Zone.Handler(), dnsrig.With(dnstest.NewCA().Issue([]string{dnsrig.ServerName}, nil)))
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first), g.Upstream(dot, second), g.Upstream(dot, third))
		dnsrig.WantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUntrusted, "unknown authority")
	})
}

func TestAWaiterThatGivesUpGetsAFaultAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(dot, first, dnstest.Silent)
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.LookupFamily(ctx, "api.shop.example", dnswire.A)
		f := dnsrig.WantFault(t, err, fault.DNSTimeout, "api.shop.example")
		if !errors.Is(f, context.DeadlineExceeded) {
			t.Errorf("cause %v", f.Err)
		}
	})
}
