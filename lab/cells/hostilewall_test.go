package cells

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"watertight/lab"
	"watertight/lab/internet"
)

// trying prepares a hostile program to run by itself. Only one that is contained may try every process that it sees: the
// others are of other tests.
func trying(t testing.TB, s *lab.Scene, everybody bool, attacks ...string) *internet.Program {
	t.Helper()
	program := filepath.Join(s.Dir, "hostile.py")
	lab.Must(0, os.WriteFile(program, lab.Must(os.ReadFile("testdata/hostile.py"))(t), 0o644))(t)
	args := []string{"-I", program}
	for _, attack := range attacks {
		args = append(args, attack+"="+s.Label)
	}
	p := s.Client.Program("python3", args...)
	p.Env = append(p.Env, fmt.Sprintf(`HOSTILE={"machine": %d, "everybody": %v, "resolver": %q}`, os.Getpid(), everybody, s.Resolver.Addr4))
	return p
}

// wall lets out of the client's host what Watertight needs here, and nothing else.
const wall = `
table inet wall {
  chain out {
    type filter hook output priority 0; policy drop;
    oifname "lo" accept
    tcp dport { 443, 853 } accept
    meta l4proto ipv6-icmp accept
  }
}
`

// A firewall that looks at what programs send does not see what they put onto the link themselves.
func TestHostile_PacketsPastAFirewallAreNotSent(t *testing.T) {
	lab.Need(t, "python3", "nft")
	walled := func(t *testing.T) *lab.Scene {
		s := lab.NewScene(t, internet.Dual)
		firewall := s.Client.Program("nft", "-f", "-")
		firewall.Stdin = []byte(wall)
		succeeds(t, firewall)
		return s
	}
	t.Run("control: the firewall holds what is sent in the usual way", func(t *testing.T) {
		s := walled(t)
		e := s.Gather(t, lab.Run(t, trying(t, s, false, "DNS over UDP", "DNS over UDP and IPv6", "STUN", "QUIC", "mDNS")))
		for _, leak := range s.Leaks(e) {
			t.Errorf("INVALID: it lets through: %s\n%s", leak, e.Client.Text())
		}
	})
	t.Run("control: a packet socket passes it", func(t *testing.T) {
		s := walled(t)
		e := s.Gather(t, lab.Run(t, trying(t, s, false, "a packet socket")))
		if leaks := s.Leaks(e); !strings.Contains(strings.Join(leaks, "\n"), "the name, as") {
			t.Errorf("INVALID: it was not seen to pass: %q\n%s", leaks, e.Client.Text())
		}
	})
	t.Run("contained", func(t *testing.T) {
		s := walled(t)
		exec := contained(t, s, dot(s))
		e := s.Gather(t, lab.Run(t, within(t, s, exec, "a packet socket", "a raw socket", "a ping")))
		for _, leak := range s.Leaks(e) {
			t.Error("LEAK:", leak)
		}
		if !strings.Contains(e.Client.Text(), "a packet socket: OSError: [Errno 97]") {
			t.Errorf("it was not refused: %s", e.Client.Text())
		}
	})
}

// within puts a hostile program behind the command line of `watertight exec`.
func within(t testing.TB, s *lab.Scene, exec *internet.Program, attacks ...string) *internet.Program {
	t.Helper()
	p := trying(t, s, true, attacks...)
	exec.Args = append(append(exec.Args, p.Path), p.Args...)
	exec.Env = append(exec.Env, p.Env...)
	return exec
}

// Whatever it tries, of a contained program the host sends nothing but to the channel's resolver.
func TestHostile_NothingElseIsSentForAContainedProgram(t *testing.T) {
	lab.Need(t, "python3")
	lab.NeedPython(t, python3, "pycares")
	var attacks []string
	for _, h := range hostiles {
		if h.row != "G1" && h.row != "G3" && h.row != "G9" && h.attack != "static Go" { // those need a host with more on it
			attacks = append(attacks, h.attack)
		}
	}
	s := lab.NewScene(t, internet.Dual)
	e := s.Gather(t, lab.Run(t, within(t, s, contained(t, s, dot(s)), attacks...)))
	for _, leak := range s.Leaks(e) {
		t.Error("LEAK:", leak)
	}
	if n := strings.Count(e.Client.Stdout, "\n"); n < len(attacks) {
		t.Errorf("%d of %d ran: %s", n, len(attacks), e.Client.Text())
	}
	for _, attack := range []string{"DNS over UDP", "DNS over TCP", "TCP fast open"} {
		if !strings.Contains("\n"+e.Client.Stdout, "\n"+attack+": b'") {
			t.Errorf("%s was not answered: %s", attack, e.Client.Text())
		}
	}
}
