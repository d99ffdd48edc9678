package daemon

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"watertight/control"
	"watertight/wire"
)

// conversation gives both ends of a line.
func conversation(t *testing.T) (*line, *net.UnixConn) {
	t.Helper()
	here, f, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	there, err := wire.PairOf(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close(); _ = there.Close() })
	return &line{conn: here, waiting: map[int]chan opened{}}, there
}

// loopbackUDP is a socket to hand over.
func loopbackUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestAttached_SocketsThatAreNotThoseOfAProgramAreRefusedAndClosed(t *testing.T) {
	udp := loopbackUDP(t)
	for title, c := range map[string]struct {
		names []string
		with  []syscall.Conn
	}{
		"none":          {nil, nil},
		"one twice":     {[]string{"udp4", "udp4"}, []syscall.Conn{udp, udp}},
		"no name":       {nil, []syscall.Conn{udp}},
		"of other kind": {[]string{"tcp4"}, []syscall.Conn{udp}},
		"unknown":       {[]string{"sctp"}, []syscall.Conn{udp}},
		"some only":     {[]string{"udp4", "dnsudp"}, []syscall.Conn{udp, udp}},
	} {
		l, there := conversation(t)
		before := openFiles(t)
		if err := tell(there, toDaemon{Sockets: c.names}, c.with...); err != nil {
			t.Fatal(err)
		}
		if s, err := l.sockets(); err == nil {
			t.Errorf("%s: %v", title, s.All())
		}
		if n := openFiles(t); n != before {
			t.Errorf("%s: %d descriptors are open, and %d before", title, n, before)
		}
	}
	l, there := conversation(t)
	if err := wire.HandOver(there, []byte(`{"sockets":["`+strings.Repeat("x", maxAttachTalk)+`"]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.sockets(); err == nil {
		t.Error("a message over the limit is taken")
	}
}

func TestAttached_ReplySocketsComeByTheirNumbersAndNoOthers(t *testing.T) {
	udp := loopbackUDP(t)
	at := netip.MustParseAddrPort("198.18.0.1:443")
	answers := func(answer func(there *net.UnixConn, o toExec)) (*net.UDPConn, error) {
		l, there := conversation(t)
		var busy sync.WaitGroup
		busy.Go(func() { l.listen() })
		busy.Go(func() {
			var o toExec
			if _, err := heed(there, make([]byte, maxAttachTalk), &o); err == nil && o.From == at {
				answer(there, o)
			}
			_ = there.Close()
		})
		defer busy.Wait()
		return l.replyFrom(at)
	}
	c, err := answers(func(there *net.UnixConn, o toExec) {
		_ = tell(there, toDaemon{ID: o.ID + 1}, udp) // nobody asked for that
		_ = tell(there, toDaemon{ID: o.ID}, udp)
	})
	if err != nil || c.LocalAddr().String() != udp.LocalAddr().String() {
		t.Fatalf("%v", err)
	}
	_ = c.Close()
	before := openFiles(t)
	for title, answer := range map[string]func(*net.UnixConn, toExec){
		"the end":   func(*net.UnixConn, toExec) {},
		"a failure": func(there *net.UnixConn, o toExec) { _ = tell(there, toDaemon{ID: o.ID, Failed: "no"}) },
		"nothing":   func(there *net.UnixConn, o toExec) { _ = tell(there, toDaemon{ID: o.ID}) },
		"two":       func(there *net.UnixConn, o toExec) { _ = tell(there, toDaemon{ID: o.ID}, udp, udp) },
		"other sockets": func(there *net.UnixConn, o toExec) {
			_ = tell(there, toDaemon{ID: o.ID, Sockets: []string{"udp4"}}, udp)
		},
		"no words": func(there *net.UnixConn, _ toExec) { _ = wire.HandOver(there, []byte("{"), udp) },
	} {
		if c, err := answers(answer); err == nil {
			t.Errorf("%s: %v", title, c.LocalAddr())
		}
	}
	if n := openFiles(t); n > before+12 { // an end of each conversation is open until the test ends
		t.Errorf("%d descriptors are open, and %d before", n, before)
	}
}

func TestAttached_ADaemonCarriesSoManyProgramsAndNoneOnceItStops(t *testing.T) {
	l := newLive(t, "").start()
	var leaves []func()
	for range maxGuests {
		_, leave, err := l.d.Contain(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if _, _, err := l.d.Contain(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "which is the limit") {
		t.Errorf("one more: %v", err)
	}
	for _, leave := range leaves {
		leave()
	}
	carry, leave, err := l.d.Contain(t.Context(), "direct")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.d.Contain(t.Context(), "other"); err == nil {
		t.Error("there is no such channel")
	}
	conn, there := conversation(t)
	done := make(chan struct{})
	go func() { // it hands nothing over
		defer close(done)
		defer leave()
		carry(context.Background(), control.Guest{Line: conn.conn})
	}()
	l.stop()
	<-done
	if n, _, err := wire.TakeOver(there, make([]byte, 10)); n > 0 {
		t.Errorf("%d octets, %v", n, err)
	}
	if _, _, err := l.d.Contain(t.Context(), "direct"); err == nil {
		t.Error("it takes programs while it stops")
	}
}

// The last word of a running proxy counts, also where the end of the conversation came with it.
func TestAttached_TheLastWordIsHeardOfAProxyThatHasGone(t *testing.T) {
	for range 100 {
		l, there := conversation(t)
		a := &attached{conn: l.conn, gone: make(chan struct{}), did: make(chan Summary, 1)}
		a.did <- Summary{Codes: "CONNECT_REFUSED 1"}
		close(a.gone)
		if did, ok := a.ask(); !ok || did.Codes == "" {
			t.Fatalf("it is not heard: %+v", did)
		}
		_, _ = l.conn.Close(), there.Close()
	}
}
