package transparent

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// echo is an origin that sends back what it gets.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestADoorTellsWhetherItHasAConnection(t *testing.T) {
	in := &inside{origin: echo(t), given: given("api.example")}
	conn, door := in.doorFor(t, meant, nil)
	from, to := conn.LocalAddr().(*net.TCPAddr).AddrPort(), netip.MustParseAddrPort(meant)
	for until := time.Now().Add(20 * time.Second); !door.Has(from, to); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it has it, and says that it does not")
		}
	}
	for what, has := range map[string]bool{
		"one to another address":   door.Has(from, netip.MustParseAddrPort("203.0.113.8:443")),
		"one to another port":      door.Has(from, netip.MustParseAddrPort("203.0.113.7:444")),
		"one of another client":    door.Has(netip.AddrPortFrom(from.Addr(), from.Port()^1), to),
		"one that is written long": !door.Has(netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port()), to),
	} {
		if has {
			t.Errorf("it does not tell %s", what)
		}
	}
	says(t, conn, helloOf(t, "api.example"))
	conn.Close()
	for until := time.Now().Add(20 * time.Second); door.Has(from, to); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it has one that has ended")
		}
	}
}
