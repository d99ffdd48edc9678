package transport_test

import (
	"context"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/transport"
	"watertight/upstream"
)

// alternative lets h answer, and sends an Alt-Svc field with it.
func alternative(h dnstest.Handler, field string) dnstest.Handler {
	return func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
		r := h(ctx, q)
		r.Header = http.Header{"Alt-Svc": {field}}
		return r
	}
}

// both is a resolver over HTTP/2 that says something, and over HTTP/3.
type both struct {
	*rig
	two, three *dnstest.Server
	c          *transport.Client
	o          *onlooker
}

func newBoth(t *testing.T, h dnstest.Handler, tweak ...dnsrig.Tweak) *both {
	t.Helper()
	g := newRig(t)
	b := &both{rig: g, o: &onlooker{}}
	b.two = g.Serve(doh, first, h)
	b.three = g.Serve(upstream.DoH3, first, dnsrig.Zone.Handler(), tweak...)
	b.c = g.client(t, g.Upstream(doh, first), watch(b.o), recording)
	return b
}

// asks asks once, and says which of the two was asked.
func (b *both) asks(t *testing.T) string {
	t.Helper()
	two, three := count(b.two), count(b.three)
	wantAddr(t, b.c, "four.shop.example", "192.0.2.4")
	synctest.Wait()
	switch {
	case count(b.two) == two+1 && count(b.three) == three:
		return "two"
	case count(b.two) == two && count(b.three) == three+1:
		return "three"
	}
	return "both"
}

func count(s *dnstest.Server) int { return s.Count("four.shop.example", dnswire.A) }

func (b *both) want(t *testing.T, which string) {
	t.Helper()
	if got := b.asks(t); got != which {
		t.Errorf("HTTP/%s was asked, want %s", got, which)
	}
}

func TestHTTP3IsSpokenAsSoonAsTheResolverSaysSo(t *testing.T) {
	for what, h := range map[string]dnstest.Handler{
		"the record":           saying(own(doh).Name + ". 300 HTTPS 1 . alpn=h2,h3"),
		"a record of its own":  saying(own(doh).Name+". 300 HTTPS 1 . alpn=h2", own(doh).Name+". 300 HTTPS 2 . no-default-alpn alpn=h3"),
		"Alt-Svc":              alternative(saying(), `h3=":443"; ma=3600`),
		"Alt-Svc with a host":  alternative(saying(), `h2="other.example:443", h3="dns.provider.example:443"`),
		"Alt-Svc without ma":   alternative(saying(), `h3-29=":1";ma=60,h3=":443"`),
		"Alt-Svc after others": alternative(saying(), `quic=":443"; v="46,43"; ma=2592000, h3=":443"; persist=1`),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoth(t, h)
			b.want(t, "two")
			b.want(t, "three")
			if st := b.c.Stats(time.Now()); st.Protocol != "DoH over HTTP/3" || st.Conns != 1 || st.ECH {
				t.Errorf("%s: stats %+v", what, st)
			}
			if b.two.Live() != 0 {
				t.Errorf("%s: the connection over HTTP/2 is open still", what)
			}
		})
	}
}

func TestHTTP3IsNotSpokenWhereTheResolverDoesNotSaySo(t *testing.T) {
	for what, h := range map[string]dnstest.Handler{
		"nothing":                  saying(),
		"a record without it":      saying(own(doh).Name + ". 300 HTTPS 1 . alpn=h2"),
		"a record of another host": saying(own(doh).Name + ". 300 HTTPS 1 other.provider.example. alpn=h3"),
		"an alternative elsewhere": alternative(saying(), `h3="other.provider.example:443"; ma=3600`),
		"an address elsewhere":     alternative(saying(), `h3="198.18.0.2:443"`),
		"another protocol":         alternative(saying(), `h2=":443", h3-29=":443"`),
		"none":                     alternative(saying(), "clear"),
		"one that is over":         alternative(saying(), `h3=":443"; ma=0`),
		"one that was over already": dnstest.Handler(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
			r := alternative(saying(), `h3=":443"; ma=60`)(ctx, q)
			r.Header.Set("Age", "60")
			return r
		}),
		"nonsense": alternative(saying(), `h3=":0", h3=":x", h3`),
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoth(t, h)
			for range 3 {
				b.want(t, "two")
			}
			if n := len(b.Net.Dials()); n != 1 || b.three.Conns() != 0 {
				t.Errorf("%s: dialled %v", what, b.Net.Dials())
			}
		})
	}
}

func TestAnotherPortOfTheResolverIsFollowed(t *testing.T) {
	at := netip.AddrPortFrom(first, 8443)
	for _, h := range []dnstest.Handler{alternative(saying(), `h3=":8443"`), saying(own(doh).Name + ". 300 HTTPS 1 . port=8443 alpn=h3")} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoth(t, h)
			b.three.Close()
			b.three = dnstest.ServeDoH3(b.Net.ListenPacket(at), b.CA.Issue([]string{dnsrig.ServerName}, nil), saying())
			defer b.three.Close()
			b.want(t, "two")
			b.want(t, "three")
			if got := b.three.Log()[0]; got.Path != "/dns-query" {
				t.Errorf("%+v", got)
			}
			b.c.Close()
		})
	}
}

func TestHTTP3IsNotSpokenOverAWayThatCarriesNoDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, alternative(saying(own(doh).Name+". 300 HTTPS 1 . alpn=h3"), `h3=":443"`))
		b.c = b.client(t, b.Upstream(doh, first), func(o *transport.Options) { o.Way.DialPacket = nil }, recording)
		for range 3 {
			b.want(t, "two")
		}
	})
}

func TestOnlyAnUpstreamOfTheSchemeHTTPSIsUpgraded(t *testing.T) {
	dnsrig.EachOf(t, []upstream.Kind{upstream.DoH3, upstream.ODoH}, func(t *testing.T, k upstream.Kind) {
		g := newRig(t)
		g.Serve(k, first, alternative(saying(own(k).Name+". 300 HTTPS 1 . alpn=h2,h3 port=8443"), `h3=":8443"`))
		c := g.client(t, g.Upstream(k, first), recording)
		for range 3 {
			wantAddr(t, c, "four.shop.example", "192.0.2.4")
			synctest.Wait()
		}
		if n := len(g.Net.Dials()); n != 1 {
			t.Errorf("dialled %v", g.Net.Dials())
		}
	})
}

// A path on which no datagram arrives costs one look-up a quarter of a second, and is then left alone for a while.
func TestADeadPathOfHTTP3LeadsBackToHTTP2OfTheSameResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, alternative(saying(), `h3=":443"`))
		b.want(t, "two")
		b.want(t, "three")
		b.three.Close()
		synctest.Wait()
		b.Mute(upstream.DoH3, first)
		b.want(t, "two")
		tries := len(b.Net.Dials())
		for range 3 { // with every connection anew
			b.two.DropConns()
			synctest.Wait()
			b.want(t, "two")
		}
		if n := len(b.Net.Dials()); n != tries+3 {
			t.Errorf("dialled %v", b.Net.Dials()[tries:])
		}
		for _, to := range b.Net.Dials() {
			if to.Addr() != first {
				t.Errorf("dialled %v", to)
			}
		}
		if st := b.c.Stats(time.Now()); !st.Healthy || st.Errors != 0 || st.Protocol != "DoH over HTTP/2" {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestADeadPathOfHTTP3IsTriedAgainAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, alternative(saying(), `h3=":443"`))
		b.three.Close()
		b.want(t, "two")
		b.want(t, "two")
		b.three = b.Serve(upstream.DoH3, first, saying())
		for range 2 {
			b.two.DropConns()
			synctest.Wait()
			b.want(t, "two")
			time.Sleep(5*time.Minute - time.Second)
		}
		b.two.DropConns()
		synctest.Wait()
		b.want(t, "three")
	})
}

func TestAServerOverHTTP3HasToProveWhatTheOneOverHTTP2Does(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, alternative(saying(), `h3=":443"`), dnsrig.With(dnstest.NewCA().Issue([]string{dnsrig.ServerName}, nil)))
		for range 3 {
			b.want(t, "two")
			b.two.DropConns()
			synctest.Wait()
		}
		if len(b.three.Log()) != 0 {
			t.Error(b.three.Names())
		}
	})
}

func TestWhatTheResolverSaidAboutHTTP3HoldsUntilItSaysOtherwise(t *testing.T) {
	for what, end := range map[string]func(*both){
		"ma is over":    func(*both) { time.Sleep(time.Hour) },
		"it says clear": func(b *both) { b.three.Handle(alternative(saying(), "clear")); b.c.Ask(context.Background(), own(doh)) },
		"it says something": func(b *both) {
			b.three.Handle(alternative(saying(), `h2=":443"`))
			b.c.Ask(context.Background(), own(doh))
		},
		"another network": func(b *both) { b.c.Flush() },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBoth(t, alternative(saying(), `h3=":443"; ma=3600`))
			b.want(t, "two")
			b.two.Handle(saying())
			b.want(t, "three")
			b.three.DropConns()
			synctest.Wait()
			b.want(t, "three") // it is remembered
			end(b)
			synctest.Wait()
			b.three.DropConns()
			synctest.Wait()
			if got := b.asks(t); got != "two" {
				t.Errorf("%s: HTTP/%s", what, got)
			}
		})
	}
}

func TestHellosAreEncryptedOverHTTP3Too(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := dnstest.NewECH(publicName, 1)
		h := alternative(saying(record(doh, "ech="+keys.Text())), `h3=":443"`)
		b := newBoth(t, h, dnstest.Takes(keys))
		b.three.Handle(h) // it depends which of the two is asked for the record
		b.want(t, "two")
		b.three.DropConns() // the first may have been made before the record was known
		synctest.Wait()
		b.want(t, "three")
		if got := b.o.names(t); got[len(got)-1] != publicName {
			t.Errorf("an onlooker read %v", got)
		}
		if st := b.c.Stats(time.Now()); !st.ECH || st.Protocol != "DoH over HTTP/3" {
			t.Errorf("stats %+v", st)
		}
	})
}
