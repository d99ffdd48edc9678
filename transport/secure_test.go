package transport_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/stamp"
	"watertight/upstream"
)

func TestAPinIsCheckedOnEveryConnection_ResumedOnesToo(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		cert := g.CA.Issue([]string{dnsrig.ServerName}, nil)
		for _, pin := range []string{dnstest.Pin(cert), g.CA.Pin()} {
			s := g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(cert))
			spec := g.Spec(k, first)
			spec.Pins = []string{dnstest.NewCA().Pin(), pin}
			c := g.client(t, dnsrig.Build(t, spec))
			wantAddr(t, c, "four.shop.example", "192.0.2.4")
			s.DropConns()
			synctest.Wait()
			wantAddr(t, c, "one.shop.example", "192.0.2.11")
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
		cert := g.CA.Issue([]string{dnsrig.ServerName}, nil)
		s := g.Serve(dot, first, dnsrig.Zone.Handler(), dnsrig.With(cert))
		spec := g.Spec(dot, first)
		spec.Pins = []string{dnstest.Pin(cert)}
		u := dnsrig.Build(t, spec)
		c := g.client(t, u)
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		u.Pins[0][0] ^= 1 // the Client shares the slice: as if the pin had been another all along
		s.DropConns()
		synctest.Wait()
		dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUntrusted, "pinned")
	})
}

// stamped describes a resolver of the rig by a stamp with these hashes.
func stamped(t *testing.T, g *rig, k upstream.Kind, hashes ...[32]byte) upstream.Spec {
	t.Helper()
	kind, path := map[upstream.Kind]stamp.Kind{upstream.DoH: stamp.DoH, upstream.DoT: stamp.DoT, upstream.DoQ: stamp.DoQ, upstream.ODoH: stamp.ODoHRelay}[k], ""
	switch kind {
	case stamp.DoH:
		path = "/dns-query"
	case stamp.ODoHRelay:
		path = dnsrig.RelayPath
	}
	at := netip.AddrPortFrom(first, dnsrig.Port(k))
	host, err := name.New(name.MustHost(dnsrig.ServerName), at.Port())
	if err != nil {
		t.Fatal(err)
	}
	text, err := stamp.Stamp{Kind: kind, Addr: at, Host: host, Path: path, Hashes: hashes}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	spec := upstream.Spec{URL: text, CA: dnsrig.CAFile(t, g.CA)}
	if k == upstream.ODoH {
		spec.URL, spec.Relay = dnsrig.TargetStamp(t, g.Target), text
	}
	return spec
}

// ofStamps are the kinds that have a stamp and run over TLS.
var ofStamps = []upstream.Kind{upstream.DoH, upstream.DoT, upstream.DoQ, upstream.ODoH}

func TestTheHashesOfAStampAreCheckedOnEveryConnection_ResumedOnesToo(t *testing.T) {
	dnsrig.EachOf(t, ofStamps, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		cert := g.CA.Issue([]string{dnsrig.ServerName}, nil)
		issuer, err := x509.ParseCertificate(cert.Certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		s := g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(cert))
		for _, good := range []*x509.Certificate{cert.Leaf, issuer} {
			u := dnsrig.Build(t, stamped(t, g, k, [32]byte{1}, sha256.Sum256(good.RawTBSCertificate)))
			c := g.client(t, u)
			wantAddr(t, c, "four.shop.example", "192.0.2.4")
			s.DropConns()
			synctest.Wait()
			wantAddr(t, c, "one.shop.example", "192.0.2.11")
			if log := s.Log(); !log[len(log)-1].Resumed {
				t.Error("the second connection was to resume the first")
			}
			u.Hashes[1][0] ^= 1 // the Client shares the slice: as if the hash had been another all along
			s.DropConns()
			synctest.Wait()
			dnsrig.WantFault(t, ask(t, c, "two.shop.example"), fault.ResolverUntrusted, "none of its certificates has a hash of the stamp")
		}
		spki := sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo) // of the key, as in a pin: not what a stamp has
		err = ask(t, g.client(t, dnsrig.Build(t, stamped(t, g, k, spki))), "four.shop.example")
		dnsrig.WantFault(t, err, fault.ResolverUntrusted, "of the stamp")
	})
}

func TestPinsBesideAStampAreCheckedAsWellAsItsHashes(t *testing.T) {
	dnsrig.EachOf(t, ofStamps, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		cert := g.CA.Issue([]string{dnsrig.ServerName}, nil)
		g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(cert))
		good, bad := sha256.Sum256(cert.Leaf.RawTBSCertificate), [32]byte{1}
		for _, c := range []struct {
			hash [32]byte
			pin  string
			part string
		}{
			{good, dnstest.Pin(cert), ""},
			{good, dnstest.NewCA().Pin(), "pinned"},
			{bad, dnstest.Pin(cert), "of the stamp"},
		} {
			spec := stamped(t, g, k, c.hash)
			spec.Pins = []string{c.pin}
			err := ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example")
			if c.part == "" && err != nil {
				t.Error(err)
			} else if c.part != "" {
				dnsrig.WantFault(t, err, fault.ResolverUntrusted, c.part)
			}
		}
	})
}

func TestFlushForgetsTheSessionsOfTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(dot, first))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		c.Flush()
		synctest.Wait()
		if n := c.Stats(time.Now()).Conns; n != 0 {
			t.Errorf("%d connections are in use across Flush", n)
		}
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if n := len(g.Net.Dials()); n != 2 {
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
	dnsrig.EachKind(t, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		hold := make(chan struct{})
		s := g.Serve(k, first, func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			if q.Question.Name == "one.shop.example" {
				<-hold
			}
			return dnsrig.Zone.Handler()(ctx, q)
		})
		c := g.client(t, g.Upstream(k, first))
		done := make(chan error, 1)
		go func() { done <- ask(t, c, "one.shop.example") }()
		synctest.Wait()
		c.Flush()
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		close(hold)
		if err := <-done; err != nil {
			t.Errorf("the question under way got %v", err)
		}
		synctest.Wait()
		if n := c.Stats(time.Now()).Conns; n != 1 {
			t.Errorf("%d connections, want the new one alone", n)
		}
		if n := len(g.Net.Dials()); n != 2 {
			t.Errorf("%d connections were made, want one before Flush and one after", n)
		}
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session was resumed across Flush")
			}
		}
	})
}

func TestTwoClientsOfOneUpstreamShareNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(dot, first, dnsrig.Zone.Handler())
		u := g.Upstream(dot, first)
		wantAddr(t, g.client(t, u), "four.shop.example", "192.0.2.4")
		wantAddr(t, g.client(t, u), "one.shop.example", "192.0.2.11")
		for _, q := range s.Log() {
			if q.Resumed {
				t.Error("a session crossed from one Client to another")
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
		g.Serve(dot, first, dnsrig.Zone.Handler(), see)
		literal := upstream.Spec{URL: "tls://" + first.String(), CA: dnsrig.CAFile(t, g.CA)}
		named := literal
		named.Name = dnsrig.ServerName
		for i, s := range []upstream.Spec{g.Spec(dot, first), literal, named} {
			if err := ask(t, g.client(t, dnsrig.Build(t, s)), "four.shop.example"); err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if got := strings.Join(names, ","); got != dnsrig.ServerName+",,"+dnsrig.ServerName {
			t.Errorf("names %q", got)
		}
	})
}

func TestALiteralHostHasToBeInTheCertificate(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler()) // the certificate covers first, and the server name
		g.Serve(k, second, dnsrig.Zone.Handler())
		if err := ask(t, g.client(t, dnsrig.Build(t, g.Literal(k, first))), "four.shop.example"); err != nil {
			t.Error(err)
		}
		spec := g.Literal(k, second)
		if err := ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example"); err == nil {
			t.Error("a certificate that does not cover the address was accepted")
		}
		if k == upstream.ODoH { // a stamp says by itself whom to expect
			return
		}
		spec.Name = dnsrig.ServerName
		if err := ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example"); err != nil {
			t.Errorf("with `name`: %v", err)
		}
	})
}

func TestACAFileIsTrustedAloneAndOnlyForItsUpstream(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Serve(k, first, dnsrig.Zone.Handler())
		spec := g.Spec(k, first)
		spec.CA = dnsrig.CAFile(t, dnstest.NewCA())
		if err := ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example"); err == nil {
			t.Error("an authority that is not in the file was trusted")
		}
		spec.CA = "" // the system's authorities
		if err := ask(t, g.client(t, dnsrig.Build(t, spec)), "four.shop.example"); err == nil {
			t.Error("the test's authority is trusted by the system")
		}
	})
}
