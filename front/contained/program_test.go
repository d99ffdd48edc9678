package contained_test

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/event"
	"watertight/fault"
	"watertight/lab"
)

// origin greets each connection and echoes each datagram.
func origin(t *testing.T) (tcp, udp netip.AddrPort) {
	t.Helper()
	l := lab.Must(net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}))(t)
	c := lab.Must(net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}))(t)
	t.Cleanup(func() { l.Close(); c.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n")
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(append([]byte("echo "), b[:n]...), from)
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func world(t *testing.T) *board {
	tcp, udp := origin(t)
	return &board{origin: tcp, packets: udp, refused: map[string]fault.Code{}}
}

func TestAProgramReachesANameThatNobodyResolvedForIt(t *testing.T) {
	b := world(t)
	in := contains(t, b, nil)
	lab.Need(t, "curl", "dig")
	for _, family := range []string{"-4", "-6"} {
		if out := in.succeeds("curl -sS " + family + " http://api.example.com:8088/"); out != "hello\n" {
			t.Errorf("%s: %s", family, out)
		}
	}
	if want := []string{"api.example.com:8088", "api.example.com:8088"}; !slices.Equal(b.dialed, want) || len(b.asked) > 0 {
		t.Errorf("dialled %q, asked %q", b.dialed, b.asked)
	}
	for _, how := range []string{"", "+tcp", "@203.0.113.53", "@203.0.113.53 +tcp", "@2001:db8::53", "@2001:db8::53 +tcp", "@127.0.0.1"} {
		a := strings.TrimSpace(in.succeeds("dig +short +tries=1 " + how + " api.example.com"))
		addr, err := netip.ParseAddr(a)
		if h, _ := in.door.Book().Name(addr); err != nil || h.String() != "api.example.com" {
			t.Errorf("dig %s: %s", how, a)
		}
		if back := in.succeeds("dig +short +tries=1 " + how + " -x " + a); back != "api.example.com.\n" {
			t.Errorf("dig %s -x %s: %s", how, a, back)
		}
	}
	if st := in.door.Stats(); st.Names != 1 || st.DNS.Failed > 0 {
		t.Errorf("%+v", st)
	}
}

func TestWhatIsRefusedIsResetAndSaidAtOnce(t *testing.T) {
	b := world(t)
	b.refused["gone.example.com"] = fault.DNSNXDomain
	b.refused["no.example.com"] = fault.PolicyRoute
	in := contains(t, b, nil)
	lab.Need(t, "curl", "dig")
	if out, err := in.run("curl -sS -m 20 http://gone.example.com:8088/"); err == nil || !strings.Contains(out, "(56)") && !strings.Contains(out, "(7)") {
		t.Errorf("%s, %v", out, err)
	}
	if out := in.succeeds("dig +tries=1 no.example.com"); !strings.Contains(out, "REFUSED") || !strings.Contains(out, "by the test (POLICY_ROUTE)") {
		t.Error(out)
	}
	for _, to := range []string{"203.0.113.7", "[2001:db8::7]", "198.18.77.77", "198.18.0.0"} {
		out, err := in.run("curl -sS -m 20 http://" + to + ":8088/")
		if err == nil || !strings.Contains(out, "(56)") && !strings.Contains(out, "(7)") || in.code(event.DoorExec) != fault.PolicyClientResolved {
			t.Errorf("%s: %s, %v, %s", to, out, err, in.code(event.DoorExec))
		}
	}
	// Where our listener is, the program finds nothing of the host outside.
	for _, to := range []string{"127.0.0.1", "[::1]"} {
		if out, err := in.run("curl -sS -m 20 http://" + to + ":61000/"); err == nil || strings.Contains(out, "hello") {
			t.Errorf("%s: %s, %v", to, out, err)
		}
	}
	if len(b.dialed) > 0 {
		t.Errorf("dialled %q", b.dialed)
	}
}

// sends sends a datagram and tells what comes back.
const sends = `
import socket, sys
family, kind, proto, _, at = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_DGRAM, family=int(sys.argv[3]))[0]
s = socket.socket(family, kind, proto)
s.settimeout(20)
s.connect(at)
for _ in range(3):
    try:
        s.send(b"ping")
        print(s.recv(100).decode())
    except OSError as e:
        print(type(e).__name__)
`

func TestADatagramIsCarriedByTheNameOrItsSenderIsToldThatNobodyTakesIt(t *testing.T) {
	b := world(t)
	b.refused["gone.example.com"] = fault.HopRefused
	in := contains(t, b, nil)
	lab.Need(t, "python3")
	python := func(args string) string {
		return strings.Join(strings.Fields(in.succeeds("python3 -I -c '"+sends+"' "+args)), " ")
	}
	for _, family := range []string{"2", "10"} { // AF_INET, AF_INET6
		if out := python("api.example.com 4433 " + family); out != "echo ping echo ping echo ping" {
			t.Errorf("family %s: %s", family, out)
		}
		if out := python("gone.example.com 443 " + family); out != "ConnectionRefusedError ConnectionRefusedError ConnectionRefusedError" {
			t.Errorf("family %s, refused: %s", family, out)
		}
	}
	if out := python("203.0.113.7 443 2"); !strings.Contains(out, "ConnectionRefusedError") || in.code(event.DoorExecUDP) != fault.PolicyClientResolved {
		t.Errorf("%s, %s", out, in.code(event.DoorExecUDP))
	}
	if want := []string{"api.example.com:4433", "api.example.com:4433"}; !slices.Equal(b.dialed, want) || len(b.asked) > 0 {
		t.Errorf("dialled %q, asked %q", b.dialed, b.asked)
	}
	if st := in.door.Stats(); st.Refused < 9 {
		t.Errorf("%+v", st)
	}
}

func TestWithRealAddressesAConnectionIsStillCarriedByTheName(t *testing.T) {
	b := world(t)
	b.zone = []string{"api.example.com. 60 IN A 203.0.113.7", "api.example.com. 60 IN AAAA 2001:db8::7"}
	in := contains(t, b, realAddresses)
	lab.Need(t, "curl", "dig")
	if out := in.succeeds("dig +short api.example.com"); out != "203.0.113.7\n" {
		t.Error(out)
	}
	for _, family := range []string{"-4", "-6"} {
		if out := in.succeeds("curl -sS " + family + " http://api.example.com:8088/"); out != "hello\n" {
			t.Errorf("%s: %s", family, out)
		}
	}
	if want := []string{"api.example.com:8088", "api.example.com:8088"}; !slices.Equal(b.dialed, want) {
		t.Errorf("dialled %q", b.dialed)
	}
}
