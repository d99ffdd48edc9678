package cells

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// doorPort is that of the DNS door over TLS and over QUIC, and dohPort that over HTTPS.
const (
	doorPort = "8853"
	dohPort  = "8443"
)

// encrypted is a configuration with the DNS door over everything that is encrypted, at an address; more stands in the `tls`
// of each, and after it.
func encrypted(s *lab.Scene, at netip.Addr, more, after string) string {
	var list []string
	for _, address := range []string{"tls://" + hostPort(at, doorPort), "quic://" + hostPort(at, doorPort), "https://" + hostPort(at, dohPort) + "/dns-query"} {
		list = append(list, fmt.Sprintf("{address: %q, tls: {cert: %q, key: %q%s}%s}", address, filepath.Join(s.Dir, "door.pem"), filepath.Join(s.Dir, "door.key"), more, after))
	}
	return "  dns: [" + strings.Join(list, ", ") + "]\n" + dot(s)
}

func hostPort(at netip.Addr, port string) string {
	return net.JoinHostPort(at.String(), port)
}

// identity writes a certificate and its key into the scene's directory.
func identity(t testing.TB, s *lab.Scene, file string, l dnstest.Leaf) {
	t.Helper()
	certificate, key := dnstest.PEMPair(s.CA.IssueLeaf(l))
	lab.Must(0, os.WriteFile(filepath.Join(s.Dir, file+".pem"), certificate, 0o600))(t)
	lab.Must(0, os.WriteFile(filepath.Join(s.Dir, file+".key"), key, 0o600))(t)
}

// doorClients are how the door is asked over each encrypted transport. kdig is not told whom to trust over QUIC: the
// version that Debian has crashes then.
var doorClients = []struct {
	name, needs string
	program     func(s *lab.Scene, at netip.Addr, server, host string, certified bool) *internet.Program
}{
	{"kdig, TLS", "kdig", func(s *lab.Scene, at netip.Addr, server, host string, certified bool) *internet.Program {
		return s.Client.Program("kdig", kdig(s, at, doorPort, certified, "+tls-ca="+s.CAFile, "+tls-host="+server, host, "A")...)
	}},
	{"kdig, HTTP/2", "kdig", func(s *lab.Scene, at netip.Addr, server, host string, certified bool) *internet.Program {
		return s.Client.Program("kdig", kdig(s, at, dohPort, certified, "+https", "+tls-ca="+s.CAFile, "+tls-host="+server, host, "A")...)
	}},
	{"QUIC", "", func(s *lab.Scene, at netip.Addr, server, host string, certified bool) *internet.Program {
		return lab.Self(s.Client, askingRole, asks(s, server, certified, "quic", hostPort(at, doorPort), host, "A")...)
	}},
	{"HTTP/3", "", func(s *lab.Scene, at netip.Addr, server, host string, certified bool) *internet.Program {
		return lab.Self(s.Client, askingRole, asks(s, server, certified, "h3", hostPort(at, dohPort), host, "A")...)
	}},
}

func kdig(s *lab.Scene, at netip.Addr, port string, certified bool, args ...string) []string {
	all := []string{"@" + at.String(), "-p", port, "+timeout=5", "+retry=0"}
	if certified {
		all = append(all, "+tls-certfile="+filepath.Join(s.Dir, "client.pem"), "+tls-keyfile="+filepath.Join(s.Dir, "client.key"))
	}
	return append(all, args...)
}

func asks(s *lab.Scene, server string, certified bool, args ...string) []string {
	all := []string{"-ca", s.CAFile, "-name", server}
	if certified {
		all = append(all, "-cert", filepath.Join(s.Dir, "client.pem"), "-key", filepath.Join(s.Dir, "client.key"))
	}
	return append(all, args...)
}

// ran gives what a program printed, whatever its exit code.
func ran(t testing.TB, p *internet.Program) internet.Result {
	t.Helper()
	r := lab.Run(t, p)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

var loopback4 = netip.MustParseAddr("127.0.0.1")

// doorOverTLS asks over each encrypted transport, with clients of other projects where there are any, before and after the
// certificate has changed; and once the resolver is gone.
func doorOverTLS(t *testing.T) {
	lab.Need(t, "kdig", "dig", "curl")
	var proxy running
	all := func(t testing.TB, s *lab.Scene, server, label string) {
		t.Helper()
		a := s.Origin.Addr4.String()
		for i, c := range doorClients {
			host := other(s, fmt.Sprint(label, i))
			told(t, ran(t, c.program(s, loopback4, server, host, false)), "NOERROR", a)
			if asked(s.Resolver, host) == 0 {
				t.Errorf("%s: the channel's resolver was not asked", c.name)
			}
		}
		host := other(s, label)
		told(t, ran(t, s.Client.Program("kdig", "@127.0.0.1", "-p", doorPort, "+quic", "+timeout=5", "+retry=0", host, "A")), "NOERROR", a)
		told(t, ran(t, s.Client.Program("dig", "@127.0.0.1", "-p", dohPort, "+https", "+tls-ca="+s.CAFile, "+tls-hostname="+server, "+tries=1", host, "A")), "NOERROR", a)
		told(t, ran(t, s.Client.Program("curl", "--silent", "--show-error", "--verbose", "--noproxy", "*", "--cacert", s.CAFile, "--max-time", "10",
			"--resolve", server+":"+dohPort+":127.0.0.1", "--doh-url", "https://"+server+":"+dohPort+"/dns-query", "https://"+host+"/")), internet.Greeting+host)
		told(t, ran(t, s.Client.Program("curl", "--silent", "--show-error", "--include", "--noproxy", "*", "--cacert", s.CAFile, "--max-time", "10",
			"--resolve", server+":"+dohPort+":127.0.0.1", "https://"+server+":"+dohPort+"/dns-query")), `alt-svc: h3=":`+dohPort+`"`)
	}
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			identity(t, s, "door", dnstest.Leaf{Names: []string{"old.door.example"}})
		},
		Start: proxy.with(func(s *lab.Scene) string { return encrypted(s, loopback4, "", "") }),
		After: func(t testing.TB, s *lab.Scene) {
			all(t, s, "old.door.example", "first")
			identity(t, s, "door", dnstest.Leaf{Names: []string{"new.door.example"}})
			reload(t, proxy, "was reloaded", 1)
			all(t, s, "new.door.example", "second")
			for _, c := range doorClients {
				if r := ran(t, c.program(s, loopback4, "old.door.example", other(s, "third"), false)); strings.Contains(r.Text(), s.Origin.Addr4.String()) {
					t.Errorf("%s: the certificate of before is shown after the reload:\n%s", c.name, r.Text())
				}
			}
			gone(t, s)
			for _, c := range doorClients {
				r := ran(t, c.program(s, loopback4, "new.door.example", other(s, "gone"), false))
				if !strings.Contains(r.Text(), "SERVFAIL") || !strings.Contains(r.Text(), "EDE: ") {
					t.Errorf("%s: without a resolver it is told:\n%s", c.name, r.Text())
				}
			}
		},
	})
}

// doorWithCertificates asks at an address of the Internet, from there: with the user's word alone that is a stranger, and with
// an authority for clients a certificate decides.
func doorWithCertificates(t *testing.T) {
	lab.Need(t, "kdig")
	var proxy running
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			identity(t, s, "door", dnstest.Leaf{Names: []string{"door.example"}})
			identity(t, s, "client", dnstest.Leaf{Client: true})
		},
		Start: proxy.with(func(s *lab.Scene) string {
			return encrypted(s, s.Client.Addr6, fmt.Sprintf(", client_ca: %q", s.CAFile), "")
		}),
		After: func(t testing.TB, s *lab.Scene) {
			ask := func(certified bool, label string) (answered []string) {
				for i, c := range doorClients {
					host := other(s, fmt.Sprint(label, i))
					if strings.Contains(ran(t, c.program(s, s.Client.Addr6, "door.example", host, certified)).Text(), s.Origin.Addr4.String()) {
						answered = append(answered, c.name)
					} else if asked(s.Resolver, host) != 0 {
						t.Errorf("%s: it was not answered, and its name was asked for", c.name)
					}
				}
				return answered
			}
			if got := ask(true, "known"); len(got) != len(doorClients) {
				t.Errorf("with a certificate, answered: %v", got)
			}
			if got := ask(false, "unknown"); len(got) != 0 {
				t.Errorf("without a certificate, answered: %v", got)
			}
			write(t, s, encrypted(s, s.Client.Addr6, "", ", allow_insecure: true"))
			reload(t, proxy, "was reloaded", 1)
			for _, certified := range []bool{true, false} {
				if got := ask(certified, "stranger"); len(got) != 0 {
					t.Errorf("a stranger, who shows a certificate that nobody demands: %v; answered: %v", certified, got)
				}
			}
		},
	})
}
