package resolve_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

type tlsTweak = func(*tls.Config)

func with(cert tls.Certificate) tlsTweak {
	return func(c *tls.Config) { c.Certificates = []tls.Certificate{cert} }
}

func TestEveryFaultOfAResolverIsExplicitAndFinal(t *testing.T) {
	other := dnstest.NewCA()
	past := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	long := make(dnstest.Zone, 0, 20)
	for i := range 20 {
		long = append(long, string(rune('a'+i))+".loop.example. 60 CNAME "+string(rune('b'+i))+".loop.example.")
	}
	dot, doh := []upstream.Kind{upstream.DoT}, []upstream.Kind{upstream.DoH}
	answers := zone.Handler()
	for _, c := range []struct {
		name    string
		kinds   []upstream.Kind
		handler dnstest.Handler
		tweak   func(*rig) tlsTweak
		spec    func(*rig, *upstream.Spec)
		host    string
		code    fault.Code
		part    string
	}{
		{name: "silent", kinds: both, handler: dnstest.Silent, code: fault.DNSTimeout, part: "no answer about api.shop.example in time"},
		{name: "hangs up", kinds: both, handler: dnstest.Hangup, code: fault.ResolverUnreachable, part: "closed the connection"},
		{name: "expired", kinds: both, code: fault.ResolverUntrusted, part: "expired", tweak: func(g *rig) tlsTweak {
			return with(g.ca.IssueLeaf(dnstest.Leaf{Names: []string{serverName}, NotAfter: past}))
		}},
		{name: "wrong name", kinds: both, code: fault.ResolverUntrusted, part: "does not cover " + serverName, tweak: func(g *rig) tlsTweak {
			return with(g.ca.Issue([]string{"other.example"}, nil))
		}},
		{name: "unknown authority", kinds: both, code: fault.ResolverUntrusted, part: "unknown authority", tweak: func(*rig) tlsTweak {
			return with(other.Issue([]string{serverName}, nil))
		}},
		{name: "wrong pin", kinds: both, code: fault.ResolverUntrusted, part: "pinned", spec: func(_ *rig, s *upstream.Spec) {
			s.Pins = []string{other.Pin()}
		}},
		{name: "TLS 1.2 only", kinds: both, code: fault.ResolverUntrusted, part: "TLS 1.3", tweak: func(*rig) tlsTweak {
			return func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
		}},
		{name: "no HTTP/2", kinds: doh, code: fault.ResolverUnreachable, part: "HTTP/2", tweak: func(*rig) tlsTweak {
			return func(c *tls.Config) { c.NextProtos = nil }
		}},
		{name: "HTTP/1.1 only", kinds: doh, code: fault.ResolverUnreachable, part: "HTTP/2", tweak: func(*rig) tlsTweak {
			return func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }
		}},
		{name: "HTTP 500", kinds: doh, handler: dnstest.Status(500, "text/plain", "no"), code: fault.ResolverUnreachable, part: "HTTP 500"},
		{name: "redirect", kinds: doh, handler: dnstest.Redirect("https://elsewhere.example/dns-query"), code: fault.ResolverUnreachable, part: "never followed"},
		{name: "captive page", kinds: doh, handler: dnstest.Captive, code: fault.ResolverUnreachable, part: "text/html"},
		{name: "SERVFAIL", kinds: both, handler: dnstest.RCode(dnswire.ServFail, dnswire.EDE{Code: 6, Text: "bad sig"}), code: fault.DNSServFail, part: "the resolver " + serverName + " could not resolve api.shop.example: SERVFAIL: DNSSEC Bogus"},
		{name: "REFUSED", kinds: both, handler: dnstest.RCode(dnswire.Refused), code: fault.DNSServFail, part: "refuses to resolve api.shop.example: REFUSED"},
		{name: "FORMERR", kinds: both, handler: dnstest.RCode(dnswire.FormErr), code: fault.DNSServFail, part: "FORMERR"},
		{name: "malformed", kinds: both, handler: dnstest.Malformed, code: fault.DNSServFail, part: "malformed reply"},
		{name: "oversize", kinds: doh, handler: dnstest.Oversize, code: fault.DNSServFail, part: "more than 65535"},
		{name: "oversize", kinds: dot, handler: dnstest.Oversize, code: fault.DNSServFail, part: "malformed reply"},
		{name: "wrong ID", kinds: doh, handler: dnstest.WrongID(answers), code: fault.DNSServFail, part: "wrong ID"},
		{name: "wrong ID", kinds: dot, handler: dnstest.WrongID(answers), code: fault.DNSServFail, part: "ID that was not asked"},
		{name: "wrong question", kinds: both, handler: dnstest.WrongQuestion, code: fault.DNSServFail, part: "another question"},
		{name: "truncated", kinds: both, handler: dnstest.Truncated(answers), code: fault.DNSServFail, part: "truncated"},
		{name: "endless chain", kinds: both, handler: long.Handler(), host: "a.loop.example", code: fault.DNSServFail, part: "a.loop.example"},
		{name: "NXDOMAIN", kinds: both, host: "nope.shop.example", code: fault.DNSNXDomain, part: "nope.shop.example does not exist"},
		{name: "NODATA", kinds: both, host: "text.shop.example", code: fault.DNSNoData, part: "text.shop.example has no A record"},
	} {
		for _, k := range c.kinds {
			t.Run(c.name+" "+string(k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t)
					if c.handler == nil {
						c.handler = answers
					}
					if c.host == "" {
						c.host = "api.shop.example"
					}
					var tweaks []tlsTweak
					if c.tweak != nil {
						tweaks = append(tweaks, c.tweak(g))
					}
					g.serve(k, first, c.handler, tweaks...)
					spec := g.spec(k, first)
					if c.spec != nil {
						c.spec(g, &spec)
					}
					r := g.resolver(resolve.Options{}, build(t, spec))
					wantFault(t, lookupA(t, r, c.host), c.code, c.part)
					for _, to := range g.net.Dials() {
						if to != netip.AddrPortFrom(first, port(k)) {
							t.Errorf("something else was dialled: %v", to)
						}
					}
				})
			})
		}
	}
}

func TestARefusedConnectionIsRESOLVER_UNREACHABLE(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUnreachable, "refused the connection")
	})
}

func TestABlackholeIsDNS_TIMEOUTAfterTheWholeTimeout(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.net.Blackhole(netip.AddrPortFrom(first, port(k)), true)
		r := g.resolver(resolve.Options{Timeout: 3 * time.Second}, g.upstream(k, first))
		start := time.Now()
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.DNSTimeout, "no answer about api.shop.example in time")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAServerThatAcceptsAndSaysNothingIsDNS_TIMEOUT(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		l := g.net.Listen(netip.AddrPortFrom(first, port(k)))
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
			}
		}()
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.DNSTimeout, "in time")
		r.Close()
	})
}

func TestAServerWithoutTLSIsRESOLVER_UNTRUSTED(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		l := g.net.Listen(netip.AddrPortFrom(first, port(k)))
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUntrusted, "does not speak TLS")
	})
}

func TestAFaultOfTheDialFunctionIsPreserved(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.fail = fault.New(fault.HopAuth, "the hop gw.example:1080 refused user and password", nil)
		r := g.resolver(resolve.Options{}, g.upstream(k, first, second), g.upstream(k, third))
		err := lookupA(t, r, "api.shop.example")
		wantFault(t, err, fault.HopAuth, "gw.example:1080")
		if err == g.fail {
			t.Error("the very fault of the dial function was handed out; those above complete it")
		}
	})
}

func TestAHopThatSaysTheResolverRefusedIsRESOLVER_UNREACHABLE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first))
		g.fail = fault.New(fault.ConnectRefused, "x", nil)
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUnreachable, serverName)
		time.Sleep(time.Minute)
		g.fail = fault.New(fault.ConnectTimeout, "x", nil)
		wantFault(t, lookupA(t, r, "two.shop.example"), fault.DNSTimeout, serverName)
		time.Sleep(time.Minute)
		g.fail = errors.New("no route")
		wantFault(t, lookupA(t, r, "one.shop.example"), fault.ResolverUnreachable, "cannot be reached")
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
			inBothKinds(t, func(t *testing.T, k upstream.Kind) {
				g := newRig(t)
				g.serve(k, first, h)
				backup := g.serve(k, second, zone.Handler())
				r := g.resolver(resolve.Options{}, g.upstream(k, first), g.upstream(k, second))
				if err := lookupA(t, r, "api.shop.example"); err == nil {
					t.Error("the look-up succeeded")
				}
				if backup.Conns() != 0 || len(g.net.Dials()) != 1 {
					t.Errorf("dialled %v", g.net.Dials())
				}
			})
		})
	}
}

func TestTheSecondUpstreamIsAskedWhereTheFirstGivesNoReply(t *testing.T) {
	for name, prepare := range map[string]func(*rig, upstream.Kind){
		"refused":   func(*rig, upstream.Kind) {},
		"blackhole": func(g *rig, k upstream.Kind) { g.net.Blackhole(netip.AddrPortFrom(first, port(k)), true) },
		"silent":    func(g *rig, k upstream.Kind) { g.serve(k, first, dnstest.Silent) },
		"wrong name": func(g *rig, k upstream.Kind) {
			g.serve(k, first, zone.Handler(), with(g.ca.Issue([]string{"x.example"}, nil)))
		},
		"HTTP 503": func(g *rig, _ upstream.Kind) {
			g.serve(upstream.DoH, first, dnstest.Status(http.StatusServiceUnavailable, "", ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBothKinds(t, func(t *testing.T, k upstream.Kind) {
				g := newRig(t)
				prepare(g, k)
				g.serve(k, second, zone.Handler())
				r := g.resolver(resolve.Options{}, g.upstream(k, first), g.upstream(k, second))
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
		g.serve(upstream.DoT, second, zone.Handler(), with(dnstest.NewCA().Issue([]string{serverName}, nil)))
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first), g.upstream(upstream.DoT, second), g.upstream(upstream.DoT, third))
		wantFault(t, lookupA(t, r, "api.shop.example"), fault.ResolverUntrusted, "unknown authority")
	})
}

func TestAWaiterThatGivesUpGetsAFaultAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.serve(upstream.DoT, first, dnstest.Silent)
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.LookupFamily(ctx, "api.shop.example", dnswire.A)
		f := wantFault(t, err, fault.DNSTimeout, "api.shop.example")
		if !errors.Is(f, context.DeadlineExceeded) {
			t.Errorf("cause %v", f.Err)
		}
	})
}
