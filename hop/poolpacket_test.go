package hop

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
)

// crew is a pool of SOCKS5 proxies on a net with datagrams.
type crew struct {
	seas
	t     *testing.T
	p     *Pool
	below Under
}

// newCrew makes a pool of the first n of 192.0.2.1 and so on, of which those in carrying carry datagrams, and the others refuse.
func newCrew(t *testing.T, s PoolSpec, n int, carrying ...int) *crew {
	t.Helper()
	c := &crew{t: t}
	for i := 1; i <= n; i++ {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 1080)
		if slices.Contains(carrying, i) {
			c.proxy(t, at.String(), "")
		} else {
			c.denies(at)
		}
		s.Members = append(s.Members, readProxy(t, "socks5://"+at.String()))
	}
	if s.Pick == "" {
		s.Pick = RoundRobin
	}
	var err error
	if c.p, err = NewPool(s); err != nil {
		t.Fatal(err)
	}
	c.echo(t, "203.0.113.7:443")
	c.below = under(Direct(&c.seas), noLookup)
	c.below.Packets = Direct(&c.seas).(PacketDialer)
	return c
}

// denies is a proxy that carries connections and no datagrams.
func (c *crew) denies(at netip.AddrPort) {
	l := c.Listen(at)
	c.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 16)
				if _, err := io.ReadFull(conn, buf[:3]); err != nil {
					return
				}
				_, _ = conn.Write([]byte{5, buf[2]})
				if _, err := io.ReadFull(conn, buf[:10]); err == nil {
					_, _ = conn.Write([]byte{5, 7, 0, 1, 0, 0, 0, 0, 0, 0}) // command not supported
				}
			}()
		}
	}()
}

func (c *crew) way(key string, stay time.Duration) PacketDialer {
	return c.p.Way(key, stay, func(one Proxy) (Dialer, error) { return Chain(c.below.Quick(), []Proxy{one}) }).Packets(c.below.Packets)
}

// by gives the members that were connected to since the last call.
func (c *crew) by() (members []int) {
	for _, to := range c.Dials() {
		if to.Port() == 1080 {
			members = append(members, int(to.Addr().As4()[3]))
		}
	}
	return members
}

func (c *crew) flow(w PacketDialer) net.Conn {
	c.t.Helper()
	flow, err := w.DialPacket(c.t.Context(), name.Must("203.0.113.7:443"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { flow.Close() })
	return flow
}

func TestAFlowOfDatagramsTakesTheMemberThatItsIdentitySticksTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, PoolSpec{By: BySession, For: time.Hour}, 4, 1, 2, 3, 4)
		one, two, nobody := c.way("one", time.Hour), c.way("two", time.Hour), c.way("", 0)
		for _, w := range []PacketDialer{one, two, one, two, one, nobody, nobody} {
			heard(t, c.flow(w), "hello")
		}
		if got := c.by(); len(got) != 7 || got[0] != got[2] || got[0] != got[4] || got[1] != got[3] || got[0] == got[1] || got[5] == got[6] {
			t.Errorf("by %v", got)
		}
		if room := PacketRoom(one); room != firstRoom-socksOverhead {
			t.Errorf("room for %d octets", room)
		}
	})
}

func TestANewFlowTakesTheNextMemberAndOneThatIsOpenStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, PoolSpec{By: BySession, For: time.Hour}, 3, 2, 3)
		w := c.way("alice", time.Hour)
		first := c.flow(w) // member 1 refuses, and 2 carries it
		heard(t, first, "hello")
		heard(t, c.flow(w), "again")
		if got := c.by(); !slices.Equal(got, []int{1, 2, 2}) {
			t.Errorf("by %v: who sticks goes along with what works", got)
		}
		stats := c.p.Stats()
		if m := stats.Members[0]; !m.Usable || m.Failures != 0 {
			t.Errorf("a member that only refuses datagrams is left alone: %+v", m)
		}
		if err := c.p.SetMembers([]Proxy{readProxy(t, "socks5://192.0.2.3")}); err != nil {
			t.Fatal(err)
		}
		heard(t, first, "still there")
		heard(t, c.flow(w), "elsewhere")
		if got := c.by(); !slices.Equal(got, []int{1, 2, 2, 3}) {
			t.Errorf("by %v", got)
		}
	})
}

func TestWhereNoMemberCarriesDatagramsWhoSticksStaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, PoolSpec{By: BySession, For: time.Hour}, 5)
		w := c.way("alice", time.Hour)
		for range 2 {
			_, err := w.DialPacket(t.Context(), name.Must("203.0.113.7:443"))
			if f := fault.Of(err); f.Code != fault.HopRefused || !strings.HasPrefix(f.Message, "POOL: 3 of 5 members failed") || !strings.Contains(f.Message, "refused to carry datagrams") {
				t.Errorf("it gave %v", err)
			}
		}
		if got := c.by(); len(got) != 6 || got[0] != got[3] {
			t.Errorf("by %v: it has another exit because of a datagram that nobody took", got)
		}
	})
}

func TestAFlowIsBookedOnItsMemberUntilItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, PoolSpec{Pick: LeastUsed}, 2, 1, 2)
		w := c.way("", 0)
		flows := []net.Conn{c.flow(w), c.flow(w), c.flow(w)}
		heard(t, flows[2], "hello")
		open := func() (n int) {
			for _, m := range c.p.Stats().Members {
				n += m.Open
			}
			return n
		}
		if n := open(); n != 3 {
			t.Errorf("%d flows are open, want 3", n)
		}
		for _, f := range flows {
			f.Close()
			f.Close()
		}
		if n := open(); n != 0 {
			t.Errorf("%d flows stay booked", n)
		}
	})
}

func TestAPoolCarriesWhatAllOfItsMembersDo(t *testing.T) {
	streams := DialerFunc(func(context.Context, name.Target) (net.Conn, error) { return nil, io.EOF })
	for _, c := range []struct {
		members, later []string
		datagrams      bool
		room           int
		refuses        string // a list that comes later
	}{
		{[]string{"socks5://a.example", "h3://b.example"}, []string{"socks5://c.example"}, true, firstRoom - h3Overhead, ""},
		{[]string{"socks5://a.example"}, []string{"socks5://a.example", "h3://b.example"}, true, firstRoom - socksOverhead, "h3://b.example:443 leaves less room"},
		{[]string{"socks5://a.example", "h3://b.example"}, []string{"socks5://a.example", "https://u:secret@c.example"}, true, firstRoom - h3Overhead, "https://u:***@c.example:443 carries no datagrams"},
		{[]string{"h2://a.example"}, []string{"h2://b.example", "socks5://c.example"}, true, firstRoom, "socks5://c.example:1080 takes no datagrams in its connection"},
		{[]string{"http://a.example:1", "socks5://a.example"}, []string{"socks5://a.example"}, false, 0, ""},
		{[]string{"socks5://a.example", "http://a.example:1"}, []string{"socks4a://c.example"}, false, 0, "socks4a://c.example:1080 cannot be asked for an IPv6 address"},
	} {
		p, err := NewPool(PoolSpec{Members: mustProxies(t, c.members...), Pick: RoundRobin})
		if err != nil {
			t.Fatal(err)
		}
		w := p.Way("", 0, func(Proxy) (Dialer, error) { return streams, nil })
		packets := w.Packets(Direct(&seas{}).(PacketDialer))
		if (packets != nil) != c.datagrams || packets != nil && PacketRoom(packets) != c.room {
			t.Errorf("%v: %v", c.members, packets)
		}
		if over := w.Packets(nil) != nil; over != InStream(mustProxies(t, c.members...)) {
			t.Errorf("%v: datagrams over what carries none", c.members)
		}
		switch err := p.SetMembers(mustProxies(t, c.later...)); {
		case c.refuses == "" && err != nil, c.refuses != "" && (err == nil || !strings.Contains(err.Error(), c.refuses) || strings.Contains(err.Error(), "secret")):
			t.Errorf("%v, then %v: %v", c.members, c.later, err)
		case err != nil && p.Spec().Members[0].String() != mustProxies(t, c.members...)[0].String():
			t.Error("the members are others all the same")
		}
	}
}

func TestTheSchemesAreInOneOrderOfWhatTheyCarry(t *testing.T) {
	for _, a := range Schemes() {
		for _, b := range Schemes() {
			least := Least([]Proxy{{Scheme: a}, {Scheme: b}})
			for _, p := range []Proxy{{Scheme: a}, {Scheme: b}} {
				if least.CarriesIPv6() && !p.CarriesIPv6() || least.CarriesDatagrams() && !p.CarriesDatagrams() ||
					least.CarriesDatagrams() && RoomBehind(0, []Proxy{least}) > RoomBehind(0, []Proxy{p}) {
					t.Errorf("of %s and %s it is %s", a, b, least.Scheme)
				}
			}
		}
	}
}

func TestAMemberOverQUICThatIsNotThereLeavesTimeForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t, PoolSpec{}, 1, 1)
		silent := c.ListenPacket(netip.MustParseAddrPort("192.0.2.9:443"))
		defer silent.Close()
		p, err := NewPool(PoolSpec{Members: mustProxies(t, "h3://192.0.2.9", "socks5://192.0.2.1"), Pick: RoundRobin})
		if err != nil {
			t.Fatal(err)
		}
		c.p = p
		started := time.Now()
		heard(t, c.flow(c.way("", 0)), "hello")
		if took := time.Since(started); took < time.Second || took > 2*reachLimit {
			t.Errorf("it took %v", took)
		}
		if m := p.Stats().Members[0]; m.Usable {
			t.Errorf("%+v", m)
		}
	})
}
