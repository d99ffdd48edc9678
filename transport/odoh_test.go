package transport_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/name"
	codec "watertight/odoh"
	"watertight/transport"
	"watertight/upstream"
)

// patient keeps connections for as long as the test likes.
func patient(o *transport.Options) { o.IdleTimeout = 24 * time.Hour }

func TestWhatTheRelayOfODoHSeesIsWhereToAndHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Target = dnstest.NewODoHTarget("target.provider.example", "/a%2fb")
		g.Serve(odoh, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(odoh, first))
		for _, host := range []string{"one.shop.example", "two.shop.example", strings.Repeat("long.", 12) + "shop.example"} {
			ask(t, c, host)
		}
		seen := g.Target.Seen()
		if len(seen) != 4 || seen[0].Method != http.MethodGet || seen[0].TargetPath != "/.well-known/odohconfigs" {
			t.Fatalf("the relay saw %d requests, want one for the key and three questions: %+v", len(seen), seen)
		}
		lengths := map[int]bool{}
		for i, r := range seen {
			if r.Host != dnsrig.ServerName || r.Path != dnsrig.RelayPath || r.TargetHost != "target.provider.example" || strings.Contains(r.RawQuery, "shop") {
				t.Errorf("request %d to %s%s?%s", i, r.Host, r.Path, r.RawQuery)
			}
			for h := range r.Header {
				switch h {
				case "Accept", "Content-Type", "Content-Length":
				default:
					t.Errorf("request %d has the header %s", i, h)
				}
			}
			if bytes.Contains(r.Body, []byte("shop")) {
				t.Errorf("request %d shows what is asked for", i)
			}
			if i > 0 {
				lengths[len(r.Body)] = true
				if r.Method != http.MethodPost || r.TargetPath != "/a%2fb" || r.Header.Get("Content-Type") != "application/oblivious-dns-message" {
					t.Errorf("question %d is %s for %s", i, r.Method, r.TargetPath)
				}
			}
		}
		if len(lengths) != 1 {
			t.Errorf("the questions have %d lengths", len(lengths))
		}
	})
}

// TestTheTargetOfODoHIsNeverDialled gives the target a name whose address answers, and an address of its own: whoever
// wanted to could reach it.
func TestTheTargetOfODoHIsNeverDialled(t *testing.T) {
	for _, host := range []string{dnsrig.TargetName, second.String()} {
		t.Run(host, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.Target = dnstest.NewODoHTarget(host, dnsrig.TargetPath)
				relay := g.Serve(odoh, first, dnsrig.Zone.Handler())
				itself := g.Serve(odoh, second, dnsrig.Zone.Handler())
				var p tap
				c := g.client(t, g.Upstream(odoh, first), p.over(g), patient)
				wantAddr(t, c, "one.shop.example", "192.0.2.11")
				time.Sleep(2 * time.Hour) // the key is old
				wantAddr(t, c, "two.shop.example", "192.0.2.12")
				g.Target.Renew()
				wantAddr(t, c, "two.shop.example", "192.0.2.12")
				if got := p.dialled(); got != "[tcp 198.18.0.1:443]" {
					t.Errorf("dialled %s, want the relay once", got)
				}
				g.Target.Show(nil) // no key is to be had
				c.Flush()
				dnsrig.WantFault(t, ask(t, c, "one.shop.example"), fault.ResolverUnreachable, "has no key that can be used")
				relay.Close() // and then no relay
				for range 3 {
					if err := ask(t, c, "four.shop.example"); err == nil {
						t.Error("there is an answer without the relay")
					}
				}
				for _, to := range g.Net.Dials() {
					if to != netip.AddrPortFrom(first, 443) {
						t.Errorf("something else was dialled: %v", to)
					}
				}
				if itself.Conns() != 0 {
					t.Error("the target was reached without the relay")
				}
			})
		})
	}
}

func TestTheKeyOfATargetIsFetchedAnewEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(odoh, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(odoh, first), patient)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		time.Sleep(time.Hour - time.Second)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if n := g.Target.Fetched(); n != 1 {
			t.Errorf("fetched %d times within the hour", n)
		}
		time.Sleep(time.Second)
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		wantAddr(t, c, "two.shop.example", "192.0.2.12")
		if n := g.Target.Fetched(); n != 2 || s.Conns() != 1 {
			t.Errorf("fetched %d times after an hour, over %d connections", n, s.Conns())
		}
	})
}

func TestAnotherKeyOfTheTargetIsFetchedOnceForAllQuestionsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		s := g.Serve(odoh, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(odoh, first))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		g.Target.Renew()
		release := make(chan struct{})
		g.Target.Hold(release)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { wantAddr(t, c, "two.shop.example", "192.0.2.12") })
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := g.Target.Fetched(); n != 2 || s.Conns() != 1 {
			t.Errorf("fetched %d times, over %d connections", n, s.Conns())
		}
	})
}

func TestAQuestionThatWaitsForAKeyEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(odoh, first, dnsrig.Zone.Handler())
		c := g.client(t, g.Upstream(odoh, first), patient)
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		time.Sleep(time.Hour)
		release := make(chan struct{})
		defer close(release)
		g.Target.Hold(release)
		var wg sync.WaitGroup
		for _, patience := range []time.Duration{5 * time.Second, time.Second} { // the first asks for the key, the second waits for it
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				start := time.Now()
				_, fail := c.Ask(ctx, dnswire.Question{Name: "two.shop.example", Type: dnswire.A})
				if took := time.Since(start); fail == nil || fail.Fault.Code != fault.DNSTimeout || took != patience {
					t.Errorf("%v after %v, want it after %v", fail, took, patience)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
	})
}

func TestATargetThatKeepsItsWrongKeyIsAskedTwiceAndNoMore(t *testing.T) {
	sealed := func(body string) dnstest.Handler { return dnstest.Status(http.StatusOK, codec.MediaType, body) }
	for _, c := range []struct {
		name    string
		handler dnstest.Handler
		prepare func(*rig)
		code    fault.Code
		part    string
	}{
		{"401", dnsrig.Zone.Handler(), func(g *rig) { g.Target.Rekey() }, fault.ResolverUnreachable, "answered HTTP 401"},
		{"undecryptable", sealed("\x02\x00\x10nonce of 16 octe\x00\x20" + strings.Repeat("x", 32)), nil, fault.ResolverUntrusted, "cannot be decrypted"},
		{"no message at all", sealed("x"), nil, fault.ResolverUntrusted, "cannot be decrypted"},
		{"a question for an answer", sealed("\x01\x00\x00\x00\x01x"), nil, fault.ResolverUntrusted, "cannot be decrypted"},
		{"too long", sealed(strings.Repeat("x", codec.MaxMessage+1)), nil, fault.ResolverUntrusted, "cannot be decrypted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				g.Serve(odoh, first, c.handler)
				if c.prepare != nil {
					c.prepare(g)
				}
				dnsrig.WantFault(t, ask(t, g.client(t, g.Upstream(odoh, first)), "one.shop.example"), c.code, c.part)
				if n, fetched := len(g.Target.Seen()), g.Target.Fetched(); n != 4 || fetched != 2 {
					t.Errorf("%d requests, %d of them for the key", n, fetched)
				}
			})
		})
	}
}

func TestAReplyThatCannotBeDecryptedIsAskedForAgainUnderANewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		answers := dnsrig.Zone.Handler()
		var once sync.Once
		g.Serve(odoh, first, func(ctx context.Context, q *dnstest.Query) (r dnstest.Reply) {
			r = answers(ctx, q)
			once.Do(func() { r = dnstest.Status(http.StatusOK, codec.MediaType, "x")(ctx, q) })
			return r
		})
		c := g.client(t, g.Upstream(odoh, first))
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		if n := g.Target.Fetched(); n != 2 {
			t.Errorf("the key was fetched %d times", n)
		}
	})
}

func TestFaultsOfARelayOfODoHAreExplicit(t *testing.T) {
	for _, c := range []struct {
		name    string
		handler dnstest.Handler
		change  func(*rig, *upstream.Upstream)
		part    string
		asked   bool
	}{
		{"does not know the target", dnsrig.Zone.Handler(), func(_ *rig, u *upstream.Upstream) { u.Host = "other.example" }, "answered HTTP 502", false},
		{"another path", dnsrig.Zone.Handler(), func(_ *rig, u *upstream.Upstream) { u.TargetPath = "/other" }, "answered HTTP 404", false},
		{"no key", dnsrig.Zone.Handler(), func(g *rig, _ *upstream.Upstream) { g.Target.Show([]byte("<html>")) }, "has no key that can be used", false},
		{"a key without end", dnsrig.Zone.Handler(), func(g *rig, _ *upstream.Upstream) { g.Target.ShowWithoutEnd() }, "has no key that can be used", false},
		{"HTTP 500", dnstest.Status(500, "text/plain", "no"), nil, "answered HTTP 500", true},
		{"redirect", dnstest.Redirect("https://elsewhere.example/"), nil, "never followed", true},
		{"captive page", dnstest.Captive, nil, "text/html", true},
		{"DNS in clear", dnstest.Status(200, "application/dns-message", "x"), nil, "application/dns-message", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t)
				s := g.Serve(odoh, first, c.handler)
				u := g.Upstream(odoh, first)
				if c.change != nil {
					c.change(g, &u)
				}
				client := g.client(t, u)
				f := dnsrig.WantFault(t, ask(t, client, "one.shop.example"), fault.ResolverUnreachable, c.part)
				if !strings.HasPrefix(f.Message, "the resolver "+u.Host+" behind the relay "+dnsrig.ServerName) {
					t.Errorf("the message %q does not name both", f.Message)
				}
				synctest.Wait()
				if live, known := s.Live(), client.Stats(time.Now()).Conns; live != known {
					t.Errorf("%d connections are open, and the client knows of %d", live, known)
				}
				if asked := s.Count("one.shop.example", dnswire.A) > 0; asked != c.asked {
					t.Errorf("asked: %v", asked)
				}
				for _, to := range g.Net.Dials() {
					if to != netip.AddrPortFrom(first, 443) {
						t.Errorf("something else was dialled: %v", to)
					}
				}
			})
		})
	}
}

func TestARelayThatCannotBeTrustedLearnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		g.Serve(odoh, first, dnsrig.Zone.Handler())
		spec := g.Spec(odoh, first)
		spec.Relay = dnsrig.RelayStamp(t, name.Must(dnsrig.ServerName+":443"), sha256.Sum256(nil))
		dnsrig.WantFault(t, ask(t, g.client(t, dnsrig.Build(t, spec)), "one.shop.example"), fault.ResolverUntrusted, "none of its certificates has a hash of the stamp")
		if n := len(g.Target.Seen()); n != 0 {
			t.Errorf("it saw %d requests", n)
		}
	})
}

func TestODoHWithoutARelayOrATargetIsAnErrorOfTheConstructor(t *testing.T) {
	g := newRig(t)
	for what, change := range map[string]func(*upstream.Upstream){
		"no relay":  func(u *upstream.Upstream) { u.Relay = "" },
		"no target": func(u *upstream.Upstream) { u.TargetPath = "" },
	} {
		u := g.Upstream(odoh, first)
		change(&u)
		if c, err := transport.New(u, g.options()); err == nil {
			c.Close()
			t.Errorf("%s is accepted", what)
		}
	}
}
