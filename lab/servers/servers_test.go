package servers_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

func TestMain(m *testing.M) { lab.Main(m) }

const host = "www.probe.example.net"

func TestServers_ResolversAnswerOverTLSAndHTTPS(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		for name, start := range map[string]func(testing.TB, *internet.Host, tls.Certificate, *internet.Internet){
			"unbound": func(t testing.TB, h *internet.Host, c tls.Certificate, in *internet.Internet) {
				servers.Unbound(t, h, c, in.Authority.At(53))
			},
			"knot-resolver": func(t testing.TB, h *internet.Host, c tls.Certificate, in *internet.Internet) {
				servers.KnotResolver(t, h, c, in.Authority.At(53))
			},
			"dnsdist": func(t testing.TB, h *internet.Host, c tls.Certificate, in *internet.Internet) {
				servers.DNSDist(t, h, c, in.Authority.At(53))
			},
			"BIND": func(t testing.TB, h *internet.Host, c tls.Certificate, in *internet.Internet) {
				servers.BIND(t, h, c, in.Authority.At(53))
			},
		} {
			t.Run(string(families)+"/"+name, func(t *testing.T) {
				in := lab.New(t, families)
				lab.Must(in.AddOrigin("origin", host))(t)
				h := lab.Must(in.AddHost("resolver"))(t)
				start(t, h, in.CA.Issue([]string{"dns.example.net"}, h.Addrs()), in)
				for _, ask := range []func(testing.TB, *internet.Internet, *internet.Host, []byte) []byte{askDoT, askDoH} {
					reply := ask(t, in, h, query(t, families))
					answer, err := dnswire.ParseAnswer(reply, question(families), 0)
					if err != nil || len(answer.Addrs()) != 1 {
						t.Errorf("%v: %x", err, reply)
					}
				}
				if len(in.Authority.LogOf(host)) == 0 {
					t.Error("the authority was not asked")
				}
				for _, q := range in.Authority.LogOf(host) {
					if !h.Has(q.Client.Addr()) {
						t.Errorf("the authority was asked by %v", q)
					}
				}
			})
		}
	}
}

func question(f internet.Families) dnswire.Question {
	if f == internet.V6 {
		return dnswire.Question{Name: host, Type: dnswire.AAAA}
	}
	return dnswire.Question{Name: host, Type: dnswire.A}
}

func query(t testing.TB, f internet.Families) []byte {
	return lab.Must(dnswire.Query(question(f), 0, 128))(t)
}

// patience bounds a question to a server; none takes as long.
const patience = 20 * time.Second

func dialTLS(ctx context.Context, in *internet.Internet, to netip.AddrPort, alpn ...string) (net.Conn, error) {
	conn, err := in.Client.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	c := tls.Client(conn, &tls.Config{RootCAs: in.CA.Pool(), ServerName: "dns.example.net", NextProtos: alpn, MinVersion: tls.VersionTLS13})
	return c, c.HandshakeContext(ctx)
}

func askDoT(t testing.TB, in *internet.Internet, h *internet.Host, message []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn := lab.Must(dialTLS(ctx, in, h.At(servers.PortDoT)))(t)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	lab.Must(conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)))(t)
	head := make([]byte, 2)
	lab.Must(io.ReadFull(conn, head))(t)
	reply := make([]byte, binary.BigEndian.Uint16(head))
	lab.Must(io.ReadFull(conn, reply))(t)
	return reply
}

func askDoH(t testing.TB, in *internet.Internet, h *internet.Host, message []byte) []byte {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialTLS(ctx, in, h.At(servers.PortHTTPS), "h2")
	}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request := lab.Must(http.NewRequestWithContext(ctx, http.MethodPost, "https://dns.example.net/dns-query", bytes.NewReader(message)))(t)
	request.Header.Set("Content-Type", "application/dns-message")
	response := lab.Must(transport.RoundTrip(request))(t)
	defer response.Body.Close()
	return lab.Must(io.ReadAll(response.Body))(t)
}

func TestServers_HopsCarryACallAndResolveNamesAtTheirEnd(t *testing.T) {
	login := servers.Login{User: "ada", Password: "s3cret"}
	for name, hop := range map[string]struct {
		start func(testing.TB, *internet.Host)
		proxy string
		login bool
	}{
		"dante":                 {func(t testing.TB, h *internet.Host) { servers.Dante(t, h) }, "socks5h://HOP:1080", false},
		"microsocks":            {func(t testing.TB, h *internet.Host) { servers.Microsocks(t, h, servers.Login{}) }, "socks5h://HOP:1080", false},
		"microsocks with login": {func(t testing.TB, h *internet.Host) { servers.Microsocks(t, h, login) }, "socks5h://ada:PASSWORD@HOP:1080", true},
		"squid":                 {func(t testing.TB, h *internet.Host) { servers.Squid(t, h, servers.Login{}) }, "http://HOP:3128", false},
		"squid with login":      {func(t testing.TB, h *internet.Host) { servers.Squid(t, h, login) }, "http://ada:PASSWORD@HOP:3128", true},
		"tinyproxy":             {func(t testing.TB, h *internet.Host) { servers.Tinyproxy(t, h, servers.Login{}) }, "http://HOP:3128", false},
		"tinyproxy with login":  {func(t testing.TB, h *internet.Host) { servers.Tinyproxy(t, h, login) }, "http://ada:PASSWORD@HOP:3128", true},
	} {
		for _, families := range internet.AllFamilies() {
			t.Run(name+"/"+string(families), func(t *testing.T) {
				lab.Curl.Require(t)
				in := lab.New(t, families)
				h := lab.Must(in.AddHost("hop"))(t)
				web := lab.Must(in.AddHost("web"))(t)
				if err := in.Authority.Publish(host, web); err != nil {
					t.Fatal(err)
				}
				servers.Nginx(t, web, in.CA.Issue([]string{host}, nil))
				hop.start(t, h)
				ca := filepath.Join(in.Dir, "ca.pem")
				if err := os.WriteFile(ca, in.CA.PEM(), 0o600); err != nil {
					t.Fatal(err)
				}
				address := h.Addr().String()
				if h.Addr().Is6() {
					address = "[" + address + "]"
				}
				proxy := strings.NewReplacer("HOP", address, "PASSWORD", login.Password).Replace(hop.proxy)
				call := func(proxy string) internet.Result {
					return lab.Run(t, lab.Curl.Program(in.Client, lab.Call{URL: "https://" + host + "/", Proxy: proxy, CAFile: ca}))
				}
				if r := call(proxy); r.Code != 0 || r.Stdout != internet.Greeting+host+"\n" {
					t.Errorf("exit code %d: %s", r.Code, r.Text())
				}
				if hop.login {
					if r := call(strings.Replace(proxy, login.Password, "wrong", 1)); r.Code == 0 {
						t.Error("a wrong password was accepted")
					}
				}
				if len(in.ISP.LogOf(h)) == 0 || len(in.ISP.LogOf(in.Client)) != 0 {
					t.Errorf("the name was not resolved by the hop alone: %v", in.ISP.Log())
				}
			})
		}
	}
}

func TestServers_NSDAnswersForItsZone(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			in := lab.New(t, families)
			h := lab.Must(in.AddHost("nsd"))(t)
			servers.NSD(t, h, "probe.example.net", "www A 192.0.2.7\nwww AAAA 2001:db8::7")
			reply := lab.Must(in.Authority.Ask(h.At(53), query(t, families)))(t)
			answer, err := dnswire.ParseAnswer(reply, question(families), 0)
			if err != nil || len(answer.Addrs()) != 1 {
				t.Errorf("%v: %x", err, reply)
			}
		})
	}
}
