package cells

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/socks"
)

// echoPort is where the origin answers datagrams.
const echoPort = 4433

// echo is the datagrams that the origin got.
type echo struct {
	mu  sync.Mutex
	got []string
}

func (e *echo) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

// packetScene is a scene whose origin answers each datagram with itself.
func packetScene(t *testing.T, families internet.Families) (*lab.Scene, *echo) {
	t.Helper()
	s := lab.NewScene(t, families)
	return s, echoes(t, s)
}

// echoes lets the scene's origin answer each datagram with itself.
func echoes(t testing.TB, s *lab.Scene) *echo {
	t.Helper()
	socket, e := lab.Must(s.Origin.ListenUDP(echoPort))(t), &echo{}
	s.Permitted = append(s.Permitted, s.Origin.Host.Peers(capture.UDP, echoPort)...)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			e.mu.Lock()
			e.got = append(e.got, string(b[:n]))
			e.mu.Unlock()
			_, _ = socket.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return e
}

// pySocks sends one datagram by PySocks, and wants it back: by name where rdns is True.
const pySocks = `
import os, socket, sys, socks
host, rdns = sys.argv[1], sys.argv[2] == "True"
s = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
s.set_proxy(socks.SOCKS5, "127.0.0.1", 8080, rdns=rdns)
s.settimeout(float(os.environ.get("PATIENCE", 5)))
for _ in range(int(os.environ.get("TRIES", 3))):
    s.sendto(b"ping", (host, 4433))
    try:
        data, _ = s.recvfrom(100)
        print("answered", data.decode())
        break
    except socket.timeout:
        pass
`

func sendsPacket(t *testing.T, s *lab.Scene, rdns string) internet.Result {
	t.Helper()
	return lab.Run(t, s.Client.Program("python3", "-I", "-c", pySocks, s.Canary, rdns))
}

func TestD1_DatagramsTakeTheChannel(t *testing.T) {
	lab.NeedPython(t, "python3", "socks")
	t.Run("control", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		with(dot)(t, s)
		result := sendsPacket(t, s, "False") // PySocks asks the host's resolver and hands over the address
		evidence := s.Gather(t, result)
		if len(e.all()) == 0 {
			t.Errorf("the datagram did not arrive: %s", result.Text())
		}
		leaks := strings.Join(s.Leaks(evidence), "\n")
		for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
			if !strings.Contains(leaks, want) {
				t.Errorf("INVALID: a leak went unseen: nothing says %q; what was said:\n%s", want, leaks)
			}
		}
	})
	for _, families := range internet.AllFamilies() {
		t.Run("UDP/"+string(families), func(t *testing.T) {
			s, e := packetScene(t, families)
			with(dot)(t, s)
			evidence := s.Gather(t, sendsPacket(t, s, "True"))
			for _, leak := range s.Leaks(evidence) {
				t.Error("LEAK:", leak)
			}
			if !strings.Contains(evidence.Client.Stdout, "answered ping") || len(e.all()) != 1 {
				t.Errorf("it went out %d times and came back as %s", len(e.all()), evidence.Client.Text())
			}
			if s.Resolver.Count(s.Canary, dnswire.A) != 1 || !slices.ContainsFunc(evidence.Authority, func(q internet.Asked) bool { return q.Name == s.Canary }) {
				t.Errorf("the channel's resolver was asked for %s", names(s.Resolver))
			}
			if n := trapped(s); n != "" {
				t.Errorf("the program reached for the host's resolver %s times", n)
			}
		})
	}
	t.Run("UDP/a hop that carries none", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		exit := addHop(t, s, "hop-"+s.Canary, kinds[1])
		s.Permitted = append(s.Resolver.Peers(), exit.Peers(capture.TCP, kinds[1].port)...)
		with(func(s *lab.Scene) string {
			return dot(s) + "  out: {proxy: \"http://" + exit.At(kinds[1].port).String() + "\", resolver: " + resolver(s, s.Resolver.DoHURL()) + "}\nroutes: [{to: \"*\", channel: out}]\n"
		})(t, s)
		if reply := socksRequest(t, s, socks.Associate, s.Canary); reply != socks.CommandUnsupported {
			t.Errorf("a client that asks for UDP is told: %s", reply)
		}
		evidence := s.Gather(t, sendsPacket(t, s, "True"))
		for _, leak := range s.Leaks(evidence) {
			t.Error("LEAK:", leak)
		}
		if len(e.all()) != 0 || asked(s.Resolver, s.Canary) != 0 {
			t.Errorf("it went out %d times, by way of %s", len(e.all()), names(s.Resolver))
		}
	})
	t.Run("UDP/policy", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		with(func(s *lab.Scene) string { return dot(s) + "policy: {client_resolved: refuse}\n" })(t, s)
		conn, relay := association(t, s)
		foreign := "\x00\x00\x00\x01" + string(s.Origin.Addr4.AsSlice())
		for _, d := range []string{
			foreign + "\x00\x35dns",     // DNS in clear
			foreign + "\x03\x55dot",     // DNS over QUIC of the client's own
			foreign + "\x11\x51address", // an address that nobody gave out
			"\x00\x00\x00\x01\xe0\x00\x00\xfb\x14\xe9mdns",
		} {
			lab.Must(relay.Write([]byte(d)))(t)
		}
		await(t, "each was refused", func() bool {
			_, text := admin(t, s, "/metrics")
			return strings.Contains(text, `code="`+string(fault.PolicyForeignResolver)+`",door="socks5-udp"} 3`) &&
				strings.Contains(text, `code="`+string(fault.PolicyClientResolved)+`",door="socks5-udp"} 1`)
		})
		conn.Close()
		for _, leak := range s.Leaks(s.Gather(t, internet.Result{})) {
			t.Error("LEAK:", leak)
		}
		if len(e.all()) != 0 {
			t.Errorf("the origin got %q", e.all())
		}
	})
}

// association asks for one from the client's host, and gives its connection and a socket that speaks with the relay.
func association(t *testing.T, s *lab.Scene) (conn, relay net.Conn) {
	t.Helper()
	conn = lab.Must(s.Client.Dial(t.Context(), proxyAt))(t)
	t.Cleanup(func() { conn.Close() })
	var buf socks.Buffer
	lab.Must(conn.Write(socks.AppendGreeting(nil, socks.MethodNone)))(t)
	if method := lab.Must(socks.ReadMethod(conn, &buf))(t); method != socks.MethodNone {
		t.Fatalf("the proxy chose the method %d", method)
	}
	lab.Must(conn.Write(socks.AppendAssociate(nil)))(t)
	reply, bound, err := socks.ReadReply(conn, &buf)
	if err != nil || reply != socks.Succeeded {
		t.Fatalf("no association: %v, %v", reply, err)
	}
	return conn, lab.Must(s.Client.DialUDP(t.Context(), bound.Addr))(t)
}
