package channel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/client"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/hop"
	"watertight/lab/dnstest"
	"watertight/name"
)

var (
	alice = client.Identity{User: "alice", Session: "1"}
	bob   = client.Identity{User: "bob", Session: "1"}
	api   = dnstest.Zone{"api.example.com. 60 A 203.0.113.7"}
)

// named is the part of a channel for an identity.
func named(c *Channel, id client.Identity) Part { return c.For(id, netip.Addr{}) }

func (w *world) reaches(t *testing.T, p Part, target, want string) {
	t.Helper()
	conn, err := p.DialChecked(t.Context(), name.Must(target), anyAddress)
	mustGreet(t, conn, err, want)
}

func TestTwoIdentitiesShareNoAnswerNoConnectionAndNoSessionOfTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.greet(t, "203.0.113.7:443", "api")
		c := w.direct(t)
		ids := []client.Identity{{}, alice, bob, {User: "alice", Session: "2"}, {User: "alice"}}
		for range 2 {
			for _, id := range ids {
				w.reaches(t, named(c, id), "api.example.com:443", "api")
			}
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != len(ids) {
			t.Errorf("asked %d times, want once for each of %d identities", n, len(ids))
		}
		conns := map[int]bool{}
		for _, q := range w.dns.Log() {
			if q.Question.Name == "api.example.com" && q.Question.Type == dnswire.A {
				conns[q.Conn] = true
			}
			if q.Resumed {
				t.Error("a session was resumed across identities")
			}
		}
		if len(conns) != len(ids) {
			t.Errorf("%d connections for %d identities", len(conns), len(ids))
		}
		w.dns.DropConns()
		time.Sleep(2 * time.Minute)
		seen := len(w.dns.Log())
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		if log := w.dns.Log(); !log[len(log)-1].Resumed {
			t.Error("an identity does not resume its own session either: the test proves nothing")
		}
		w.reaches(t, named(c, client.Identity{User: "carol"}), "api.example.com:443", "api")
		if n := slices.IndexFunc(w.dns.Log()[seen:], func(q dnstest.Query) bool { return !q.Resumed }); n < 0 {
			t.Error("a new identity resumed the session of another")
		}
	})
}

func TestAPartitionIsReadyOnlyWhenItsOwnResolverHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.greet(t, "203.0.113.7:443", "api")
		c := w.direct(t)
		<-c.Await()
		w.dns.Handle(dnstest.Silent)
		if _, err := named(c, alice).DialChecked(t.Context(), name.Must("api.example.com:443"), anyAddress); codeOf(err) != fault.NotReady {
			t.Errorf("it gave %v", err)
		}
		w.dns.Handle(api.Handler())
		w.reaches(t, named(c, bob), "api.example.com:443", "api")
	})
}

func TestWhatWasGivenToOneIdentityWasNotGivenToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.direct(t)
		q, addr := dnswire.Question{Name: "api.example.com", Type: dnswire.A}, netip.MustParseAddr("203.0.113.7")
		if _, ok := named(c, alice).CachedGiven(q, anyAddress); ok || c.Partitions() != 0 {
			t.Error("an answer was known before anyone asked, or a partition was made to look")
		}
		if _, err := named(c, alice).LookupGiven(t.Context(), "api.example.com", anyAddress); err != nil {
			t.Fatal(err)
		}
		if !named(c, alice).Gave(addr) || named(c, bob).Gave(addr) || c.Gave(addr) {
			t.Error("alice has it, and nobody else")
		}
		if _, ok := named(c, alice).CachedGiven(q, anyAddress); !ok {
			t.Error("alice's answer is not in her cache")
		}
		if _, ok := named(c, bob).CachedGiven(q, anyAddress); ok {
			t.Error("bob got an answer out of alice's cache")
		}
		if _, err := c.ExchangeGiven(t.Context(), q, anyAddress); err != nil || !named(c, bob).Gave(addr) {
			t.Errorf("what a client without a name was given counts for all: %v", err)
		}
	})
}

func TestAPartitionStandsOnThePartitionOfItsIdentityBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dnstest.Zone{"gw.provider.example.com. 600 A 198.51.100.9"})
		exit := netip.MustParseAddrPort("1.1.1.1:853")
		exitDNS := dnstest.ServeDoT(w.net.Listen(exit), w.ca.Issue(nil, []netip.Addr{exit.Addr()}), api.Handler())
		defer exitDNS.Close()
		w.greet(t, "203.0.113.7:443", "api")
		w.proxy(t, "198.51.100.9:3128", nil)
		below := w.direct(t)
		c := w.open(t, Spec{
			Name: "residential", Over: "direct", Proxies: []hop.Proxy{mustProxy(t, "http://gw.provider.example.com:3128")},
			Resolver: w.resolver(t, "tls://1.1.1.1"),
		}, below)
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		w.reaches(t, named(c, alice), "api.example.com:443", "api")
		w.reaches(t, named(c, bob), "api.example.com:443", "api")
		if below.Partitions() != 2 || c.Partitions() != 2 {
			t.Errorf("%d partitions above and %d below, want 2 each", c.Partitions(), below.Partitions())
		}
		conns := map[int]bool{}
		for _, q := range w.dns.Log() {
			if q.Question.Name == "gw.provider.example.com" && q.Question.Type == dnswire.A {
				conns[q.Conn] = true
			}
		}
		if len(conns) != 3 { // and the channel's own, to become ready
			t.Errorf("the hop's name was looked up over %d connections, want one for each identity and one for nobody", len(conns))
		}
	})
}

func TestFlushReachesEveryPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.direct(t)
		for _, id := range []client.Identity{alice, bob} {
			if _, err := named(c, id).Lookup(t.Context(), "api.example.com"); err != nil {
				t.Fatal(err)
			}
		}
		if stats, _ := c.ResolverStats(); stats.Entries == 0 || stats.Misses == 0 {
			t.Errorf("the figures of the channel are without its partitions: %+v", stats)
		}
		if entries, octets := c.Flush(); entries != 4 || octets == 0 { // A and AAAA
			t.Errorf("it emptied %d entries of %d octets", entries, octets)
		}
		conns := w.dns.Conns()
		if _, err := named(c, alice).Lookup(t.Context(), "api.example.com"); err != nil {
			t.Fatal(err)
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != 3 || w.dns.Conns() == conns {
			t.Errorf("asked %d times, over an old connection: %v", n, w.dns.Conns() == conns)
		}
	})
}

func TestAPartitionThatNobodyUsesIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c := w.direct(t)
		for range 3 {
			if _, err := named(c, alice).Lookup(t.Context(), "api.example.com"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(partitionIdle - time.Minute)
			c.Flush() // is no use
		}
		if c.Partitions() != 1 {
			t.Fatal("it was closed though it was used")
		}
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		if c.Partitions() != 0 {
			t.Error("it is still there")
		}
		if stats, _ := c.ResolverStats(); stats.Misses == 0 || stats.Entries != 0 || stats.Octets != 0 {
			t.Errorf("what it did is forgotten, or what it held is not: %+v", stats)
		}
		if used, _ := c.parts.budget.Used(); used != 0 {
			t.Errorf("%d octets stay booked", used)
		}
	})
}

func TestThereAreNoMorePartitionsThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c, err := Open(Spec{Name: "direct", Resolver: w.resolver(t, "tls://9.9.9.9")}, OnGround(&w.net))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		id := func(i int) who { return who{Identity: client.Identity{User: "alice", Session: fmt.Sprint(i)}} }
		var held []*partition
		for i := range maxPartitions {
			p, err := c.parts.hold(id(i))
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, p)
		}
		_, err = named(c, bob).Exchange(t.Context(), dnswire.Question{Name: "api.example.com", Type: dnswire.A})
		if codeOf(err) != fault.Limit || strings.Contains(err.Error(), "bob") {
			t.Errorf("one more gave %v", err)
		}
		for _, p := range held {
			c.parts.release(p)
			time.Sleep(time.Microsecond) // so that one was used before the other
		}
		more, err := c.parts.hold(id(maxPartitions))
		if err != nil {
			t.Fatal(err)
		}
		c.parts.release(more)
		if old := c.parts.holdOld(id(0)); old != nil || c.Partitions() != maxPartitions {
			t.Errorf("the one that was used least recently is still there, of %d", c.Partitions())
		}
	})
}

func TestAfterItsRunAChannelWorksForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		c, err := Open(Spec{Name: "direct", Resolver: w.resolver(t, "tls://9.9.9.9")}, OnGround(&w.net))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = c.Run(ctx); close(done) }()
		if _, err := named(c, alice).Lookup(ctx, "api.example.com"); err != nil {
			t.Fatal(err)
		}
		stop()
		<-done
		synctest.Wait()
		if _, err := named(c, alice).Lookup(t.Context(), "api.example.com"); codeOf(err) != fault.NotReady {
			t.Errorf("it gave %v", err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := w.dns.Live(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}
