package contained_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/event"
	"watertight/fault"
	"watertight/lab"
	"watertight/name"
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
	if dialed, asked := b.log(); !slices.Equal(dialed, []string{"api.example.com:8088", "api.example.com:8088"}) || len(asked) > 0 {
		t.Errorf("dialled %q, asked %q", dialed, asked)
	}
	v4, v6, err := in.door.Book().Addrs(name.MustHost("api.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	script, want := "", ""
	for _, how := range []string{"", "+tcp", "@203.0.113.53", "@203.0.113.53 +tcp", "@2001:db8::53", "@2001:db8::53 +tcp", "@127.0.0.1"} {
		script += fmt.Sprintf("dig +short +tries=1 %[1]s api.example.com -q api.example.com -t AAAA -x %[2]v -x %[3]v\n", how, v4, v6)
		want += fmt.Sprintf("%v\n%v\napi.example.com.\napi.example.com.\n", v4, v6)
	}
	if out := in.succeeds(script); out != want {
		t.Errorf("dig: %s, want %s", out, want)
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
	if dialed, _ := b.log(); len(dialed) > 0 {
		t.Errorf("dialled %q", dialed)
	}
}

// sends sends datagrams, and tells what comes back.
const sends = `
import socket, sys
for to in sys.argv[1:]:
    host, port = to.rsplit(",", 1)
    for family, kind, proto, _, at in socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM):
        s = socket.socket(family, kind, proto)
        s.settimeout(20)
        s.connect(at)
        heard = []
        for _ in range(3):
            try:
                s.send(b"ping")
                heard.append(s.recv(100).decode())
            except OSError as e:
                heard.append(type(e).__name__)
        print(host, family.name, *heard)
`

func TestADatagramIsCarriedByTheNameOrItsSenderIsToldThatNobodyTakesIt(t *testing.T) {
	b := world(t)
	b.refused["gone.example.com"] = fault.HopRefused
	in := contains(t, b, nil)
	lab.Need(t, "python3")
	lines := strings.Split(strings.TrimSpace(in.succeeds("python3 -I -c '"+sends+"' api.example.com,4433 gone.example.com,443 203.0.113.7,443 2001:db8::7,443")), "\n")
	slices.Sort(lines)
	refused := strings.Repeat(" ConnectionRefusedError", 3)
	if want := []string{
		"2001:db8::7 AF_INET6" + refused, "203.0.113.7 AF_INET" + refused,
		"api.example.com AF_INET echo ping echo ping echo ping", "api.example.com AF_INET6 echo ping echo ping echo ping",
		"gone.example.com AF_INET" + refused, "gone.example.com AF_INET6" + refused,
	}; !slices.Equal(lines, want) || in.code(event.DoorExecUDP) != fault.PolicyClientResolved {
		t.Errorf("%q, want %q; %s", lines, want, in.code(event.DoorExecUDP))
	}
	if dialed, asked := b.log(); !slices.Equal(dialed, []string{"api.example.com:4433", "api.example.com:4433"}) || len(asked) > 0 {
		t.Errorf("dialled %q, asked %q", dialed, asked)
	}
	if st := in.door.Stats(); st.Refused != 12 {
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
	if dialed, _ := b.log(); !slices.Equal(dialed, []string{"api.example.com:8088", "api.example.com:8088"}) {
		t.Errorf("dialled %q", dialed)
	}
}
