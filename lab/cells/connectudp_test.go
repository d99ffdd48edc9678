package cells

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/masque"
	"watertight/wire"
)

// hyperH2 sends one datagram by connect-udp over HTTP/2, with the library of the project Hyper, and wants it back. The target is
// HOST, or where it is told to leak the address that the host's resolver gives. Told to be plain, it asks for http://HOST/ instead.
const hyperH2 = `
import base64, os, socket, ssl, sys, h2.config, h2.connection, h2.events
host, port, ca, leak, user = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4] == "leak", sys.argv[5]
if leak:
    host = socket.gethostbyname(host)
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    plain.sendto(b"ping", (host, int(port)))
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
tls.set_alpn_protocols(["h2"])
sock = tls.wrap_socket(socket.create_connection(("127.0.0.1", 8443), timeout=30))
conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
conn.initiate_connection()
sock.sendall(conn.data_to_send())
ready, refused, stream, inside, left = False, False, 1, b"", 0
def ping():
    conn.send_data(stream, b"\x00\x05\x00ping")
    sock.settimeout(10)
while True:
    try:
        data = sock.recv(65536)
    except TimeoutError:
        if left == 0:
            sys.exit("no answer")
        left -= 1
        ping()
        sock.sendall(conn.data_to_send())
        continue
    if not data:
        sys.exit("the connection ended")
    for e in conn.receive_data(data):
        if isinstance(e, h2.events.RemoteSettingsChanged) and not ready:
            ready = True
            if not any(int(k) == 8 and v.new_value == 1 for k, v in e.changed_settings.items()):
                sys.exit("no extended CONNECT")
            allowed = ("proxy-authorization", "Basic " + base64.b64encode(user.encode()).decode())
            if sys.argv[4] == "plain":
                conn.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/"), allowed], end_stream=True)
                continue
            conn.send_headers(stream, [
                (":method", "CONNECT"), (":protocol", "connect-udp"), (":scheme", "https"), (":authority", "127.0.0.1:8443"),
                (":path", "/.well-known/masque/udp/%s/%s/" % (host, port)), ("capsule-protocol", "?1"), allowed])
        elif isinstance(e, h2.events.ResponseReceived):
            head = dict(e.headers)
            print("status", head[":status"], head.get("proxy-status", ""))
            refused = head[":status"] != "200"
            if not refused:
                left = int(os.environ.get("TRIES", 3)) - 1
                ping()
        elif isinstance(e, h2.events.DataReceived) and refused:
            print(e.data.decode())
            sys.exit(3)
        elif isinstance(e, h2.events.DataReceived):
            inside += e.data
            conn.acknowledge_received_data(e.flow_controlled_length, stream)
            if len(inside) >= 7:
                print("answered", inside[3:7].decode())
                conn.end_stream(stream)
                sock.sendall(conn.data_to_send())
                sys.exit(0)
        elif isinstance(e, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            sys.exit("reset")
    sock.sendall(conn.data_to_send())
`

// upgradeH1 sends one by an upgrade of HTTP/1.1 inside TLS, and wants it back.
const upgradeH1 = `
import base64, socket, ssl, sys
host, port, ca, user = sys.argv[1:5]
tls = ssl.create_default_context(cafile=ca)
tls.check_hostname = False
sock = tls.wrap_socket(socket.create_connection(("127.0.0.1", 8443), timeout=10))
sock.sendall(("GET /.well-known/masque/udp/%s/%s/ HTTP/1.1\r\nHost: 127.0.0.1:8443\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n"
    "Capsule-Protocol: ?1\r\nProxy-Authorization: Basic %s\r\n\r\n" % (host, port, base64.b64encode(user.encode()).decode())).encode())
got = sock.makefile("rb")
print("status", got.readline().split()[1].decode())
while got.readline().strip():
    pass
sock.sendall(b"\x00\x05\x00ping")
print("answered", got.read(7)[3:].decode())
`

// datagramDoor is a proxy port over TLS and QUIC whose clients have to say who they are.
func datagramDoor(t testing.TB, s *lab.Scene, more string) func(*lab.Scene) string {
	t.Helper()
	identity(t, s, "door", dnstest.Leaf{Names: []string{"proxy.example"}, IPs: []netip.Addr{loopback4}})
	users := filepath.Join(s.Dir, "users")
	p := lab.Self(s.Client, lab.WatertightRole, "user", "add", users, "alice")
	p.Stdin = []byte("s3cret\n")
	if r := lab.Run(t, p); r.Code != 0 {
		t.Fatal(r.Text())
	}
	return func(s *lab.Scene) string {
		return "listen:\n  admin: " + lab.AdminAddress + "\n  proxy:\n    - " + lab.ProxyAddress + "\n" +
			fmt.Sprintf("    - {address: \"127.0.0.1:%d\", h3: true, tls: {cert: %q, key: %q}, users: %q}\n", securePort,
				filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key"), users) + dot(s) + more
	}
}

func sendsByHTTP2(t *testing.T, s *lab.Scene, host, port, how, user string) internet.Result {
	t.Helper()
	return lab.Run(t, s.Client.Program("python3", "-I", "-c", hyperH2, host, port, s.CAFile, how, user))
}

// sendsByHTTP3 does the same over HTTP/3, in datagrams of QUIC.
func sendsByHTTP3(t *testing.T, s *lab.Scene, host, port string) (status int, back string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at := netip.AddrPortFrom(loopback4, securePort)
	flow := lab.Must(s.Client.DialUDP(ctx, at))(t)
	defer flow.Close()
	peer := net.UDPAddrFromAddrPort(at)
	tr := &quic.Transport{Conn: wire.PacketConn(flow, peer)}
	defer tr.Close()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA.PEM())
	conn := lab.Must(tr.Dial(ctx, peer, &tls.Config{RootCAs: roots, ServerName: "proxy.example", NextProtos: []string{"h3"}},
		&quic.Config{EnableDatagrams: true, InitialPacketSize: 1350}))(t)
	defer conn.CloseWithError(0, "") // or the proxy would wait for it at its end
	over := &http3.Transport{EnableDatagrams: true, Dial: func(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
		return nil, net.ErrClosed
	}}
	stream := lab.Must(over.NewClientConn(conn).OpenRequestStream(ctx))(t)
	_ = stream.SetDeadline(time.Now().Add(20 * time.Second))
	u := &url.URL{Scheme: "https", Host: at.String(), Path: "/.well-known/masque/udp/" + host + "/" + port + "/"}
	r := &http.Request{Method: http.MethodConnect, Proto: masque.Protocol, URL: u, Host: u.Host, Header: http.Header{"Capsule-Protocol": {"?1"}}}
	r.SetBasicAuth("alice", "s3cret")
	r.Header["Proxy-Authorization"] = r.Header["Authorization"]
	delete(r.Header, "Authorization")
	lab.Must(0, stream.SendRequestHeader(r))(t)
	resp := lab.Must(stream.ReadResponse())(t)
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, resp.Header.Get("Proxy-Status")
	}
	lab.Must(0, stream.SendDatagram(masque.AppendUDP(nil, []byte("ping"))))(t)
	payload, _, err := masque.ParseUDP(lab.Must(stream.ReceiveDatagram(ctx))(t))
	lab.Must(0, err)(t)
	return resp.StatusCode, string(payload)
}

func TestD1_DatagramsByConnectUDPTakeTheChannel(t *testing.T) {
	t.Parallel()
	lab.NeedPython(t, "python3", "h2")
	const port = "4433"
	t.Run("control", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		with(datagramDoor(t, s, ""))(t, s)
		result := sendsByHTTP2(t, s, s.Canary, port, "leak", "alice:s3cret")
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
		for _, over := range []string{"h1", "h2", "h3"} {
			t.Run("connect-udp/"+over+"/"+string(families), func(t *testing.T) {
				s, e := packetScene(t, families)
				with(datagramDoor(t, s, ""))(t, s)
				var result internet.Result
				back := ""
				switch over {
				case "h1":
					result = lab.Run(t, s.Client.Program("python3", "-I", "-c", upgradeH1, s.Canary, port, s.CAFile, "alice:s3cret"))
					_, back, _ = strings.Cut(strings.TrimSpace(result.Stdout), "answered ")
				case "h2":
					result = sendsByHTTP2(t, s, s.Canary, port, "", "alice:s3cret")
					_, back, _ = strings.Cut(strings.TrimSpace(result.Stdout), "answered ")
				default:
					_, back = sendsByHTTP3(t, s, s.Canary, port)
				}
				evidence := s.Gather(t, result)
				for _, leak := range s.Leaks(evidence) {
					t.Error("LEAK:", leak)
				}
				if back != "ping" || len(e.all()) != 1 {
					t.Errorf("it went out %d times and came back as %q: %s", len(e.all()), back, result.Text())
				}
				if s.Resolver.Count(s.Canary, dnswire.A) != 1 || !slices.ContainsFunc(evidence.Authority, func(q internet.Asked) bool { return q.Name == s.Canary }) {
					t.Errorf("the channel's resolver was asked for %s", names(s.Resolver))
				}
				if n := trapped(s); n != "" {
					t.Errorf("the program reached for the host's resolver %s times", n)
				}
			})
		}
	}
	t.Run("connect-udp/a hop that carries none", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		exit := addHop(t, s, "hop-"+s.Canary, kinds[1])
		s.Permitted = append(s.Resolver.Peers(), exit.Peers(capture.TCP, kinds[1].port)...)
		with(datagramDoor(t, s, "  out: {proxy: \"http://"+exit.At(kinds[1].port).String()+"\", resolver: "+resolver(s, s.Resolver.DoHURL())+
			"}\nroutes: [{to: \"*\", channel: out}]\n"))(t, s)
		result := sendsByHTTP2(t, s, s.Canary, port, "", "alice:s3cret")
		status, why := sendsByHTTP3(t, s, s.Canary, port)
		for _, said := range []string{result.Stdout, fmt.Sprint("status ", status, " ", why)} {
			if strings.Contains(said, "status 200") || !strings.Contains(said, "carries connections only") {
				t.Errorf("the client is told %q", said)
			}
		}
		for _, leak := range s.Leaks(s.Gather(t, result)) {
			t.Error("LEAK:", leak)
		}
		if len(e.all()) != 0 || asked(s.Resolver, s.Canary) != 0 {
			t.Errorf("it went out %d times, by way of %s", len(e.all()), names(s.Resolver))
		}
	})
	t.Run("connect-udp/policy and users", func(t *testing.T) {
		s, e := packetScene(t, internet.V4)
		with(datagramDoor(t, s, "policy: {client_resolved: refuse}\n"))(t, s)
		origin := s.Origin.Addr4.String()
		for _, c := range []struct{ host, port, user, want string }{
			{origin, "53", "alice:s3cret", string(fault.PolicyForeignResolver)},      // DNS in clear
			{origin, "853", "alice:s3cret", string(fault.PolicyForeignResolver)},     // DNS over QUIC of the client's own
			{origin, port, "alice:s3cret", string(fault.PolicyClientResolved)},       // an address that nobody gave out
			{s.Canary, port, "alice:wrong", string(fault.AuthRequired)},              // and nobody
			{"127.0.0.1", "4433", "alice:s3cret", string(fault.PolicyPrivateTarget)}, // the host itself
			{s.Canary, "plain", "alice:s3cret", string(fault.PolicyPlainHTTP)},       // no datagram, and in clear beyond the proxy
		} {
			how := ""
			if c.port == "plain" {
				how = c.port
			}
			if r := sendsByHTTP2(t, s, c.host, c.port, how, c.user); r.Code != 3 || !strings.Contains(r.Stdout, c.want) {
				t.Errorf("%s:%s for %s: %s", c.host, c.port, c.user, r.Text())
			}
		}
		for _, leak := range s.Leaks(s.Gather(t, internet.Result{})) {
			t.Error("LEAK:", leak)
		}
		if len(e.all()) != 0 || asked(s.Resolver, s.Canary) != 0 {
			t.Errorf("the origin got %q", e.all())
		}
	})
}
