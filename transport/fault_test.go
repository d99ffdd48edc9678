package transport_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/upstream"
)

func TestEveryFaultOfAnUpstreamIsExplicit(t *testing.T) {
	other := dnstest.NewCA()
	past := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	dot, doh := []upstream.Kind{dot}, []upstream.Kind{doh, odoh}
	answers := dnsrig.Zone.Handler()
	for _, c := range []struct {
		name    string
		kinds   []upstream.Kind
		handler dnstest.Handler
		tweak   func(*rig) dnsrig.Tweak
		spec    func(*rig, *upstream.Spec)
		code    fault.Code
		part    string
	}{
		{name: "hangs up", kinds: dnsrig.OverTLS, handler: dnstest.Hangup, code: fault.ResolverUnreachable, part: "closed the connection"},
		{name: "expired", kinds: dnsrig.OverTLS, code: fault.ResolverUntrusted, part: "expired", tweak: func(g *rig) dnsrig.Tweak {
			return dnsrig.With(g.CA.IssueLeaf(dnstest.Leaf{Names: []string{dnsrig.ServerName}, NotAfter: past}))
		}},
		{name: "wrong name", kinds: dnsrig.OverTLS, code: fault.ResolverUntrusted, part: "does not cover " + dnsrig.ServerName, tweak: func(g *rig) dnsrig.Tweak {
			return dnsrig.With(g.CA.Issue([]string{"other.example"}, nil))
		}},
		{name: "unknown authority", kinds: dnsrig.OverTLS, code: fault.ResolverUntrusted, part: "unknown authority", tweak: func(*rig) dnsrig.Tweak {
			return dnsrig.With(other.Issue([]string{dnsrig.ServerName}, nil))
		}},
		{name: "wrong pin", kinds: dnsrig.OverTLS, code: fault.ResolverUntrusted, part: "pinned", spec: func(_ *rig, s *upstream.Spec) {
			s.Pins = []string{other.Pin()}
		}},
		{name: "TLS 1.2 only", kinds: dnsrig.OverTLS, code: fault.ResolverUntrusted, part: "TLS 1.3", tweak: func(*rig) dnsrig.Tweak {
			return func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }
		}},
		{name: "no HTTP", kinds: doh, code: fault.ResolverUnreachable, part: "HTTP/2", tweak: func(*rig) dnsrig.Tweak {
			return func(c *tls.Config) { c.NextProtos = nil }
		}},
		{name: "another protocol", kinds: dnsrig.OverTLS, code: fault.ResolverUnreachable, part: "does not speak", tweak: func(*rig) dnsrig.Tweak {
			return func(c *tls.Config) { c.NextProtos = []string{"other"} }
		}},
		{name: "HTTP 500", kinds: overHTTP, handler: dnstest.Status(500, "text/plain", "no"), code: fault.ResolverUnreachable, part: "HTTP 500"},
		{name: "redirect", kinds: overHTTP, handler: dnstest.Redirect("https://elsewhere.example/dns-query"), code: fault.ResolverUnreachable, part: "never followed"},
		{name: "captive page", kinds: overHTTP, handler: dnstest.Captive, code: fault.ResolverUnreachable, part: "text/html"},
		{name: "malformed", kinds: dnsrig.Kinds, handler: dnstest.Malformed, code: fault.DNSServFail, part: "malformed reply"},
		{name: "oversize", kinds: overHTTP, handler: dnstest.Oversize, code: fault.DNSServFail, part: "more than 65535"},
		{name: "oversize", kinds: []upstream.Kind{upstream.DoT, upstream.DoQ}, handler: dnstest.Oversize, code: fault.DNSServFail, part: "malformed reply"},
		{name: "wrong ID", kinds: append([]upstream.Kind{upstream.DoQ}, overHTTP...), handler: dnstest.WrongID(answers), code: fault.DNSServFail, part: "wrong ID"},
		{name: "wrong ID", kinds: dot, handler: dnstest.WrongID(answers), code: fault.DNSServFail, part: "ID that was not asked"},
		{name: "wrong question", kinds: dnsrig.Kinds, handler: dnstest.WrongQuestion, code: fault.DNSServFail, part: "another question"},
		{name: "truncated", kinds: dnsrig.Kinds, handler: dnstest.Truncated(answers), code: fault.DNSServFail, part: "truncated"},
	} {
		for _, k := range c.kinds {
			t.Run(c.name+" "+string(k), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t)
					if c.handler == nil {
						c.handler = answers
					}
					var tweaks []dnsrig.Tweak
					if c.tweak != nil {
						tweaks = append(tweaks, c.tweak(g))
					}
					g.Serve(k, first, c.handler, tweaks...)
					spec := g.Spec(k, first)
					if c.spec != nil {
						c.spec(g, &spec)
					}
					_, fail := exchange(t, g.client(t, dnsrig.Build(t, spec)), "api.shop.example")
					if fail == nil {
						t.Fatal("there is an answer")
					}
					dnsrig.WantFault(t, fail.Fault, c.code, c.part)
					if fail.Final != (c.code == fault.DNSServFail) {
						t.Errorf("final: %v", fail.Final)
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

func TestARefusedConnectionIsRESOLVER_UNREACHABLE(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		c := g.client(t, g.Upstream(k, first))
		dnsrig.WantFault(t, ask(t, c, "api.shop.example"), fault.ResolverUnreachable, "refused the connection")
	})
}

func TestAServerThatAcceptsAndSaysNothingIsDNS_TIMEOUT(t *testing.T) {
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Mute(k, first)
		c := g.client(t, g.Upstream(k, first))
		dnsrig.WantFault(t, ask(t, c, "api.shop.example"), fault.DNSTimeout, "in time")
		c.Close()
	})
}

func TestAServerWithoutTLSIsRESOLVER_UNTRUSTED(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.Streams, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		l := g.Net.Listen(netip.AddrPortFrom(first, dnsrig.Port(k)))
		defer l.Close()
		go func() {
			if conn, err := l.Accept(); err == nil {
				conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
				io.Copy(io.Discard, conn)
				conn.Close()
			}
		}()
		c := g.client(t, g.Upstream(k, first))
		dnsrig.WantFault(t, ask(t, c, "api.shop.example"), fault.ResolverUntrusted, "does not speak TLS")
	})
}

func TestAHopThatSaysTheResolverRefusedIsRESOLVER_UNREACHABLE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		c := g.client(t, g.Upstream(dot, first))
		g.Fail = fault.New(fault.ConnectRefused, "x", nil)
		dnsrig.WantFault(t, ask(t, c, "api.shop.example"), fault.ResolverUnreachable, dnsrig.ServerName)
		time.Sleep(time.Minute)
		g.Fail = fault.New(fault.ConnectTimeout, "x", nil)
		dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.DNSTimeout, dnsrig.ServerName)
		time.Sleep(time.Minute)
		g.Fail = errors.New("no route")
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUnreachable, "cannot be reached")
	})
}

func TestFailuresOfOneOutageCountOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(dot, first, dnstest.Silent)
		c := g.client(t, g.Upstream(dot, first))
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() { ask(t, c, fmt.Sprintf("h%d.shop.example", i)) })
		}
		wg.Wait()
		if st := c.Stats(time.Now()); st.Failures != 1 || st.Healthy || st.RetryIn != time.Second || st.LastCode != fault.DNSTimeout {
			t.Errorf("stats %+v", st)
		}
	})
}
