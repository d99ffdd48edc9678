package cells

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"watertight/guard"
	"watertight/lab"
	"watertight/lab/internet"
)

// Ports of servers in these tests.
const (
	talkPort  = 7000 // outside: says something every now and then, and sends back what it gets
	loginPort = 2222 // on the client's host, as sshd is
)

// talks lets a host speak by itself on its connections and to whoever sent it a datagram, so that it is the first to be heard
// after the guard is armed.
func talks(t testing.TB, h *internet.Host) {
	t.Helper()
	l := lab.Must(h.Listen(talkPort))(t)
	socket := lab.Must(h.ListenUDP(talkPort))(t)
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		_ = socket.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				for err := error(nil); err == nil; time.Sleep(20 * time.Millisecond) {
					_ = conn.SetDeadline(time.Now().Add(time.Minute))
					_, err = conn.Write([]byte("."))
				}
			})
		}
	})
	wg.Go(func() {
		b := make([]byte, 100)
		for {
			_, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			wg.Go(func() {
				for err := error(nil); err == nil; time.Sleep(20 * time.Millisecond) {
					_, err = socket.WriteToUDPAddrPort([]byte("."), from)
				}
			})
		}
	})
}

// hears says whether anything comes by a connection from now on.
func hears(t testing.TB, conn net.Conn) bool {
	t.Helper()
	b := make([]byte, 64<<10)
	lab.Must(0, conn.SetDeadline(time.Now().Add(10*time.Second)))(t)
	_, err := conn.Read(b)
	return err == nil
}

// login is a connection from outside to the client's host, both of its ends.
type login struct{ outside, inside net.Conn }

func logsIn(t testing.TB, s *lab.Scene, l net.Listener, to netip.Addr) login {
	t.Helper()
	return logsInAt(t, s, l, netip.AddrPortFrom(to, loginPort))
}

func logsInAt(t testing.TB, s *lab.Scene, l net.Listener, to netip.AddrPort) (c login) {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	c.outside = lab.Must(s.Origin.Dial(t.Context(), to))(t)
	c.inside = <-accepted
	t.Cleanup(func() {
		_ = c.outside.Close()
		_ = c.inside.Close()
	})
	return c
}

// works wants both ends to hear each other.
func (c login) works(t testing.TB, which string) {
	t.Helper()
	for _, way := range [][2]net.Conn{{c.outside, c.inside}, {c.inside, c.outside}} {
		_ = way[0].SetDeadline(time.Now().Add(10 * time.Second))
		_ = way[1].SetDeadline(time.Now().Add(10 * time.Second))
		want, got := bytes.Repeat([]byte("x"), 5000), make([]byte, 5000)
		_, err := way[0].Write(want)
		_, err2 := io.ReadFull(way[1], got)
		if err := errors.Join(err, err2); err != nil {
			t.Errorf("%s: %v", which, err)
		}
	}
}

// flows are what a program of the host has open.
type flows struct{ tcp, udp net.Conn }

func opens(t testing.TB, s *lab.Scene, to netip.Addr) (f flows) {
	t.Helper()
	f.tcp = lab.Must(s.Client.Dial(t.Context(), netip.AddrPortFrom(to, talkPort)))(t)
	f.udp = lab.Must(s.Client.DialUDP(t.Context(), netip.AddrPortFrom(to, talkPort)))(t)
	t.Cleanup(func() {
		_ = f.tcp.Close()
		_ = f.udp.Close()
	})
	if _, err := f.udp.Write([]byte("hello")); err != nil || !hears(t, f.tcp) || !hears(t, f.udp) {
		t.Fatalf("INVALID: without the guard it does not work: %v", err)
	}
	return f
}

// spent tries hard to say something by flows that were open before, and wants none of it to be seen outside.
func (f flows) spent(t testing.TB, s *lab.Scene, since time.Time) {
	t.Helper()
	for range 20 {
		_ = f.tcp.SetDeadline(time.Now().Add(time.Second))
		_, _ = f.tcp.Write([]byte("late"))
		_, _ = f.udp.Write([]byte("late"))
		time.Sleep(20 * time.Millisecond)
	}
	for _, p := range lab.Must(s.Packets())(t) {
		if p.Point == "client" && p.Outgoing && p.To.Port() == talkPort && p.Time.After(since) {
			t.Errorf("LEAK: an older flow goes on: %v", p)
			return
		}
	}
}

// tracking has conntrack know all flows before the guard is armed, as a host has it with any firewall of its own.
const tracking = "table inet before {\n chain out {\n type filter hook output priority 0; policy accept;\n ct state established accept\n }\n}\n"

// TestGuard_OlderFlowsEndAndLoginsGoOn plays G6 and G12: what programs had open ends when the guard is armed, also where the far side
// is the first to say something, and again where it was flushed and is armed anew; what others opened to this host goes on.
func TestGuard_OlderFlowsEndAndLoginsGoOn(t *testing.T) {
	t.Parallel()
	lab.Need(t, "nft")
	for name, rules := range map[string]string{"flows are not tracked before": "", "flows are tracked before": tracking} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := lab.NewScene(t, internet.Dual)
			talks(t, s.Origin.Host)
			l := lab.Must(s.Client.Listen(loginPort))(t)
			firewall := func(text string) {
				nft := s.Client.Program("nft", "-f", "-")
				nft.Stdin = []byte(text)
				succeeds(t, nft)
			}
			firewall(rules)
			four, six := opens(t, s, s.Origin.Addr4), opens(t, s, s.Origin.Addr6)
			old4, old6 := logsIn(t, s, l, s.Client.Addr4), logsIn(t, s, l, s.Client.Addr6)
			old4.works(t, "a login, before")

			g := guarded(t, s)
			armed := time.Now()
			four.spent(t, s, armed)
			six.spent(t, s, armed)
			old4.works(t, "a login from before, IPv4")
			old6.works(t, "a login from before, IPv6")
			new4, new6 := logsIn(t, s, l, s.Client.Addr4), logsIn(t, s, l, s.Client.Addr6)
			new4.works(t, "a login, IPv4")
			new6.works(t, "a login, IPv6")

			firewall("flush ruleset\n" + rules)
			if state := look(t, s, g); !state.Armed || state.Held || state.Why == "" {
				t.Errorf("that it was flushed is not seen: %+v", state)
			}
			again := opens(t, s, s.Origin.Addr4)
			between := logsIn(t, s, l, s.Client.Addr4)
			if !restored(t, s, g) {
				t.Error("it was not armed again")
			}
			armed = time.Now()
			again.spent(t, s, armed)
			between.works(t, "a login from while it was flushed")
			new6.works(t, "a login from before it was flushed")
			if state := look(t, s, g); !state.Held {
				t.Errorf("it was armed again, and is found to be %+v", state)
			}
			lab.Must(0, s.Client.Do(func() error { return g.Off(t.Context()) }))(t)
			opens(t, s, s.Origin.Addr6)
		})
	}
}

func restored(t testing.TB, s *lab.Scene, g *guard.Guard) (restored bool) {
	t.Helper()
	lab.Must(0, s.Client.Do(func() (err error) {
		restored, err = g.Restore(t.Context())
		return err
	}))(t)
	return restored
}
