//go:build elsewhere

package cells

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/doctor"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// elsewhere is the program as it was built for another system, and how it is run on this one.
type elsewhere struct {
	system  string // as `version` has it
	drive   string // what a path of this host begins with there
	program func(s *lab.Scene, args ...string) *internet.Program
	begin   func(t testing.TB, s *lab.Scene)
	home    func(t testing.TB) string // the directory in which `doctor` looks for a user's settings
	doctor  []string                  // arguments beyond its configuration
}

// built gives the program that a variable names.
func built(t testing.TB, variable string) string {
	exe := os.Getenv(variable)
	if exe == "" {
		t.Fatalf("$%s does not name the program", variable)
	}
	return exe
}

// plays runs the program, and lets clients call through it: with every packet captured, as on Linux. Then it resolves, tests
// itself, looks at a host, and loses its resolver.
func plays(t *testing.T, e elsewhere) {
	ends := func(t testing.TB, s *lab.Scene, code int, want string, args ...string) {
		t.Helper()
		if r := lab.Run(t, e.program(s, args...)); r.Err != nil || r.Code != code || !strings.Contains(r.Text(), want) {
			t.Errorf("%v: %v, exit code %d, not %q: %s", args, r.Err, r.Code, want, r.Text())
		}
	}
	run(t, lab.Cell{
		Start: func(t testing.TB, s *lab.Scene) string {
			e.begin(t, s)
			config := write(t, s, strings.ReplaceAll(dot(s), s.Dir, e.drive+s.Dir))
			ends(t, s, 0, e.system, "version")
			ends(t, s, 0, "", "config", "check", "-c", config)
			p := lab.Must(e.program(s, "run", "-c", config).Start(t.Context()))(t)
			if _, err := p.AwaitOutput(t.Context(), "ready: "); err != nil {
				t.Fatalf("%v: %s", err, p.Sofar().Text())
			}
			return lab.ProxyAddress
		},
		After: func(t testing.TB, s *lab.Scene) {
			for i, scheme := range []string{"http", "socks4a", "socks5h"} {
				host := other(s, fmt.Sprint("call", i))
				greeted(t, host, lab.Run(t, through(s, scheme+"://"+lab.ProxyAddress, host)))
			}
			config := filepath.Join(s.Dir, "watertight.yaml")
			ends(t, s, 0, s.Origin.Addr4.String(), "resolve", other(s, "resolve"), "-c", config)
			refused(t, s, "missing-"+s.Label+".example.net", "DNS_NXDOMAIN")
			ends(t, s, 1, `"verdict": "inconclusive"`, "test", "-c", config, "--json") // there is no canary
			audited(t, e.home(t), func() internet.Result {
				return lab.Run(t, e.program(s, append([]string{"doctor", "-c", config, "--json"}, e.doctor...)...))
			})
			fetched(t, s, e, ends)
			for command, want := range map[string]string{"demo": "the network namespaces of Linux", "guard status": "the firewall of Linux"} {
				ends(t, s, 1, want, strings.Fields(command)...)
			}
			ends(t, s, 125, "the namespaces of Linux", "exec", "--", "true")
			transparent := filepath.Join(s.Dir, "transparent.yaml")
			text := "listen: {proxy: \"127.0.0.1:0\", transparent: \"127.0.0.1:0\"}\n" + strings.ReplaceAll(dot(s), s.Dir, e.drive+s.Dir)
			lab.Must(0, os.WriteFile(transparent, []byte(text), 0o600))(t)
			ends(t, s, 1, "only Linux does", "run", "-c", transparent)
			gone(t, s)
			refused(t, s, other(s, "gone"), "RESOLVER_UNREACHABLE")
		},
	})
}

// fetched asks a resolver that proves itself by the authorities of the system, or does not: it shows a certificate without its issuer,
// which says where that can be fetched, and whether it was revoked. Whoever goes there has left the channel.
func fetched(t testing.TB, s *lab.Scene, e elsewhere, ends func(testing.TB, *lab.Scene, int, string, ...string)) {
	t.Helper()
	host := lab.Must(s.AddHost("unknown"))(t)
	s.Permitted = append(s.Permitted, host.Peers(capture.TCP, 853)...)
	cert := s.CA.IssueLeaf(dnstest.Leaf{IPs: host.Addrs(), Fetch: "http://" + other(s, "issuer") + "/ca.crt"})
	cert.Certificate = cert.Certificate[:1]
	l := lab.Must(host.Listen(853))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go func() {
				defer conn.Close()
				_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake()
			}()
		}
	}()
	config := filepath.Join(s.Dir, "unknown.yaml")
	text := fmt.Sprintf("channels: {direct: {resolver: {upstreams: [\"tls://%s\"]}}}\n", host.Addr4)
	lab.Must(0, os.WriteFile(config, []byte(text), 0o600))(t)
	ends(t, s, 1, "unknown authority", "resolve", other(s, "unknown"), "-c", config)
}

// audited looks with every rule at a host whose user has three leaks in his home. Each is found, and nothing else.
func audited(t testing.TB, home string, look func() internet.Result) {
	t.Helper()
	leaks := map[string]string{"CURLRC": "/.curlrc:1: ", "NPMRC": "/.npmrc:1: ", "GIT-SSH": "/src/api/.git/config:2: url = git@github.com:ann/api.git"}
	for name, text := range map[string]string{
		".curlrc":             "proxy = socks5://" + lab.ProxyAddress + "\n",
		".npmrc":              "proxy=socks5://" + lab.ProxyAddress + "\r\n",
		"src/api/.git/config": "[remote \"origin\"]\r\n\turl = git@github.com:ann/api.git\r\n",
	} {
		file := filepath.Join(home, filepath.FromSlash(name))
		lab.Must(0, os.MkdirAll(filepath.Dir(file), 0o755))(t)
		lab.Must(0, os.WriteFile(file, []byte(text), 0o600))(t)
	}
	r := look()
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 3 {
		t.Fatalf("doctor: exit code %d: %v: %s", r.Code, err, r.Text())
	}
	if len(report.Unfinished) > 0 || len(report.Rules) < 30 {
		t.Errorf("doctor: of %d rules these did not finish: %v", len(report.Rules), report.Unfinished)
	}
	for _, f := range report.Findings {
		if evidence := leaks[f.ID]; evidence == "" || !strings.Contains(strings.Join(f.Evidence, "\n"), evidence) {
			t.Errorf("doctor: it should not find %+v", f)
		}
		delete(leaks, f.ID)
	}
	if len(leaks) > 0 {
		t.Errorf("doctor: not found: %v", leaks)
	}
}
