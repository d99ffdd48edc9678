package dns

import (
	"net"
	"net/netip"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"watertight/wire"
)

func listenUDP(t testing.TB) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// dialUDP connects to the address at which conn is served.
func dialUDP(t testing.TB, conn *net.UDPConn) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func send(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func receive(t testing.TB, c net.Conn) *miekg.Msg {
	t.Helper()
	b := make([]byte, 65535)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, b[:n])
}

func TestDatagramsAreAnsweredEachWhenItsAnswerIsThere(t *testing.T) {
	z := &remembering{zone: zone{hold: make(chan struct{})}, known: "known"}
	d := newDoor(t, Options{Handler: z})
	conn := listenUDP(t)
	run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	for i := range 20 {
		send(t, c, query(t, "slow.example.", miekg.TypeA, func(m *miekg.Msg) { m.Id = uint16(i) }))
	}
	send(t, c, []byte("no query"))
	send(t, c, query(t, "www.example.", miekg.TypeA, nil))
	if m := receive(t, c); m.Question[0].Name != "www.example." {
		t.Errorf("%v", m)
	}
	send(t, c, query(t, "known.example.", miekg.TypeA, nil))
	if m := receive(t, c); m.Question[0].Name != "known.example." {
		t.Errorf("%v", m)
	}
	close(z.hold)
	ids := map[uint16]bool{}
	for range 20 {
		m := receive(t, c)
		ids[m.Id] = m.Question[0].Name == "slow.example." && len(m.Answer) == 1
	}
	if len(ids) != 20 {
		t.Errorf("%v", ids)
	}
}

func TestAStrangerIsNotAnsweredByPlainDNS(t *testing.T) {
	d := newDoor(t, Options{PlainClients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	conn := listenUDP(t)
	stop := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	send(t, c, query(t, "www.example.", miekg.TypeA, nil))
	waitFor(t, func() bool { return d.Stats().Strangers == 1 })
	stop()
	if s := d.Stats(); s.Queries["udp"] != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhereAllClientsAreAtHomeNoneIsAStrangerOrTakenForForged(t *testing.T) {
	z := &zone{}
	d := newDoor(t, Options{Handler: z, Home: true, Rate: 1, Connections: 8, PlainClients: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	long := query(t, "www.example.", miekg.TypeA, nil)
	for range 5 {
		if m := ask(t, d, elsewhere(UDP), long); len(m.Answer) != 1 {
			t.Fatalf("%v", m)
		}
	}
	if !d.serves(elsewhere(UDP)) || d.share(elsewhere(TCP)) != 8 || d.Stats().RateLimited > 0 {
		t.Errorf("served %v, %d connections, %+v", d.serves(elsewhere(UDP)), d.share(elsewhere(TCP)), d.Stats())
	}
	conn := listenUDP(t)
	stop := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	send(t, c, query(t, "www.example.", miekg.TypeA, nil))
	if m := receive(t, c); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	stop()
}

func TestByDefaultOnlyThisHostIsServedInClearAndOnlyNeighboursEncrypted(t *testing.T) {
	d := newDoor(t, Options{})
	for addr, want := range map[string][2]bool{
		"127.0.0.1": {true, true}, "::1": {true, true}, "::ffff:127.0.0.1": {true, true}, "192.168.1.2": {false, true},
		"fe80::1%eth0": {false, true}, "fd00::1": {false, true}, "8.8.8.8": {false, false}, "2001:db8::1": {false, false},
	} {
		ap := netip.AddrPortFrom(netip.MustParseAddr(addr), 5000)
		for p := range protos {
			index := 0
			if p.encrypted() {
				index = 1
			}
			if got := d.serves(newClient(ap, p)); got != want[index] {
				t.Errorf("%s by %v: served: %v", addr, p, got)
			}
		}
	}
}

func TestADoorThatIsToldToEndAnswersWhatItHasBegun(t *testing.T) {
	z := &zone{hold: make(chan struct{}), asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z, Drain: 20 * time.Second})
	conn := listenUDP(t)
	stop := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	c := dialUDP(t, conn)
	send(t, c, query(t, "slow.example.", miekg.TypeA, nil))
	<-z.asked
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	close(z.hold)
	if m := receive(t, c); m.Rcode != miekg.RcodeSuccess {
		t.Errorf("%v", m)
	}
	<-ended
	if s := d.Stats(); s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestADoorThatGivesNoTimeEndsWhatWaits(t *testing.T) {
	z := &zone{hold: make(chan struct{}), asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z})
	conn := listenUDP(t)
	stop := run(t, func(ctx ctx) error { return d.ServeUDP(ctx, conn) })
	send(t, dialUDP(t, conn), query(t, "slow.example.", miekg.TypeA, nil))
	<-z.asked
	stop()
	if s := d.Stats(); s.Waiting != 0 || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestQuestionsForAProxyAreCounted(t *testing.T) {
	d := newDoor(t, Options{Handler: &zone{}})
	for _, host := range []string{"wpad.", "WPAD.corp.example.", "wpad.a.b.example."} {
		ask(t, d, here(UDP), query(t, host, miekg.TypeA, nil))
	}
	for _, host := range []string{"www.example.", "wpadder.example.", "www.wpad.example.", "awpad."} {
		ask(t, d, here(TCP), query(t, host, miekg.TypeA, nil))
	}
	if n := d.Stats().WPAD; n != 3 {
		t.Errorf("%d were counted", n)
	}
}

func TestAReplyComesFromTheAddressThatWasAsked(t *testing.T) {
	for bound, asked := range map[string][]string{
		"0.0.0.0": {"127.0.0.1", "127.0.0.9", "127.1.2.3"},
		"::":      {"127.0.0.1", "127.0.0.9", "::1"},
	} {
		conn, err := wire.ListenUDP(netip.AddrPortFrom(netip.MustParseAddr(bound), 0))
		if err != nil {
			t.Fatal(err)
		}
		port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		z := &remembering{known: "known"}
		run(t, func(ctx ctx) error { return newDoor(t, Options{Handler: z}).ServeUDP(ctx, conn) })
		for _, at := range asked {
			c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(at), port).String()) // it hears nobody else
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			for _, host := range []string{"www.example.", "known.example."} {
				send(t, c, query(t, host, miekg.TypeA, nil))
				if m := receive(t, c); m.Question[0].Name != host {
					t.Errorf("bound to %s, asked at %s: %v", bound, at, m)
				}
			}
		}
	}
}
