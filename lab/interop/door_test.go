package interop

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// Where the doors are, and the name in their certificate.
const (
	doorDNS  = 5353
	doorTLS  = 8853
	doorHTTP = 8443
	doorName = "dns.door.example"
)

// openDoors starts the proxy with a DNS door for datagrams and TCP, one for TLS and one for HTTPS, and a resolver behind
// them that knows [records].
func openDoors(t *testing.T) *lab.Scene {
	t.Helper()
	s := lab.NewScene(t, internet.Dual)
	for _, text := range records(s) {
		must(t, s.Authority.Add(text))
	}
	certificate, key := dnstest.PEMPair(s.CA.Issue([]string{doorName}, nil))
	files := map[string][]byte{"door.pem": certificate, "door.key": key, "other.pem": dnstest.NewCA().PEM()}
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(s.Dir, name), content, 0o600))
	}
	pair := fmt.Sprintf("tls: {cert: %q, key: %q}", filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key"))
	lab.StartWatertight(t, s, fmt.Sprintf("  dns: [\"127.0.0.1:%d\", {address: \"tls://127.0.0.1:%d\", %s}, {address: \"https://127.0.0.1:%d/dns-query\", %s}]\n",
		doorDNS, doorTLS, pair, doorHTTP, pair)+lab.DirectConfig(s, s.Resolver.DoTURL()))
	return s
}

// closeDoors gives the verdict on what left meanwhile, after a client without a door was seen leaking.
func closeDoors(t *testing.T, s *lab.Scene) {
	t.Helper()
	untrapped(t, s)
	e := s.Gather(t, internet.Result{})
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	if len(e.Authority) == 0 {
		t.Error("the authority was never asked for a name of the scene: who answered?")
	}
	control := lab.NewScene(t, internet.Dual)
	lab.Run(t, control.Client.Program("dig", "+tries=1", "+timeout=5", control.Canary, "A"))
	leaks := strings.Join(control.Leaks(control.Gather(t, internet.Result{})), "\n")
	for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
		if !strings.Contains(leaks, want) {
			t.Errorf("a leak went unseen: nothing says %q", want)
		}
	}
}

// inquiry is one question, and what a program that asks it has to print.
type inquiry struct {
	prefix, kind string
	prints       []string
	count        map[string]int // how often
}

var inquiries = []inquiry{
	{"a", "A", []string{"NOERROR", "151.216.9.1"}, nil},
	{"aaaa", "AAAA", []string{"NOERROR", "2a12:4940:0:9::1"}, nil},
	{"alias", "A", []string{"NOERROR", "CNAME", "second-", "third-", "151.216.9.1"}, nil},
	{"https", "HTTPS", []string{"NOERROR", "h2,h3", "port=8443", "ipv4hint=151.216.9.1", "ipv6hint=2a12:4940:0:9::1", "ech=AEX+DQBB"}, nil},
	{"large", "TXT", []string{"NOERROR"}, map[string]int{strings.Repeat("x", 200): 20}},
	{"none", "A", []string{"NOERROR", "ANSWER: 0"}, nil},
	{"nobody", "A", []string{"NXDOMAIN"}, nil},
}

func (q inquiry) host(s *lab.Scene) string {
	if q.prefix == "nobody" {
		return "nobody-" + s.Label + ".void.example.net"
	}
	return q.prefix + "-" + s.Canary
}

func (q inquiry) check(t testing.TB, r internet.Result) {
	t.Helper()
	text := r.Text()
	for _, want := range q.prints {
		if !strings.Contains(text, want) {
			t.Errorf("%s %s: %q was not printed (%v, exit code %d):\n%s", q.prefix, q.kind, want, r.Err, r.Code, text)
		}
	}
	for part, n := range q.count {
		if got := strings.Count(text, part); got != n {
			t.Errorf("%s %s: %.20q was printed %d times, want %d (exit code %d):\n%.2000s", q.prefix, q.kind, part, got, n, r.Code, text)
		}
	}
}

// asker is a program that prints answers as dig does.
type asker struct {
	program string
	args    []string
}

func (a asker) ask(t testing.TB, s *lab.Scene, more ...string) internet.Result {
	t.Helper()
	limits := []string{"+tries=1", "+timeout=10"}
	if a.program == "kdig" {
		limits[0] = "+retry=0"
	}
	return lab.Run(t, s.Client.Program(a.program, append(append(append([]string{"@127.0.0.1"}, a.args...), limits...), more...)...))
}

func port(n int, more ...string) []string { return append([]string{"-p", fmt.Sprint(n)}, more...) }

func TestDoor_ProgramsOfOthersAreAnsweredOverEveryTransport(t *testing.T) {
	lab.Need(t, "dig", "kdig")
	s := openDoors(t)
	digTLS, kdigTLS := []string{"+tls-ca=" + s.CAFile, "+tls-hostname=" + doorName}, []string{"+tls-ca=" + s.CAFile, "+tls-hostname=" + doorName}
	for name, a := range map[string]asker{
		"dig":              {"dig", port(doorDNS, "+notcp")},
		"dig +tcp":         {"dig", port(doorDNS, "+tcp")},
		"dig +tls":         {"dig", port(doorTLS, append(digTLS, "+tls")...)},
		"dig +https":       {"dig", port(doorHTTP, append(digTLS, "+https")...)},
		"dig +https-get":   {"dig", port(doorHTTP, append(digTLS, "+https-get")...)},
		"kdig":             {"kdig", port(doorDNS, "+edns=0")},
		"kdig +tcp":        {"kdig", port(doorDNS, "+edns=0", "+tcp")},
		"kdig +tls":        {"kdig", port(doorTLS, append(kdigTLS, "+tls")...)},
		"kdig +https":      {"kdig", port(doorHTTP, append(kdigTLS, "+https")...)},
		"kdig +https-get":  {"kdig", port(doorHTTP, append(kdigTLS, "+https", "+https-get")...)},
		"kdig with a name": {"kdig", port(doorTLS, append(kdigTLS, "+tls", "+padding", "+tls-sni="+doorName)...)},
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range inquiries {
				q.check(t, a.ask(t, s, q.host(s), q.kind))
			}
			s.Resolver.Handle(refuses(s))
			r := a.ask(t, s, "rebind-"+s.Canary, "A")
			s.Resolver.Handle(s.Resolver.Recurse)
			inquiry{prefix: "rebind", kind: "A", prints: []string{"EDE: ", "POLICY_PRIVATE_TARGET"}}.check(t, r)
			if len(a.args) > 2 && strings.HasPrefix(a.args[2], "+tls-ca") { // and nothing is sent to a door that proves nothing
				other := asker{a.program, append(append([]string(nil), a.args...), "+tls-hostname=other.door.example")}
				if r := other.ask(t, s, "a-"+s.Canary, "A"); strings.Contains(r.Text(), "151.216.9.1") {
					t.Errorf("the door's certificate was taken for another's:\n%s", r.Text())
				}
			}
		})
	}
	closeDoors(t, s)
}

// refuses answers one name with an address that no policy lets pass, and others as they are.
func refuses(s *lab.Scene) dnstest.Handler {
	return dnstest.Zone{"rebind-" + s.Canary + ". 0 A 10.0.0.7"}.Handler()
}

var cookie = regexp.MustCompile(`COOKIE: ([0-9a-f]+)( \(good\))?`)

func TestDoor_TellsDigWhatTheProtocolHasForIt(t *testing.T) {
	lab.Need(t, "dig")
	s := openDoors(t)
	plain := asker{"dig", port(doorDNS)}
	t.Run("an answer that is too long for a datagram is fetched over TCP", func(t *testing.T) {
		q := inquiries[4]
		r := plain.ask(t, s, "+bufsize=512", q.host(s), q.kind)
		q.check(t, r)
		if !strings.Contains(r.Text(), "Truncated, retrying in TCP mode") {
			t.Errorf("dig was not told that the datagram was cut:\n%.600s", r.Text())
		}
		r = plain.ask(t, s, "+bufsize=512", "+ignore", q.host(s), q.kind)
		if !strings.Contains(r.Text(), " tc ") || strings.Count(r.Text(), strings.Repeat("x", 200)) > 2 {
			t.Errorf("the datagram is not cut as it should be:\n%.600s", r.Text())
		}
	})
	t.Run("cookies", func(t *testing.T) {
		first := cookie.FindStringSubmatch(plain.ask(t, s, "+notcp", "+cookie=0011223344556677", "a-"+s.Canary, "A").Text())
		if first == nil || first[2] == "" || !strings.HasPrefix(first[1], "0011223344556677") || len(first[1]) != 48 {
			t.Fatalf("dig got no cookie: %q", first)
		}
		again := cookie.FindStringSubmatch(plain.ask(t, s, "+notcp", "+cookie="+first[1], "a-"+s.Canary, "A").Text())
		if again == nil || again[2] == "" || !strings.HasPrefix(again[1], "0011223344556677") {
			t.Errorf("the cookie was not taken: %q", again)
		}
		if r := plain.ask(t, s, "+notcp", "+cookie=001122334455", "a-"+s.Canary, "A"); !strings.Contains(r.Text(), "FORMERR") {
			t.Errorf("a cookie of six octets was taken:\n%s", r.Text())
		}
	})
	t.Run("questions in one connection", func(t *testing.T) {
		for _, how := range [][]string{port(doorDNS, "+tcp"), port(doorTLS, "+tls", "+tls-ca="+s.CAFile, "+tls-hostname="+doorName)} {
			a := asker{"dig", append(how, "+keepopen")}
			r := a.ask(t, s, inquiries[0].host(s), "A", "@127.0.0.1", "+keepopen", inquiries[1].host(s), "AAAA", "@127.0.0.1", "+keepopen", inquiries[6].host(s), "A")
			for _, q := range []inquiry{inquiries[0], inquiries[1], inquiries[6]} {
				q.check(t, r)
			}
		}
	})
	t.Run("what it does not do", func(t *testing.T) {
		for _, c := range []struct{ args, want string }{
			{"example.com ANY", "HINFO"},
			{"version.bind TXT CH", "REFUSED"},
			{"printer.local A", "NXDOMAIN"},
			{"example.com AXFR +tcp", "Transfer failed"},
			{"example.com A +edns=7", "BADVERS"},
			{"example.com A +opcode=4", "NOTIMP"},
		} {
			if r := plain.ask(t, s, strings.Fields(c.args+" +noednsneg")...); !strings.Contains(r.Text(), c.want) {
				t.Errorf("dig %s was not told %s:\n%s", c.args, c.want, r.Text())
			}
		}
	})
	closeDoors(t, s)
}

func TestDoor_StubResolversAndCurlStandOnIt(t *testing.T) {
	lab.Need(t, "stubby", "unbound-host", "curl", "dig")
	s := openDoors(t)
	t.Run("curl --doh-url", func(t *testing.T) {
		call := func(ca, host string) internet.Result {
			return lab.Run(t, s.Client.Program("curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", ca, "--max-time", "15",
				"--resolve", fmt.Sprintf("%s:%d:127.0.0.1", doorName, doorHTTP), "--doh-url", fmt.Sprintf("https://%s:%d/dns-query", doorName, doorHTTP), "https://"+host+"/"))
		}
		host := "curl-" + s.Canary
		if r := call(s.CAFile, host); r.Code != 0 || !strings.Contains(r.Stdout, internet.Greeting+host) {
			t.Errorf("curl was not served (exit code %d): %s", r.Code, r.Text())
		}
		before := len(s.Resolver.Log())
		if r := call(filepath.Join(s.Dir, "other.pem"), "second-"+host); r.Code == 0 || len(s.Resolver.Log()) != before {
			t.Errorf("curl took the door for another's (exit code %d): %s", r.Code, r.Text())
		}
	})
	for name, to := range map[string]servers.Forward{
		"stubby":                    {Addr: "127.0.0.1", Port: doorTLS, Name: doorName, CA: s.CAFile},
		"stubby, of another's name": {Addr: "127.0.0.1", Port: doorTLS, Name: "other.door.example", CA: s.CAFile},
	} {
		t.Run(name, func(t *testing.T) {
			p := servers.Stubby(t, s.Client, to)
			defer p.Kill()
			a := asker{"dig", port(servers.PortStub)}
			if to.Name != doorName {
				if r := a.ask(t, s, "a-"+s.Canary, "A"); strings.Contains(r.Text(), "151.216.9.1") {
					t.Errorf("stubby took the door for another's:\n%s", r.Text())
				}
				return
			}
			for _, q := range inquiries {
				q.check(t, a.ask(t, s, q.host(s), q.kind))
			}
		})
	}
	t.Run("unbound-host", func(t *testing.T) {
		// Over TLS libunbound, as Debian builds it, does not check whose certificate it is: that is no client to be held to.
		conf := filepath.Join(s.Dir, "host.conf")
		must(t, os.WriteFile(conf, fmt.Appendf(nil, "server:\n  do-not-query-localhost: no\n  module-config: \"iterator\"\n"+
			"forward-zone:\n  name: \".\"\n  forward-addr: 127.0.0.1@%d\n", doorDNS), 0o600))
		for _, c := range []struct{ host, kind, want string }{
			{"a-" + s.Canary, "A", "has address 151.216.9.1"},
			{"aaaa-" + s.Canary, "AAAA", "has IPv6 address 2a12:4940:0:9::1"},
			{"alias-" + s.Canary, "A", "is an alias for a-"},
			{"large-" + s.Canary, "TXT", strings.Repeat("x", 200)},
			{inquiries[6].host(s), "A", "not found: 3(NXDOMAIN)"},
		} {
			if r := lab.Run(t, s.Client.Program("unbound-host", "-C", conf, "-v", "-t", c.kind, c.host)); !strings.Contains(r.Text(), c.want) {
				t.Errorf("unbound-host did not print %q for %s (exit code %d): %s", c.want, c.kind, r.Code, r.Text())
			}
		}
	})
	s.Readers = s.Origin.Peers() // curl calls it itself
	closeDoors(t, s)
}

func TestDoor_DnsperfLosesNothing(t *testing.T) {
	lab.Need(t, "dnsperf", "dig")
	s := openDoors(t)
	var questions strings.Builder
	for i := range 200 {
		q := inquiries[i%4]
		fmt.Fprintf(&questions, "%s %s\n", q.host(s), map[bool]string{true: "TYPE65", false: q.kind}[q.kind == "HTTPS"])
	}
	data := filepath.Join(s.Dir, "questions")
	must(t, os.WriteFile(data, []byte(questions.String()), 0o600))
	for _, c := range []struct {
		mode string
		port int
	}{{"udp", doorDNS}, {"tcp", doorDNS}, {"dot", doorTLS}, {"doh", doorHTTP}} {
		t.Run(c.mode, func(t *testing.T) {
			args := []string{"-s", "127.0.0.1", "-p", fmt.Sprint(c.port), "-m", c.mode, "-d", data, "-n", "2", "-c", "4", "-T", "2", "-t", "20"}
			wants := []string{"Queries completed: 400 (100.00%)", "NOERROR 400 (100.00%)"}
			if c.mode == "doh" { // of responses that come together, dnsperf 2.10 counts one; but it counts every status
				wants = []string{"Queries sent: 400", "HTTP/2 return codes: 200: 400", "(100.00%) Average packet size"}
				args = append(args, "-q", "4", "-O", fmt.Sprintf("doh-uri=https://%s:%d/dns-query", doorName, c.port))
			} else {
				args = append(args, "-q", "40")
			}
			r := lab.Run(t, s.Client.Program("dnsperf", args...))
			text := strings.Join(strings.Fields(r.Stdout), " ")
			for _, want := range wants {
				if r.Code != 0 || !strings.Contains(text, want) {
					t.Errorf("dnsperf did not print %q (exit code %d):\n%s", want, r.Code, r.Text())
				}
			}
		})
	}
	for _, q := range inquiries[:4] { // each was looked up once, whoever asked
		kind := map[string]dnswire.Type{"A": dnswire.A, "AAAA": dnswire.AAAA, "HTTPS": dnswire.HTTPS}[q.kind]
		if n := s.Resolver.Count(q.host(s), kind); n != 1 {
			t.Errorf("%s %s was asked for %d times", q.prefix, q.kind, n)
		}
	}
	closeDoors(t, s)
}

func TestDoor_ResolversOfOthersForwardToIt(t *testing.T) {
	lab.Need(t, "kdig", "dig")
	plain := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), doorDNS)
	over := func(start func(testing.TB, *internet.Host, tls.Certificate, servers.Forward) *internet.Process) func(testing.TB, *lab.Scene, tls.Certificate) *internet.Process {
		return func(t testing.TB, s *lab.Scene, c tls.Certificate) *internet.Process {
			return start(t, s.Client, c, servers.Forward{Addr: "127.0.0.1", Port: doorTLS, Name: doorName, CA: s.CAFile})
		}
	}
	type forwarder struct {
		name  string
		start func(testing.TB, *lab.Scene, tls.Certificate) *internet.Process
	}
	var forwarders []forwarder
	for _, r := range resolvers() {
		forwarders = append(forwarders, forwarder{r.name, func(t testing.TB, s *lab.Scene, c tls.Certificate) *internet.Process {
			return r.start(t, s.Client, c, plain)
		}})
	}
	forwarders = append(forwarders, forwarder{"unbound over TLS", over(servers.UnboundOverTLS)},
		forwarder{"knot-resolver over TLS", over(servers.KnotResolverOverTLS)}, forwarder{"dnsdist over TLS", over(servers.DNSDistOverTLS)})
	s := openDoors(t)
	for _, f := range forwarders {
		t.Run(f.name, func(t *testing.T) {
			p := f.start(t, s, s.CA.Issue([]string{"forwarder.example"}, nil))
			defer p.Kill()
			a := asker{"kdig", port(servers.PortDoT, "+tls", "+tls-ca="+s.CAFile, "+tls-hostname=forwarder.example")}
			for _, q := range inquiries {
				q.check(t, a.ask(t, s, q.host(s), q.kind))
			}
		})
	}
	closeDoors(t, s)
}
