package cells

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/fault"
	"watertight/gate"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
	"watertight/wire"
)

// entrance is a door, with a client that comes in by it.
type entrance struct {
	name string
	call func(s *lab.Scene, host string) *internet.Program
	got  func(s *lab.Scene, host string) string // what a client that was served prints; nil: the origin's greeting
	told func(fault.Code) string                // what one that is refused prints; nil: the code

	packets     bool // it carries datagrams
	answers     bool // it gives addresses, and connects to nothing
	transparent bool // it is handed what a client sends that knows of no proxy
}

func (e entrance) wants(s *lab.Scene, host string) string {
	if e.got != nil {
		return e.got(s, host)
	}
	return internet.Greeting + host
}

func (e entrance) says(code fault.Code) string {
	if e.told != nil {
		return e.told(code)
	}
	return string(code)
}

// entrances are all doors.
func entrances() []entrance {
	curl := func(s *lab.Scene, url string, more ...string) *internet.Program {
		args := []string{"--silent", "--show-error", "--verbose", "--fail-with-body", "--max-time", "30", "--cacert", s.CAFile, "--proxy-cacert", s.CAFile}
		return s.Client.Program("curl", append(append(args, more...), url)...)
	}
	proxied := func(proxy string) func(*lab.Scene, string) *internet.Program {
		return func(s *lab.Scene, host string) *internet.Program {
			return curl(s, "https://"+host+"/", "--proxy", proxy)
		}
	}
	silent := func(fault.Code) string { return "" }
	return []entrance{
		{name: "connect", call: proxied("http://" + lab.ProxyAddress)},
		{name: "plain", call: func(s *lab.Scene, host string) *internet.Program {
			return curl(s, "http://"+host+"/", "--proxy", "http://"+lab.ProxyAddress)
		}},
		{name: "socks4a", call: proxied("socks4a://" + lab.ProxyAddress), told: func(fault.Code) string { return "complete SOCKS4 connection" }},
		{name: "socks5", call: proxied("socks5h://" + lab.ProxyAddress), told: func(c fault.Code) string {
			return fmt.Sprintf("complete SOCKS5 connection to %%s. (%d)", c.SOCKSReply())
		}},
		{name: "socks5-udp", packets: true, told: silent, call: func(s *lab.Scene, host string) *internet.Program {
			return s.Client.Program(python3, "-I", "-c", pySocks, host, "True")
		}, got: answeredPing},
		{name: "tls-h1", call: proxied(fmt.Sprintf("https://alice:s3cret@127.0.0.1:%d", securePort))},
		{name: "tls-h2", call: proxied(fmt.Sprintf("http://alice:s3cret@127.0.0.1:%d", forwardPort)), told: func(c fault.Code) string {
			return "Proxy-Status: watertight; error=" + c.ProxyError()
		}},
		{name: "tls-h3", call: func(s *lab.Scene, host string) *internet.Program {
			return lab.Self(s.Client, connectingRole, s.CAFile, fmt.Sprintf("127.0.0.1:%d", securePort), "alice", "s3cret", host)
		}},
		{name: "connect-udp", packets: true, got: answeredPing, call: func(s *lab.Scene, host string) *internet.Program {
			return s.Client.Program(python3, "-I", "-c", hyperH2, host, fmt.Sprint(echoPort), s.CAFile, "", "alice:s3cret")
		}},
		{name: "dns", answers: true, call: func(s *lab.Scene, host string) *internet.Program {
			at, port, _ := strings.Cut(dnsAddress, ":")
			kind := "A"
			if !s.Origin.Addr4.IsValid() {
				kind = "AAAA"
			}
			return s.Client.Program("dig", "@"+at, "-p", port, "+tries=1", "+timeout=30", host, kind)
		}, got: func(s *lab.Scene, _ string) string { return s.Origin.Addr().String() }},
		{name: "gateway", call: func(s *lab.Scene, host string) *internet.Program {
			return curl(s, "http://"+gatewayAddress+"/https/"+host+"/")
		}},
		{name: "transparent", transparent: true, told: silent, call: func(s *lab.Scene, host string) *internet.Program { return curl(s, "https://"+host+"/") }},
		{
			name: "transparent-udp", transparent: true, packets: true, told: silent, got: answeredPing,
			call: func(s *lab.Scene, host string) *internet.Program {
				return s.Client.Program(python3, "-I", "-c", plainUDP, host)
			},
		},
	}
}

// hasty lets a client of datagrams that is to be refused wait for a second only.
func hasty(p *internet.Program) *internet.Program {
	p.Env = append(p.Env, "TRIES=1", "PATIENCE=1")
	return p
}

func answeredPing(*lab.Scene, string) string { return "answered ping" }

// aliceLine lets alice in. A password is slow to hash, on purpose: once is enough.
var aliceLine = sync.OnceValues(func() (string, error) { return gate.NewLine("alice", "s3cret") })

// allDoors is a configuration with every door, for channels and routes that are given.
func allDoors(t testing.TB, s *lab.Scene, channels string) string {
	t.Helper()
	identity(t, s, "door", dnstest.Leaf{Names: []string{"proxy.example"}, IPs: []netip.Addr{loopback4}})
	users := filepath.Join(s.Dir, "users")
	lab.Must(0, os.WriteFile(users, []byte(lab.Must(aliceLine())(t)+"\n"), 0o600))(t)
	text := "listen:\n  admin: " + lab.AdminAddress + "\n  gateway: " + gatewayAddress + "\n" +
		"  dns: [127.0.0.1:5353, \"[::1]:5353\"]\n  proxy:\n    - " + lab.ProxyAddress + "\n" +
		fmt.Sprintf("    - {address: \"127.0.0.1:%d\", h3: true, tls: {cert: %q, key: %q}, users: %q}\n", securePort,
			filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key"), users) + "  transparent:\n"
	for _, at := range []string{"127.0.0.1", "[::1]"} {
		text += fmt.Sprintf("    - {address: %q, mode: tproxy, udp: true, mark: %d}\n", at+":8081", ownMark)
	}
	return text + "policy: {plain_http: allow, client_resolved: refuse}\nlog: {names: true, level: debug}\n" + channels + "gateway:\n" + listed(s)
}

// besideTheDoors are programs of others that some clients need: an HTTP/2 client.
func besideTheDoors(t testing.TB, s *lab.Scene) {
	t.Helper()
	servers.NghttpxForward(t, s.Client, forwardPort, netip.AddrPortFrom(loopback4, securePort), "proxy.example", s.CAFile)
}

// connectingRole is a client of the proxy port over HTTP/3, for which Debian has none: it asks for a tunnel, and for a page
// inside it.
const connectingRole = "connecting"

func connecting(args []string) int {
	if len(args) != 5 {
		fmt.Println("want an authority, an address, a user, a password and a host")
		return 2
	}
	if err := connectOverH3(args[0], args[1], args[2], args[3], args[4]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func connectOverH3(ca, at, user, password, host string) error {
	authority, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	to, err := netip.ParseAddrPort(at)
	if err != nil {
		return err
	}
	socket, err := wire.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		return err
	}
	defer socket.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	over := &quic.Transport{Conn: socket}
	defer over.Close()
	conn, err := over.Dial(ctx, net.UDPAddrFromAddrPort(to), &tls.Config{RootCAs: roots, ServerName: "proxy.example", NextProtos: []string{"h3"}}, nil)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "")
	stream, err := new(http3.Transport).NewClientConn(conn).OpenRequestStream(ctx)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, "https://"+host+":443", nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(user, password)
	r.Header["Proxy-Authorization"] = r.Header["Authorization"]
	r.Header.Del("Authorization")
	if err := stream.SendRequestHeader(r); err != nil {
		return err
	}
	answer, err := stream.ReadResponse()
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s, Proxy-Status: %s\n%s", answer.Status, answer.Header.Get("Proxy-Status"), text)
	}
	inside := tls.Client(streamConn{stream, conn}, &tls.Config{RootCAs: roots, ServerName: host})
	if _, err := fmt.Fprintf(inside, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	page, err := http.ReadResponse(bufio.NewReader(inside), nil)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(page.Body)
	fmt.Printf("%s\n%s", page.Status, text)
	if err == nil && page.StatusCode != http.StatusOK {
		err = errors.New(page.Status)
	}
	return err
}

// streamConn makes a connection of a tunnel's stream.
type streamConn struct {
	*http3.RequestStream
	conn *quic.Conn
}

func (s streamConn) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s streamConn) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }
