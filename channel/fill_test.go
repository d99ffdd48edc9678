package channel

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/client"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/name"
)

// exits opens a channel through one proxy.
func (w *world) exits(t *testing.T, url string, below *Channel) *Channel {
	t.Helper()
	w.greet(t, "203.0.113.7:443", "api")
	w.proxy(t, "198.51.100.9:3128", nil)
	return w.open(t, Spec{Name: "exits", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, url)}, Resolver: w.resolver(t, "tls://9.9.9.9")}, below)
}

func (w *world) toldOnly(t *testing.T, user string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told) == 0 {
		t.Error("the proxy was never asked")
	}
	for _, one := range w.told {
		if !strings.HasPrefix(one, user+" ") {
			t.Errorf("the proxy was told %q, want %s", one, user)
		}
	}
	w.told = nil
}

func TestAProxyIsToldOfTheIdentityForItsTrafficAndForItsResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.exits(t, "http://acme[-cc-{country}][-u-{user}]:hunter2@198.51.100.9:3128", w.direct(t))
		<-c.Await()
		w.toldOnly(t, "acme:hunter2")
		w.reaches(t, named(c, client.Identity{User: "alice", Country: "de"}), "api.example.com:443", "api")
		w.toldOnly(t, "acme-cc-de-u-alice:hunter2")
		w.reaches(t, named(c, client.Identity{User: "bob"}), "api.example.com:443", "api")
		w.toldOnly(t, "acme-u-bob:hunter2")
		w.reaches(t, named(c, client.Identity{}), "api.example.com:443", "api")
		w.toldOnly(t, "acme:hunter2")
	})
}

func TestASessionThatIsMadeIsTheSameForTrafficAndResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.exits(t, "http://acme-{session}:hunter2@198.51.100.9:3128", w.direct(t))
		for range 2 {
			w.reaches(t, named(c, client.Identity{}), "api.example.com:443", "api")
		}
		w.mu.Lock()
		who, _, _ := strings.Cut(w.told[0], " ")
		w.mu.Unlock()
		w.toldOnly(t, who)
	})
}

func TestALabelThatNoProxyIsToldIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		below := w.direct(t)
		c := w.exits(t, "http://acme[-cc-{country}]:hunter2@198.51.100.9:3128", below)
		<-c.Await()
		w.toldOnly(t, "acme:hunter2")
		for _, id := range []client.Identity{{User: "alice", City: "paris"}, {User: "alice", TTL: "10m"}, {User: "alice", State: "texas"}, {User: "alice", Country: "france"}} {
			_, err := named(c, id).DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
			if codeOf(err) != fault.BadRequest || strings.Contains(err.Error(), "alice") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%#v: %v", id, err)
			}
		}
		if _, err := named(below, client.Identity{Country: "de"}).Lookup(t.Context(), "api.example.com"); codeOf(err) != fault.BadRequest {
			t.Errorf("direct is told no country: %v", err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.told) > 0 || c.Partitions() > 0 {
			t.Errorf("something was sent: %v", w.told)
		}
	})
}

func TestAChannelThatNeedsANameIsReadyAndRefusesWhoHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		below := w.direct(t)
		<-below.Await()
		time.Sleep(time.Second) // it asks for its resolver's own record
		c := w.exits(t, "http://{user}:hunter2@198.51.100.9:3128", below)
		<-c.Await()
		dials := len(w.net.Dials())
		_, err := c.DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
		_, err2 := c.Lookup(t.Context(), "api.example.com")
		_, err3 := c.Exchange(t.Context(), dnswire.Question{Name: "api.example.com", Type: dnswire.A})
		for _, err := range []error{err, err2, err3} {
			if codeOf(err) != fault.BadRequest {
				t.Errorf("it gave %v", err)
			}
		}
		if got := w.net.Dials(); !slices.Equal(got[:dials], got) {
			t.Errorf("something was dialled: %v", got[dials:])
		}
		w.reaches(t, named(c, client.Identity{User: "alice"}), "api.example.com:443", "api")
		w.toldOnly(t, "alice:hunter2")
	})
}

func TestAChannelThatNeedsANameMayHaveAResolverThatTravelsInDatagrams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		below := w.direct(t)
		<-below.Await()
		time.Sleep(time.Second) // it asks for its resolver's own record
		for _, url := range []string{"socks5://acme-{user}:hunter2@198.51.100.9", "h3://acme-{user}:hunter2@198.51.100.9"} {
			proxies := []hop.Proxy{mustProxy(t, "socks5://198.51.100.8"), mustProxy(t, url)}
			for _, chain := range [][]hop.Proxy{proxies[1:], proxies} {
				dials := len(w.net.Dials())
				c, err := Open(Spec{Name: "exits", Over: "direct", Proxies: chain, Resolver: w.resolver(t, "quic://9.9.9.9")}, below)
				if err != nil {
					t.Errorf("%v: %v", chain, err)
					continue
				}
				for _, target := range []string{"203.0.113.7:443", "api.example.com:443"} {
					if _, err := named(c, client.Identity{}).DialPacketChecked(t.Context(), name.Must(target), anyAddress); codeOf(err) != fault.BadRequest {
						t.Errorf("%v, %s: %v", chain, target, err)
					}
				}
				if n := len(w.net.Dials()); n != dials {
					t.Errorf("%v: %v was dialled for nobody", chain, w.net.Dials()[dials:])
				}
				c.Close()
			}
		}
	})
}

func TestAnIdentityHasTheRoomForDatagramsThatTheChannelHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		for _, user := range []string{"", "acme:hunter2@", "acme-{user}:hunter2@"} {
			c, err := Open(Spec{Name: "exits", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "socks5://"+user+"198.51.100.9")}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
			if err != nil {
				t.Fatal(err)
			}
			want := hop.RoomBehind(0, c.spec.Proxies)
			if got := hop.PacketRoom(named(c, alice).Packets()); got != want {
				t.Errorf("%q: room for %d octets, and the proxy leaves %d", user, got, want)
			}
			c.Close()
		}
	})
}
