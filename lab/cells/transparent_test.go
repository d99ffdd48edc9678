package cells

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/internet"
)

// ownMark is the mark by which the firewall leaves the program's own packets alone.
const ownMark = 119

// firewalls gives the rules of the documentation, by what stands behind the word nft.
func firewalls(t testing.TB) map[string]string {
	t.Helper()
	doc := string(lab.Must(os.ReadFile("../../docs/transparent.md"))(t))
	all := map[string]string{}
	for _, block := range strings.Split(doc, "```nft ")[1:] {
		word, rules, _ := strings.Cut(block, "\n")
		all[word], _, _ = strings.Cut(rules, "```")
	}
	return all
}

// handsOver starts the program, and makes the firewall of the client's host hand over to it what its programs send.
func handsOver(t *testing.T, s *lab.Scene, mode, rules, more string) {
	t.Helper()
	if rules == "" {
		t.Fatal("the documentation has no rules for it")
	}
	with(func(s *lab.Scene) string {
		listen := "  dns: [127.0.0.1:5353, \"[::1]:5353\"]\n  transparent:\n"
		for _, at := range []string{"127.0.0.1", "[::1]"} {
			listen += fmt.Sprintf("    - {address: %q, mode: %s, udp: %v, mark: %d}\n", at+":8081", mode, mode == "tproxy", ownMark)
		}
		return listen + dot(s) + more
	})(t, s)
	arm(t, s, mode, rules)
}

// arm makes the firewall of the client's host hand over what its programs send.
func arm(t testing.TB, s *lab.Scene, mode, rules string) {
	t.Helper()
	firewall := s.Client.Program("nft", "-f", "-")
	firewall.Stdin = []byte(rules)
	succeeds(t, firewall)
	if mode == "tproxy" {
		for _, family := range []string{"-4", "-6"} {
			succeeds(t, s.Client.Program("ip", family, "rule", "add", "fwmark", "1", "lookup", "100"))
			everything := map[string]string{"-4": "0.0.0.0/0", "-6": "::/0"}[family]
			succeeds(t, s.Client.Program("ip", family, "route", "add", "local", everything, "dev", "lo", "table", "100"))
		}
	}
}

func succeeds(t testing.TB, p *internet.Program) internet.Result {
	t.Helper()
	r := lab.Run(t, p)
	if r.Err != nil || r.Code != 0 {
		t.Fatalf("%s: %v, exit code %d: %s", p.Path, r.Err, r.Code, r.Text())
	}
	return r
}

// unaware is curl that knows of no proxy.
func unaware(s *lab.Scene, more ...string) *internet.Program {
	return s.Client.Program("curl", append([]string{"--silent", "--show-error", "--verbose", "--fail", "--max-time", "15", "--cacert", s.CAFile, "https://" + s.Canary + "/"}, more...)...)
}

func TestTransparent_ProgramsThatKnowOfNoProxy(t *testing.T) {
	lab.Need(t, "nft", "ip")
	for _, mode := range []string{"redirect", "tproxy"} {
		rules := firewalls(t)[mode]
		t.Run(mode+"/control: DNS is not handed over", func(t *testing.T) {
			s := lab.NewScene(t, internet.V4)
			handsOver(t, s, mode, strings.ReplaceAll(rules, "udp } th dport 53 redirect", "udp } th dport 54 redirect"), "")
			if mode == "redirect" {
				succeeds(t, s.Client.Program("nft", "flush", "chain", "inet", "watertight", "filter"))
			} else {
				succeeds(t, s.Client.Program("nft", "insert", "rule", "inet", "watertight", "sent", "udp", "dport", "53", "return"))
			}
			e := s.Gather(t, lab.Run(t, unaware(s)))
			leaks := strings.Join(s.Leaks(e), "\n")
			for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
				if !strings.Contains(leaks, want) {
					t.Errorf("INVALID: a leak went unseen: nothing says %q; what was said:\n%s\n%s", want, leaks, e.Client.Text())
				}
			}
		})
		for _, families := range internet.AllFamilies() {
			t.Run(mode+"/"+string(families), func(t *testing.T) {
				s := lab.NewScene(t, families)
				handsOver(t, s, mode, rules, "policy: {client_resolved: refuse}\n")
				e := s.Gather(t, lab.Run(t, unaware(s)))
				for _, leak := range s.Leaks(e) {
					t.Error("LEAK:", leak)
				}
				if !e.Delivered || e.Client.Code != 0 {
					t.Errorf("the call did not arrive: %s", e.Client.Text())
				}
				if n := s.Resolver.Count(s.Canary, dnswire.A); n != 1 {
					t.Errorf("the channel's resolver was asked %d times", n)
				}
			})
		}
		t.Run(mode+"/an address that nobody gave out", func(t *testing.T) {
			s := lab.NewScene(t, internet.V4)
			handsOver(t, s, mode, rules, "policy: {client_resolved: refuse}\n")
			r := lab.Run(t, unaware(s, "--resolve", s.Canary+":443:"+s.Origin.Addr4.String()))
			_, text := admin(t, s, "/metrics")
			if want := `code="` + string(fault.PolicyClientResolved) + `",door="transparent"} 1`; !strings.Contains(text, want) {
				t.Errorf("it was not counted as one: %s", r.Text())
			}
			e := s.Gather(t, r)
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if e.Delivered || e.Client.Code == 0 {
				t.Errorf("it was not refused: %s", e.Client.Text())
			}
		})
	}
	t.Run("redirect/the doctor sees whether the rules stand", func(t *testing.T) {
		s := lab.NewScene(t, internet.V4)
		handsOver(t, s, "redirect", firewalls(t)["redirect"], "")
		look := func(code int, want string) {
			t.Helper()
			r := watertight(t, s, "doctor", "--json", "--only", "KILL-SWITCH")
			if r.Code != code || !strings.Contains(r.Stdout, want) || strings.Contains(r.Stdout, "the rules of the firewall") {
				t.Errorf("exit code %d and not %d with %q: %s", r.Code, code, want, r.Text())
			}
		}
		look(0, `"findings": []`)
		succeeds(t, s.Client.Program("nft", "flush", "chain", "inet", "watertight", "filter"))
		look(3, "nothing turns datagrams away")
		succeeds(t, s.Client.Program("nft", "delete", "table", "inet", "watertight"))
		look(3, "kernel: nf_tables has 0 rules, none of which hands over to these ports")
	})
	t.Run("redirect/the program is handed its own connections", func(t *testing.T) {
		s := lab.NewScene(t, internet.V4)
		handsOver(t, s, "redirect", strings.ReplaceAll(firewalls(t)["redirect"], "meta mark 119 return", "meta mark 120 return"), "")
		r := lab.Run(t, unaware(s))
		_, text := admin(t, s, "/metrics")
		if want := `code="` + string(fault.PolicyPrivateTarget) + `",door="transparent"}`; !strings.Contains(text, want) {
			t.Errorf("it is not seen as a loop: %s", r.Text())
		}
		e := s.Gather(t, r)
		for _, leak := range s.Leaks(e) {
			t.Error("LEAK:", leak)
		}
		if e.Delivered || e.Client.Code == 0 {
			t.Errorf("it was not refused: %s", e.Client.Text())
		}
	})
	t.Run("the rules for a router can be loaded", func(t *testing.T) {
		s := lab.NewScene(t, internet.Dual)
		firewall := s.Client.Program("nft", "-f", "-")
		firewall.Stdin = []byte(firewalls(t)["router"])
		succeeds(t, firewall)
	})
	for _, families := range internet.AllFamilies() {
		t.Run("tproxy/UDP/"+string(families), func(t *testing.T) {
			s, got := packetScene(t, families)
			handsOver(t, s, "tproxy", firewalls(t)["tproxy"], "policy: {client_resolved: refuse}\n")
			e := s.Gather(t, lab.Run(t, s.Client.Program("python3", "-I", "-c", plainUDP, s.Canary)))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if !strings.Contains(e.Client.Stdout, "answered ping") || len(got.all()) != 1 {
				t.Errorf("it went out %d times and came back as %s", len(got.all()), e.Client.Text())
			}
		})
	}
}

// plainUDP sends a datagram to a name, and hears from that address alone.
const plainUDP = `
import os, socket, sys
family, kind, proto, _, at = socket.getaddrinfo(sys.argv[1], 4433, type=socket.SOCK_DGRAM)[0]
s = socket.socket(family, kind, proto)
s.connect(at)
s.settimeout(float(os.environ.get("PATIENCE", 5)))
for _ in range(int(os.environ.get("TRIES", 3))):
    s.send(b"ping")
    try:
        print("answered", s.recv(100).decode())
        break
    except socket.timeout:
        pass
`
