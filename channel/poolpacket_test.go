package channel

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
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
	"watertight/lab/proxytest"
	"watertight/name"
)

// socks5 is a SOCKS5 proxy in memory that carries datagrams for addresses, and connections of nobody. Its relays stand on the ports
// after its own. It notes what is sent where.
func (w *world) socks5(t *testing.T, at netip.AddrPort) {
	l := w.net.Listen(at)
	t.Cleanup(func() { l.Close() })
	reach := func(to name.Target) (net.Conn, error) {
		w.mu.Lock()
		w.told = append(w.told, fmt.Sprintf("m%d: %v", at.Addr().As4()[3], to))
		w.mu.Unlock()
		ap, ok := to.AddrPort()
		if !ok {
			t.Errorf("a member got the name %v", to)
			return nil, io.EOF
		}
		return w.net.DialPacketAddr(context.Background(), ap)
	}
	relay := at.Port()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			relay++
			go func(relay uint16) {
				defer conn.Close()
				buf := make([]byte, 16)
				if _, err := io.ReadFull(conn, buf[:3]); err != nil {
					return
				}
				_, _ = conn.Write([]byte{5, buf[2]})
				if _, err := io.ReadFull(conn, buf[:10]); err != nil || buf[1] != 3 {
					return
				}
				server := proxytest.ServeSOCKSRelay(w.net.ListenPacket(netip.AddrPortFrom(at.Addr(), relay)), reach)
				defer server.Close()
				_, _ = conn.Write(binary.BigEndian.AppendUint16([]byte{5, 0, 0, 1, 0, 0, 0, 0}, relay))
				_, _ = io.Copy(io.Discard, conn)
			}(relay)
		}
	}()
}

func TestAResolverOverQUICAndTheFlowsOfASessionLeaveByOneMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		w.net.Delay = time.Millisecond
		exit := netip.MustParseAddrPort("1.1.1.1:853")
		doq := dnstest.ServeDoQ(w.net.ListenPacket(exit), w.ca.Issue(nil, []netip.Addr{exit.Addr()}), api.Handler())
		defer doq.Close()
		w.echoes(t, apiAt)
		s := hop.PoolSpec{Pick: hop.RoundRobin, By: hop.BySession, For: time.Hour, Every: time.Minute, Timeout: 5 * time.Second}
		for i := range 5 {
			at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)}), 1080)
			w.socks5(t, at)
			s.Members = append(s.Members, mustProxy(t, "socks5://"+at.String()))
		}
		c := w.open(t, Spec{Name: "pool", Over: "direct", Pool: &s, Resolver: w.resolver(t, "quic://1.1.1.1")}, w.direct(t))
		<-c.Await()
		time.Sleep(2 * time.Minute) // each member is tried, by a flow of datagrams
		if stats, _ := c.PoolStats(); stats.Usable != 5 {
			t.Errorf("%+v", stats)
		}
		w.byAll()
		seen := map[string]string{}
		for _, id := range []client.Identity{alice, bob, {User: "alice", Session: "2"}} {
			for range 2 {
				flow, err := named(c, id).DialPacketChecked(t.Context(), name.Must("api.example.com:443"), anyAddress)
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, 16)
				_, _ = flow.Write([]byte("hello"))
				if n, err := flow.Read(b); string(b[:n]) != "hello" {
					t.Errorf("heard %q, %v", b[:n], err)
				}
				flow.Close()
				c.Flush()
			}
			all := w.byAll()
			if len(all) != 1 {
				t.Errorf("%s: by %v", id.String(), all)
			}
			for member := range all {
				if other := seen[member]; other != "" {
					t.Errorf("%s and %s share %s though others were free", id.String(), other, member)
				}
				seen[member] = id.String()
			}
		}
		if n := doqCount(doq, "api.example.com"); n != 6 {
			t.Errorf("the channel's resolver was asked %d times", n)
		}
		if n := w.dns.Count("api.example.com", dnswire.A); n != 0 {
			t.Error("the resolver below was asked for the target")
		}
		for _, to := range w.net.Dials() {
			if a := to.Addr(); a.Is4() && a.As4()[0] == 198 || to == resolverAt || to == exit || to.String() == apiAt {
				continue // the last two by members
			}
			t.Errorf("something else was dialled: %v", to)
		}
	})
}

func doqCount(s *dnstest.Server, host string) int { return s.Count(host, dnswire.A) }

func TestAPoolWithOneMemberForConnectionsSaysWhichItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		s := hop.PoolSpec{Pick: hop.RoundRobin, Members: []hop.Proxy{mustProxy(t, "socks5://198.51.100.1"), mustProxy(t, "http://jo:secret@198.51.100.2:3128")}}
		c := w.open(t, Spec{Name: "pool", Over: "direct", Pool: &s, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
		_, err := named(c, alice).DialPacketChecked(t.Context(), name.Must(apiAt), anyAddress)
		if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "http://198.51.100.2:3128 carries connections only") || strings.Contains(err.Error(), "secret") {
			t.Errorf("it gave %v", err)
		}
		if _, err := Open(Spec{Name: "quic", Over: "direct", Pool: &s, Resolver: w.resolver(t, "quic://9.9.9.9")}, w.direct(t)); err == nil || !strings.Contains(err.Error(), "198.51.100.2:3128 carries connections only") {
			t.Errorf("it gave %v", err)
		}
	})
}

func TestWhatAPoolCarriesIsDecidedOverAllOfItsMembersAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, api)
		socks, plain := mustProxy(t, "socks5://198.51.100.1"), mustProxy(t, "http://198.51.100.2:3128")
		old, users := mustProxy(t, "socks4a://198.51.100.3"), mustProxy(t, "http://m-{user}:x@198.51.100.4:3128")
		open := func(members ...hop.Proxy) *Channel {
			return w.open(t, Spec{Name: "pool", Over: "direct", Pool: &hop.PoolSpec{Pick: hop.RoundRobin, List: "x", Members: members}, Resolver: w.resolver(t, "tls://9.9.9.9")}, w.direct(t))
		}
		for _, c := range []struct {
			first, then []hop.Proxy
			why         string // why the list is not taken in place; empty where it is
		}{
			{[]hop.Proxy{socks}, []hop.Proxy{socks, plain}, "carries no datagrams"},
			{[]hop.Proxy{plain}, []hop.Proxy{plain, old}, "IPv6"},
			{[]hop.Proxy{plain}, []hop.Proxy{plain, users}, "the member 198.51.100.4:3128"},
			{[]hop.Proxy{plain, users}, []hop.Proxy{users, plain}, ""},
			{[]hop.Proxy{plain}, []hop.Proxy{socks}, ""},
		} {
			one := open(c.first...)
			err := one.SetMembers(c.then)
			if c.why == "" && err != nil || c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
				t.Errorf("%v, then %v: %v", c.first, c.then, err)
			}
			same := SamePool(&hop.PoolSpec{Members: c.first}, &hop.PoolSpec{Members: c.then})
			if better := slices.Equal([]string{c.then[0].Scheme}, []string{"socks5"}) && len(c.then) == 1; same != (c.why == "" && !better) {
				t.Errorf("%v, then %v: the same to a reload: %v", c.first, c.then, same)
			}
		}
		// The second member, too, decides for whom the channel works.
		c := open(plain, users)
		for range 3 {
			if _, err := c.DialChecked(t.Context(), name.Must(apiAt), anyAddress); codeOf(err) != fault.BadRequest {
				t.Errorf("a client without a name: %v", err)
			}
		}
	})
}
