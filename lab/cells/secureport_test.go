package cells

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"watertight/gate"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// The ports of a proxy that asks who its clients are: by TLS and password, by certificate, by password in clear on
// loopback, and behind a balancer.
const (
	securePort    = 8443
	certifiedPort = 8444
	guardedPort   = 8445
	behindPort    = 8446
	balancerPort  = 8447
	forwardPort   = 8448
	olderPort     = 8450 // a balancer with the text form of PROXY
)

// guardedProxy is a configuration with all of them. The scene's directory holds what they need.
func guardedProxy(t testing.TB, s *lab.Scene) (token, expired string, config func(*lab.Scene) string) {
	t.Helper()
	identity(t, s, "door", dnstest.Leaf{Names: []string{"proxy.example"}, IPs: []netip.Addr{loopback4}})
	identity(t, s, "client", dnstest.Leaf{User: "alice", Client: true})
	identity(t, s, "nobody", dnstest.Leaf{User: "alice-session-1", Client: true})
	stranger := dnstest.NewCA()
	chain, key := dnstest.PEMPair(stranger.IssueLeaf(dnstest.Leaf{User: "alice", Client: true}))
	lab.Must(0, os.WriteFile(filepath.Join(s.Dir, "stranger.pem"), chain, 0o600))(t)
	lab.Must(0, os.WriteFile(filepath.Join(s.Dir, "stranger.key"), key, 0o600))(t)

	users := filepath.Join(s.Dir, "users")
	p := lab.Self(s.Client, lab.WatertightRole, "user", "add", users, "alice")
	p.Stdin = []byte("s3cret\n")
	if r := lab.Run(t, p); r.Code != 0 {
		t.Fatal(r.Text())
	}
	tokens := filepath.Join(s.Dir, "tokens")
	made := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "user", "token", users, "alice", "--key", tokens, "--for", "1h"))
	if made.Code != 0 {
		t.Fatal(made.Text())
	}
	text := lab.Must(os.ReadFile(users))(t)
	list := lab.Must(gate.ParseUsers(text))(t)
	expired = lab.Must(list.Token(lab.Must(os.ReadFile(tokens))(t), "alice", time.Unix(1, 0)))(t)
	return strings.TrimSpace(made.Stdout), expired, func(s *lab.Scene) string {
		pair := fmt.Sprintf("cert: %q, key: %q", filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key"))
		known := fmt.Sprintf("users: %q, token_key: %q", users, tokens)
		return "listen:\n  admin: " + lab.AdminAddress + "\n  proxy:\n    - " + lab.ProxyAddress + "\n" +
			fmt.Sprintf("    - {address: \"0.0.0.0:%d\", tls: {%s}, %s}\n", securePort, pair, known) +
			fmt.Sprintf("    - {address: \"0.0.0.0:%d\", tls: {%s, client_ca: %q}}\n", certifiedPort, pair, s.CAFile) +
			fmt.Sprintf("    - {address: \"127.0.0.1:%d\", %s}\n", guardedPort, known) +
			fmt.Sprintf("    - {address: \"127.0.0.1:%d\", %s, proxy_protocol: 127.0.0.1}\n", behindPort, known) +
			"log: {names: true, level: debug}\n" + dot(s)
	}
}

// through is curl by a proxy, with what else it needs.
func through(s *lab.Scene, proxy, host string, more ...string) *internet.Program {
	args := []string{"--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile, "--proxy-cacert", s.CAFile, "--proxy", proxy}
	return s.Client.Program("curl", append(append(args, more...), "https://"+host+"/")...)
}

const requestsByProxy = `
import sys, requests
r = requests.get(sys.argv[1], proxies={"https": sys.argv[2]}, verify=sys.argv[3], timeout=15)
print(r.text)
`

func TestSecurePort_LetsInWhoProvesWhoItIs(t *testing.T) {
	lab.Need(t, "curl", "haproxy", "nghttpx")
	lab.NeedPython(t, "python3", "requests")
	var proxy running
	var token string
	run(t, lab.Cell{
		Arrange: func(testing.TB, *lab.Scene) {},
		Start: func(t testing.TB, s *lab.Scene) string {
			var config func(*lab.Scene) string
			token, _, config = guardedProxy(t, s)
			return proxy.with(config)(t, s)
		},
		After: func(t testing.TB, s *lab.Scene) {
			servers.HAProxy(t, s.Client, balancerPort, netip.AddrPortFrom(loopback4, behindPort), "send-proxy-v2")
			servers.HAProxy(t, s.Client, olderPort, netip.AddrPortFrom(loopback4, behindPort), "send-proxy")
			servers.NghttpxForward(t, s.Client, forwardPort, netip.AddrPortFrom(loopback4, securePort), "proxy.example", s.CAFile)
			pair := []string{"--proxy-cert", filepath.Join(s.Dir, "client.pem"), "--proxy-key", filepath.Join(s.Dir, "client.key")}
			for i, c := range []struct {
				name string
				p    func(host string) *internet.Program
			}{
				{"curl, TLS", func(h string) *internet.Program { return through(s, "https://alice:s3cret@127.0.0.1:8443", h) }},
				{"curl, TLS, labels", func(h string) *internet.Program {
					return through(s, "https://alice-session-7:s3cret@127.0.0.1:8443", h)
				}},
				{"curl, TLS, token", func(h string) *internet.Program { return through(s, "https://alice:"+token+"@127.0.0.1:8443", h) }},
				{"curl, certificate", func(h string) *internet.Program { return through(s, "https://127.0.0.1:8444", h, pair...) }},
				{"curl, clear", func(h string) *internet.Program { return through(s, "http://alice:s3cret@127.0.0.1:8445", h) }},
				{"curl, SOCKS5", func(h string) *internet.Program { return through(s, "socks5h://alice:s3cret@127.0.0.1:8445", h) }},
				{"curl, behind haproxy", func(h string) *internet.Program { return through(s, "http://alice:s3cret@127.0.0.1:8447", h) }},
				{"curl, behind haproxy with PROXY in text", func(h string) *internet.Program {
					return through(s, "http://alice:s3cret@127.0.0.1:8450", h)
				}},
				{"curl, by nghttpx over HTTP/2", func(h string) *internet.Program { return through(s, "http://alice:s3cret@127.0.0.1:8448", h) }},
				{"requests, TLS", func(h string) *internet.Program {
					p := s.Client.Program("python3", "-I", "-c", requestsByProxy, "https://"+h+"/", "https://alice:s3cret@127.0.0.1:8443", s.CAFile)
					return p
				}},
			} {
				host := other(s, fmt.Sprint("in", i))
				if r := lab.Run(t, c.p(host)); r.Code != 0 || !strings.Contains(r.Stdout, internet.Greeting+host) {
					t.Errorf("%s: %s", c.name, r.Text())
				}
				if asked(s.Resolver, host) == 0 {
					t.Errorf("%s: the channel's resolver was not asked", c.name)
				}
			}
			if log := proxy.Sofar().Text(); !strings.Contains(log, "user=alice-session-7") || strings.Contains(log, "s3cret") || strings.Contains(log, token) {
				t.Errorf("the log does not tell who came, or tells too much:\n%s", log)
			}
		},
	})
}

func TestSecurePort_NothingLeavesForOthers(t *testing.T) {
	lab.Need(t, "curl", "haproxy", "nghttpx")
	var expired string
	var proxy running
	run(t, lab.Cell{
		Start: func(t testing.TB, s *lab.Scene) string {
			var config func(*lab.Scene) string
			_, expired, config = guardedProxy(t, s)
			return proxy.with(config)(t, s)
		},
		After: func(t testing.TB, s *lab.Scene) {
			servers.HAProxy(t, s.Client, balancerPort, netip.AddrPortFrom(loopback4, behindPort), "")
			servers.NghttpxForward(t, s.Client, forwardPort, netip.AddrPortFrom(loopback4, securePort), "proxy.example", s.CAFile)
			with := func(who string) []string {
				return []string{"--proxy-cert", filepath.Join(s.Dir, who+".pem"), "--proxy-key", filepath.Join(s.Dir, who+".key")}
			}
			for i, c := range []struct {
				name, proxy, told string
				more              []string
			}{
				{"no password", "https://127.0.0.1:8443", "AUTH_REQUIRED", nil},
				{"wrong password", "https://alice:wrong@127.0.0.1:8443", "AUTH_REQUIRED", nil},
				{"a stranger", "https://bob:s3cret@127.0.0.1:8443", "AUTH_REQUIRED", nil},
				{"expired token", "https://alice:" + expired + "@127.0.0.1:8443", "the token has expired", nil},
				{"a name that cannot be read", "https://alice-session-:s3cret@127.0.0.1:8443", "BAD_REQUEST", nil},
				{"in clear", "http://alice:s3cret@127.0.0.1:8443", "this port speaks TLS only", nil},
				{"no certificate", "https://127.0.0.1:8444", "certificate required", nil},
				{"another authority's certificate", "https://127.0.0.1:8444", "alert", with("stranger")},
				{"a certificate that names no user", "https://127.0.0.1:8444", "alert", with("nobody")},
				{"another's certificate", "https://bob:x@127.0.0.1:8444", "AUTH_REQUIRED", with("client")},
				{"SOCKS5, wrong password", "socks5h://alice:wrong@127.0.0.1:8445", "rejected by the SOCKS5 server", nil},
				{"SOCKS5, no password", "socks5h://127.0.0.1:8445", "No authentication method", nil},
				{"SOCKS4, which has no password", "socks4a://alice@127.0.0.1:8445", "rejected", nil},
				{"HTTP/2, wrong password", "http://alice:wrong@127.0.0.1:8448", "407", nil},
				{"a balancer that says nothing", "http://alice:s3cret@127.0.0.1:8447", "", nil},
				{"itself in a balancer's place", "http://alice:s3cret@127.0.0.1:8446", "", nil},
			} {
				host := other(s, fmt.Sprint("out", i))
				r := lab.Run(t, through(s, c.proxy, host, c.more...))
				if r.Code == 0 || !strings.Contains(r.Text(), c.told) {
					t.Errorf("%s: exit code %d, not told %q: %s", c.name, r.Code, c.told, r.Text())
				}
				if asked(s.Resolver, host) > 0 {
					t.Errorf("%s: the name was asked for", c.name)
				}
				for _, v := range s.Origin.Visits() {
					if v.Host == host {
						t.Errorf("%s: the origin was reached", c.name)
					}
				}
			}
		},
	})
}
