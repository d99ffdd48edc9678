package channel

import (
	"fmt"
	"net/netip"
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

// pool opens a channel through a pool of CONNECT proxies, each with a user that tells it from the others.
func (w *world) pool(t *testing.T, n int, s hop.PoolSpec) *Channel {
	t.Helper()
	w.greet(t, "203.0.113.7:443", "api")
	for i := range n {
		w.proxy(t, fmt.Sprintf("198.51.100.%d:3128", i+1), nil)
		s.Members = append(s.Members, mustProxy(t, fmt.Sprintf("http://m%d:hunter2@198.51.100.%d:3128", i+1, i+1)))
	}
	if s.Pick == "" {
		s.Pick = hop.RoundRobin
	}
	return w.open(t, Spec{Name: "pool", Over: "direct", Pool: &s, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
}

// by gives the members that were asked for a target since the last call.
func (w *world) by(target string) (members []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.told {
		if who, to, _ := strings.Cut(one, " "); to == target {
			member, _, _ := strings.Cut(who, ":")
			members = append(members, member)
		}
	}
	w.told = nil
	return members
}

func (w *world) byAll() (members map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	members = map[string]bool{}
	for _, one := range w.told {
		member, _, _ := strings.Cut(one, ":")
		members[member] = true
	}
	w.told = nil
	return members
}

const apiAt = "203.0.113.7:443"

func TestAConnectionTakesAMemberAndTheResolverToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 3, hop.PoolSpec{})
		<-c.Await()
		for range 3 {
			w.reaches(t, named(c, client.Identity{}), "api.example.com:443", "api")
		}
		if got := w.by(apiAt); len(got) != 3 || got[0] == got[1] || got[1] == got[2] || got[0] == got[2] {
			t.Errorf("by %v", got)
		}
	})
}

func TestASessionAndItsResolverLeaveByOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 5, hop.PoolSpec{By: hop.BySession, For: time.Hour})
		<-c.Await()
		w.byAll()
		seen := map[string]string{}
		for _, id := range []client.Identity{alice, bob, {User: "alice", Session: "2"}} {
			for range 3 {
				w.reaches(t, named(c, id), "api.example.com:443", "api")
				c.Flush() // asks again, over new connections
			}
			all := w.byAll()
			if len(all) != 1 {
				t.Errorf("%v: by %v", id.Session, all)
			}
			for member := range all {
				if other := seen[member]; other != "" {
					t.Errorf("%s and %s share %s though others were free", id.String(), other, member)
				}
				seen[member] = id.String()
			}
		}
	})
}

func TestWhereTheMemberChangesNothingLinksTheTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 4, hop.PoolSpec{By: hop.ByUser, For: 30 * time.Second})
		<-c.Await()
		w.byAll()
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		first, asked := w.byAll(), w.dns.Count("api.example.com", dnswire.A)
		time.Sleep(31 * time.Second)
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		second := w.byAll()
		if len(first) != 1 || len(second) != 1 {
			t.Fatalf("by %v and then %v", first, second)
		}
		for member := range first {
			if second[member] {
				t.Errorf("the member is the same, %s: the test proves nothing", member)
			}
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != asked+1 {
			t.Errorf("an answer of the exit before was used: asked %d times, then %d", asked, n)
		}
		for _, q := range w.dns.Log() {
			if q.Resumed {
				t.Error("a session of TLS links the two members")
			}
		}
	})
}

func TestWhatSticksByClientHasAPartForEachAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 5, hop.PoolSpec{By: hop.ByClient, For: time.Hour})
		<-c.Await()
		w.byAll()
		one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for _, from := range []netip.Addr{one, two, one, two} {
			w.reaches(t, c.For(client.Identity{}, from), "api.example.com:443", "api")
		}
		if c.Partitions() != 2 {
			t.Errorf("%d partitions", c.Partitions())
		}
		if all := w.byAll(); len(all) != 2 {
			t.Errorf("by %v", all)
		}
	})
}

func TestASessionsTimeIsHowLongItSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 5, hop.PoolSpec{By: hop.BySession, For: time.Hour})
		<-c.Await()
		w.byAll()
		id := client.Identity{User: "alice", Session: "1", TTL: "2m"}
		w.reaches(t, named(c, id), "api.example.com:443", "api")
		time.Sleep(3 * time.Minute)
		w.reaches(t, named(c, id), "api.example.com:443", "api")
		if all := w.byAll(); len(all) != 2 {
			t.Errorf("by %v", all)
		}
		id.TTL = "soon"
		if _, err := named(c, id).Lookup(t.Context(), "api.example.com"); codeOf(err) != fault.BadRequest {
			t.Errorf("it gave %v", err)
		}
	})
}

func TestADeadPoolIsAFaultAndNoOtherWayIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.greet(t, "203.0.113.7:443", "api")
		s := hop.PoolSpec{Pick: hop.RoundRobin}
		for i := range 4 {
			s.Members = append(s.Members, mustProxy(t, fmt.Sprintf("socks5://198.51.100.%d", i+1)))
		}
		for _, c := range []*Channel{
			w.open(t, Spec{Name: "here", Over: "direct", Pool: &s, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t)),
			w.open(t, Spec{Name: "exit", Over: "direct", Pool: &s, ResolveAtExit: true}, w.direct(t)),
		} {
			for _, p := range []Part{named(c, client.Identity{}), named(c, alice)} {
				for _, target := range []string{"203.0.113.7:443", "api.example.com:443"} {
					_, err := p.DialChecked(t.Context(), name.Must(target), anyAddress)
					if code := codeOf(err); code != fault.HopRefused && code != fault.NotReady || !strings.Contains(err.Error(), "POOL") {
						t.Errorf("%s, %s: %v", c.Name(), target, err)
					}
				}
			}
		}
		for _, to := range w.net.Dials() {
			if to != resolverAt && to.Port() != 1080 {
				t.Errorf("something else was dialled: %v", to)
			}
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != 0 {
			t.Errorf("the resolver below was asked for the target %d times", n)
		}
	})
}

func TestMembersAreTriedThroughTheChannelAndNothingIsSentOverThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 3, hop.PoolSpec{Every: time.Minute, Timeout: 5 * time.Second})
		<-c.Await()
		time.Sleep(time.Second) // the resolver is asked for its own record
		questions := len(w.dns.Log())
		w.byAll()
		time.Sleep(2 * time.Minute)
		if all := w.byAll(); len(all) != 3 {
			t.Errorf("tried: %v", all)
		}
		if n := len(w.dns.Log()); n != questions {
			t.Errorf("%d questions were asked over it", n-questions)
		}
		for _, to := range w.net.Dials() {
			if to != resolverAt && to.Port() != 3128 {
				t.Errorf("something else was dialled: %v", to)
			}
		}
	})
}

func TestMembersThatAreReplacedLeaveTheChannelAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.pool(t, 3, hop.PoolSpec{List: "x"})
		<-c.Await()
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		asked := w.dns.Count("api.example.com", dnswire.A)
		w.byAll()
		if err := c.SetMembers(c.spec.Pool.Members[1:2]); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.reaches(t, named(c, alice), "api.example.com:443", "api")
		}
		if got := w.by(apiAt); len(got) != 3 || got[0] != "m2" || got[1] != "m2" || got[2] != "m2" {
			t.Errorf("by %v", got)
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != asked {
			t.Error("the cache is gone")
		}
		if err := w.direct(t).SetMembers(nil); err == nil {
			t.Error("a channel without a pool took members")
		}
	})
}

func TestMembersThatAreOnlyForUsersAreTriedAsFarAsTheirDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.greet(t, apiAt, "api")
		s := hop.PoolSpec{Pick: hop.RoundRobin, Every: time.Minute, Timeout: 5 * time.Second}
		for i := range 2 {
			at := fmt.Sprintf("198.51.100.%d:3128", i+1)
			w.proxy(t, at, nil)
			s.Members = append(s.Members, mustProxy(t, "http://m-{user}:hunter2@"+at))
		}
		c := w.open(t, Spec{Name: "pool", Over: "direct", Pool: &s, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
		time.Sleep(3 * time.Minute)
		stats, _ := c.PoolStats()
		if stats.Usable != 2 {
			t.Errorf("%d of 2 can be used: %+v", stats.Usable, stats.Members)
		}
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
	})
}

func TestAMemberThatTheChannelCannotReachLeavesItsConnectionToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.proxy(t, "198.51.100.9:3128", nil)
		below := w.open(t, Spec{Name: "below", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://198.51.100.9:3128")}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
		w.greet(t, apiAt, "api")
		w.proxy(t, "198.51.100.1:3128", nil)
		s := hop.PoolSpec{Pick: hop.RoundRobin, List: "x", Members: []hop.Proxy{mustProxy(t, "http://198.51.100.1:3128")}}
		c := w.open(t, Spec{Name: "pool", Over: "below", Pool: &s, Resolver: w.resolver(t, "tls://9.9.9.9")}, below)
		<-c.Await()
		if err := c.SetMembers(append([]hop.Proxy{mustProxy(t, "h3://198.51.100.2")}, s.Members...)); err != nil { // as in a list that has changed
			t.Fatal(err)
		}
		for range 3 {
			w.reaches(t, named(c, client.Identity{}), "api.example.com:443", "api")
		}
		if stats, _ := c.PoolStats(); stats.Members[0].Usable || stats.Members[0].Why == "" {
			t.Errorf("%+v", stats.Members)
		}
	})
}
