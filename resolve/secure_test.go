package resolve_test

import (
	"context"
	"crypto/tls"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"watertight/fault"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

func TestAPinIsCheckedOnEveryConnection_ResumedOnesToo(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		cert := g.ca.Issue([]string{serverName}, nil)
		for _, pin := range []string{dnstest.Pin(cert), g.ca.Pin()} {
			s := g.serve(k, first, zone.Handler(), with(cert))
			spec := g.spec(k, first)
			spec.Pins = []string{dnstest.NewCA().Pin(), pin}
			r := g.resolver(resolve.Options{}, build(t, spec))
			wantAddrs(t, r, "four.shop.example", "192.0.2.4")
			s.DropConns()
			synctest.Wait()
			wantAddrs(t, r, "one.shop.example", "192.0.2.11")
			log := s.Log()
			if log[0].Resumed || !log[len(log)-1].Resumed {
				t.Error("the second connection was to resume the first")
			}
			s.Close()
		}
	})
}

func TestAResumedConnectionWithAWrongPinIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		cert := g.ca.Issue([]string{serverName}, nil)
		s := g.serve(upstream.DoT, first, zone.Handler(), with(cert))
		spec := g.spec(upstream.DoT, first)
		spec.Pins = []string{dnstest.Pin(cert)}
		u := build(t, spec)
		r := g.resolver(resolve.Options{}, u)
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		u.Pins[0][0] ^= 1 // the Resolver shares the slice: as if the pin had been another all along
		s.DropConns()
		synctest.Wait()
		wantFault(t, lookupA(t, r, "one.shop.example"), fault.ResolverUntrusted, "pinned")
	})
}

func TestFlushForgetsTheSessionsOfTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.serve(upstream.DoT, first, zone.Handler())
		r := g.resolver(resolve.Options{}, g.upstream(upstream.DoT, first))
		wantAddrs(t, r, "four.shop.example", "192.0.2.4")
		r.Flush()
		synctest.Wait()
		if n := r.Stats().Upstreams[0].Conns; n != 0 {
			t.Errorf("%d connections are in use across Flush", n)
		}
		wantAddrs(t, r, "one.shop.example", "192.0.2.11")
		if n := len(g.net.Dials()); n != 2 {
			t.Errorf("%d connections were made, want a second one after Flush", n)
		}
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session was resumed across Flush")
			}
		}
	})
}

func TestAQuestionUnderWayIsAnsweredAcrossFlush_andLeavesNoSession(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		hold := make(chan struct{})
		s := g.serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Question.Name == "one.shop.example" {
				<-hold
			}
			return zone.Handler()(ctx, q)
		})
		r := g.resolver(resolve.Options{}, g.upstream(k, first))
		done := make(chan error, 1)
		go func() { done <- lookupA(t, r, "one.shop.example") }()
		synctest.Wait()
		r.Flush()
		wantAddrs(t, r, "two.shop.example", "192.0.2.12")
		close(hold)
		if err := <-done; err != nil {
			t.Errorf("the question under way got %v", err)
		}
		synctest.Wait()
		if n := r.Stats().Upstreams[0].Conns; n != 1 {
			t.Errorf("%d connections, want the new one alone", n)
		}
		if n := len(g.net.Dials()); n != 2 {
			t.Errorf("%d connections were made, want one before Flush and one after", n)
		}
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session was resumed across Flush")
			}
		}
	})
}

func TestTwoResolversShareNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.serve(upstream.DoT, first, zone.Handler())
		u := g.upstream(upstream.DoT, first)
		wantAddrs(t, g.resolver(resolve.Options{}, u), "four.shop.example", "192.0.2.4")
		wantAddrs(t, g.resolver(resolve.Options{}, u), "one.shop.example", "192.0.2.11")
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session crossed from one Resolver to another")
			}
		}
	})
}

func TestTheServerNameIsSentAndALiteralAddressIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		var mu sync.Mutex
		var names []string
		see := func(c *tls.Config) {
			c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				mu.Lock()
				defer mu.Unlock()
				names = append(names, hello.ServerName)
				return nil, nil
			}
		}
		g.serve(upstream.DoT, first, zone.Handler(), see)
		literal := upstream.Spec{URL: "tls://" + first.String(), CA: g.caFile()}
		named := literal
		named.Name = serverName
		for i, s := range []upstream.Spec{g.spec(upstream.DoT, first), literal, named} {
			if err := lookupA(t, g.resolver(resolve.Options{}, build(t, s)), "four.shop.example"); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if got := strings.Join(names, ","); got != serverName+",,"+serverName {
			t.Errorf("names %q", got)
		}
	})
}

func TestALiteralHostHasToBeInTheCertificate(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.serve(k, first, zone.Handler()) // the certificate covers first, and the server name
		g.serve(k, second, zone.Handler())
		spec := upstream.Spec{CA: g.caFile()}
		spec.URL = string(k) + "://" + first.String()
		if err := lookupA(t, g.resolver(resolve.Options{}, build(t, spec)), "four.shop.example"); err != nil {
			t.Error(err)
		}
		spec.URL = string(k) + "://" + second.String()
		if err := lookupA(t, g.resolver(resolve.Options{}, build(t, spec)), "four.shop.example"); err == nil {
			t.Error("a certificate that does not cover the address was accepted")
		}
		spec.Name = serverName
		if err := lookupA(t, g.resolver(resolve.Options{}, build(t, spec)), "four.shop.example"); err != nil {
			t.Errorf("with `name`: %v", err)
		}
	})
}

func TestACAFileIsTrustedAloneAndOnlyForItsUpstream(t *testing.T) {
	inBothKinds(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.serve(k, first, zone.Handler())
		spec := g.spec(k, first)
		spec.CA = caFile(t, dnstest.NewCA())
		if err := lookupA(t, g.resolver(resolve.Options{}, build(t, spec)), "four.shop.example"); err == nil {
			t.Error("an authority that is not in the file was trusted")
		}
		spec.CA = "" // the system's authorities
		if err := lookupA(t, g.resolver(resolve.Options{}, build(t, spec)), "four.shop.example"); err == nil {
			t.Error("the test's authority is trusted by the system")
		}
	})
}
