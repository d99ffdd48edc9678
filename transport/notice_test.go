package transport_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
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

// own is the question for the record of the resolver's own name.
func own(k upstream.Kind) dnswire.Question {
	if k == upstream.DoT || k == upstream.DoQ {
		return dnswire.Question{Name: "_dns." + dnsrig.ServerName, Type: dnswire.SVCB}
	}
	return dnswire.Question{Name: dnsrig.ServerName, Type: dnswire.HTTPS}
}

// record is such a record of a kind, which lives for five minutes.
func record(k upstream.Kind, params string) string {
	q := own(k)
	alpn := map[upstream.Kind]string{upstream.DoT: "dot", upstream.DoQ: "doq", upstream.DoH3: "h3", upstream.DoH: "h2", upstream.ODoH: "h2"}[k]
	return q.Name + ". 300 " + q.Type.String() + " 1 . alpn=" + alpn + " " + params
}

// recording asks for records.
func recording(o *transport.Options) { o.Records = true }

// published is a resolver that takes hellos encrypted to the keys, and says what is in its zone besides; with a client
// that is watched.
func published(t *testing.T, k upstream.Kind, keys *dnstest.ECH, records ...string) (*rig, *dnstest.Server, *transport.Client, *onlooker) {
	t.Helper()
	g := newRig(t)
	cert := g.CA.Issue([]string{dnsrig.ServerName, publicName}, nil)
	s := g.Serve(k, first, saying(records...), dnsrig.With(cert), dnstest.Takes(keys))
	o := &onlooker{}
	return g, s, g.client(t, g.Upstream(k, first), watch(o), recording), o
}

func saying(records ...string) dnstest.Handler {
	return append(slices.Clone(dnsrig.Zone), records...).Handler()
}

// again makes the client connect anew, and ask.
func again(t *testing.T, s *dnstest.Server, c *transport.Client) {
	t.Helper()
	synctest.Wait() // for the record
	s.DropConns()
	synctest.Wait()
	wantAddr(t, c, "four.shop.example", "192.0.2.4")
	synctest.Wait()
}

func TestTheRecordOfAResolversOwnNameIsAskedOfItselfAlone(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		g, s, c, _ := published(t, k, dnstest.NewECH(publicName, 1))
		if synctest.Wait(); len(g.Net.Dials()) != 0 {
			t.Error("it was asked before anybody asked for something")
		}
		for range 3 {
			wantAddr(t, c, "four.shop.example", "192.0.2.4")
			synctest.Wait()
		}
		if n := s.Count(own(k).Name, own(k).Type); n != 1 {
			t.Errorf("asked %d times: %v", n, s.Names())
		}
		if log := s.Log(); log[0].Name != "four.shop.example" {
			t.Errorf("asked before the resolver had replied: %v", s.Names())
		}
		if len(s.Log()) != 4 || len(g.Net.Dials()) != 1 {
			t.Errorf("%v over %v", s.Names(), g.Net.Dials())
		}

		silent := g.client(t, g.Upstream(k, first)) // without the option
		wantAddr(t, silent, "four.shop.example", "192.0.2.4")
		literal := g.client(t, dnsrig.Build(t, g.Literal(k, first)), recording) // which has no name
		g.Serve(k, second, dnsrig.Zone.Handler())
		if k != upstream.ODoH {
			s.Close()
			g.Serve(k, first, dnsrig.Zone.Handler())
			wantAddr(t, literal, "four.shop.example", "192.0.2.4")
		}
		if synctest.Wait(); s.Count(own(k).Name, own(k).Type) != 1 {
			t.Errorf("asked by those who do not: %v", s.Names())
		}
	})
}

func TestTheRecordOfAnotherPortHasThatPortInItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		at := netip.AddrPortFrom(first, 8443)
		s := dnstest.ServeDoH(g.Net.Listen(at), g.CA.Issue([]string{dnsrig.ServerName}, nil), dnsrig.Zone.Handler())
		defer s.Close()
		spec := g.Spec(doh, first)
		spec.URL = "https://" + dnsrig.ServerName + ":8443"
		wantAddr(t, g.client(t, dnsrig.Build(t, spec), recording), "four.shop.example", "192.0.2.4")
		if synctest.Wait(); s.Count("_8443._https."+dnsrig.ServerName, dnswire.HTTPS) != 1 {
			t.Error(s.Names())
		}
	})
}

func TestHellosAreEncryptedAsSoonAsTheRecordSaysSo(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		_, s, c, o := published(t, k, keys, record(k, "ech="+keys.Text()))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		again(t, s, c)
		again(t, s, c)
		if got := o.names(t); !slices.Equal(got, []string{dnsrig.ServerName, publicName, publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
	})
}

// The catalogue's D10: an empty answer, an error and a name that is gone do not switch it off.
func TestARecordThatVanishesLeavesHellosEncryptedAsLongAsItLives(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		_, s, c, o := published(t, k, keys, record(k, "ech="+keys.Text()))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		gone := map[string]dnstest.Handler{
			"no such name": saying(), "no such record": saying(own(k).Name + ". 300 TXT x"),
			"without ech": saying(record(k, "")), "an error": dnstest.RCode(dnswire.ServFail),
		}
		for _, what := range []string{"no such name", "no such record", "without ech", "an error"} {
			s.Handle(gone[what])
			c.Flush() // so that it is asked again
			exchange(t, c, "four.shop.example")
			synctest.Wait()
		}
		asked := s.Count(own(k).Name, own(k).Type)
		if asked < 4 { // after the error it is asked later
			t.Errorf("asked %d times", asked)
		}
		if got := o.names(t); len(got) != 5 || slices.Contains(got[1:], dnsrig.ServerName) {
			t.Errorf("an onlooker read %v", got)
		}
		// Its time is over: the next connection is made with ECH still, and the resolver says over it that there is none.
		s.Handle(saying())
		time.Sleep(24 * time.Hour)
		again(t, s, c)
		if got := o.names(t); got[len(got)-1] != publicName {
			t.Errorf("an onlooker read %v", got)
		}
		again(t, s, c)
		if got := o.names(t); got[len(got)-1] != dnsrig.ServerName {
			t.Errorf("an onlooker read %v", got)
		}
	})
}

func TestAServerThatRejectsTheKeysOfItsRecordIsNotAskedWithoutAsLongAsTheRecordLives(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		keys := dnstest.NewECH(publicName, 1)
		g, s, c, o := published(t, k, keys, record(k, "ech="+keys.Text()))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		s.Close()
		g.Serve(k, first, dnsrig.Zone.Handler(), dnsrig.With(g.CA.Issue([]string{dnsrig.ServerName, publicName}, nil)))
		for range 2 {
			synctest.Wait()
			f := dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUnreachable, "rejected Encrypted Client Hello")
			if !strings.Contains(f.NextStep(), "its own record") {
				t.Errorf("hint %q", f.Hint)
			}
		}
		time.Sleep(5 * time.Minute)
		dnsrig.WantFault(t, ask(t, c, "four.shop.example"), fault.ResolverUnreachable, "rejected Encrypted Client Hello")
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		if got := o.names(t); !slices.Equal(got, []string{dnsrig.ServerName, publicName, publicName, publicName, dnsrig.ServerName}) {
			t.Errorf("an onlooker read %v", got)
		}
	})
}

func TestKeysThatWereChangedAreAskedForAgain(t *testing.T) {
	dnsrig.EachOf(t, dnsrig.OverTLS, func(t *testing.T, k upstream.Kind) {
		old, now := dnstest.NewECH(publicName, 1), dnstest.NewECH(publicName, 2)
		g, s, c, o := published(t, k, old, record(k, "ech="+old.Text()))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		s.Close()
		s = g.Serve(k, first, saying(record(k, "ech="+now.Text())), dnsrig.With(g.CA.Issue([]string{dnsrig.ServerName, publicName}, nil)), dnstest.Takes(now))
		again(t, s, c) // rejected, and once more with the keys of the server
		again(t, s, c) // with those of the new record
		if got := o.names(t); !slices.Equal(got, []string{dnsrig.ServerName, publicName, publicName, publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
	})
}

func TestHellosStayEncryptedOnAnotherNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := dnstest.NewECH(publicName, 1)
		_, s, c, o := published(t, dot, keys, record(dot, "ech="+keys.Text()))
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		synctest.Wait()
		c.Flush()
		wantAddr(t, c, "one.shop.example", "192.0.2.11")
		synctest.Wait()
		if got := o.names(t); !slices.Equal(got, []string{dnsrig.ServerName, publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
		if n := s.Count(own(dot).Name, own(dot).Type); n != 2 {
			t.Errorf("the record was asked for %d times", n)
		}
	})
}

func TestARecordIsAskedForAgainWhenHalfOfItsTimeIsOver(t *testing.T) {
	for ttl, life := range map[string]time.Duration{"300": 5 * time.Minute, "0": time.Minute, "2147483647": 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			keys := dnstest.NewECH(publicName, 1)
			text := strings.Replace(record(dot, "ech="+keys.Text()), " 300 ", " "+ttl+" ", 1)
			_, s, c, _ := published(t, dot, keys, text)
			wantAsked := func(want int) {
				t.Helper()
				wantAddr(t, c, "four.shop.example", "192.0.2.4")
				synctest.Wait()
				if n := s.Count(own(dot).Name, own(dot).Type); n != want {
					t.Errorf("TTL %s: asked %d times, want %d", ttl, n, want)
				}
			}
			wantAsked(1)
			time.Sleep(life/2 - time.Second)
			wantAsked(1)
			time.Sleep(time.Second)
			wantAsked(2)
		})
	}
}

func TestRecordsThatAreAboutSomethingElseAreLeftAlone(t *testing.T) {
	keys := dnstest.NewECH(publicName, 1)
	ech := "ech=" + keys.Text()
	of := func(k upstream.Kind, rest string) string {
		return own(k).Name + ". 300 " + own(k).Type.String() + " " + rest
	}
	for _, c := range []struct {
		kind upstream.Kind
		text string
		ech  bool
	}{
		{doh, of(doh, "1 . alpn=h2 "+ech), true},
		{doh, of(doh, "1 . "+ech), true}, // HTTP/1.1, which is the default
		{doh, of(doh, "1 "+dnsrig.ServerName+". port=443 "+ech), true},
		{doh, of(doh, "1 . no-default-alpn alpn=foo "+ech), false},
		{doh, of(doh, "1 elsewhere.provider.example. alpn=h2 "+ech), false},
		{doh, of(doh, "1 . port=8443 alpn=h2 "+ech), false},
		{doh, of(doh, "1 . mandatory=key65000 key65000=x alpn=h2 "+ech), false},
		{doh, of(doh, "0 alias.provider.example."), false},
		{doh, of(doh, "1 . alpn=h2 ech=AAIAAA=="), false}, // no keys that can be used
		{dot, of(dot, "1 . alpn=dot "+ech), true},
		{dot, of(dot, "1 . alpn=dot port=853 "+ech), true},
		{dot, of(dot, "1 . alpn=h2,doq "+ech), false},
		{dot, of(dot, "1 . "+ech), false}, // there is no default protocol (RFC 9461, section 4.1)
		{upstream.DoQ, of(upstream.DoQ, "1 . alpn=dot,doq "+ech), true},
		{upstream.DoH3, of(upstream.DoH3, "1 . alpn=h2 "+ech), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, s, client, o := published(t, c.kind, keys, c.text)
			wantAddr(t, client, "four.shop.example", "192.0.2.4")
			again(t, s, client)
			if got := o.names(t); (got[len(got)-1] == publicName) != c.ech {
				t.Errorf("%s: an onlooker read %v", c.text, got)
			}
		})
	}
}

// With keys in the configuration, the record changes nothing.
func TestTheKeysOfTheConfigurationAreNeverReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, others := dnstest.NewECH(publicName, 1), dnstest.NewECH("others.provider.example", 2)
		g := newRig(t)
		cert := dnsrig.With(g.CA.Issue([]string{dnsrig.ServerName}, nil))
		s := g.Serve(doh, first, saying(record(doh, "ech="+others.Text())), cert, dnstest.Takes(keys), func(*tls.Config) {})
		spec := g.Spec(doh, first)
		spec.ECH = keys.Text()
		o := &onlooker{}
		c := g.client(t, dnsrig.Build(t, spec), watch(o), recording)
		wantAddr(t, c, "four.shop.example", "192.0.2.4")
		again(t, s, c)
		if got := o.names(t); !slices.Equal(got, []string{publicName, publicName}) {
			t.Errorf("an onlooker read %v", got)
		}
	})
}
