package cells

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/internet"
)

// resolvesAlone is a program that looks the canary up in each way that programs have, and connects to nobody.
const resolvesAlone = `
dig +short +tries=1 "$1" A; dig +short +tries=1 "$1" AAAA
dig +short +tcp +tries=1 "@$2" "$1" A; dig +short +tries=1 "@$2" "$1" A
python3 -I -c 'import socket, sys; print(socket.getaddrinfo(sys.argv[1], 443)[0][4][0])' "$1"
`

// flagged gives `watertight exec` flags.
func flagged(p *internet.Program, flags ...string) *internet.Program {
	p.Args = slices.Insert(p.Args, slices.Index(p.Args, "exec")+1, flags...)
	return p
}

func TestExec_ANameHasAnAddressAndNobodyIsAskedForIt(t *testing.T) {
	lab.Need(t, "dig", "python3")
	t.Run("control: the same program, uncontained", func(t *testing.T) {
		s := lab.NewScene(t, internet.V4)
		e := s.Gather(t, lab.Run(t, s.Client.Program("sh", "-c", resolvesAlone, "sh", s.Canary, s.Resolver.Addr4.String())))
		leaks := strings.Join(s.Leaks(e), "\n")
		for _, want := range []string{"a packet outside", "the name, as", "the provider was asked", "the authority was asked by a stranger"} {
			if !strings.Contains(leaks, want) {
				t.Errorf("INVALID: a leak went unseen: nothing says %q; what was said:\n%s\n%s", want, leaks, e.Client.Text())
			}
		}
	})
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			s := lab.NewScene(t, families)
			e := s.Gather(t, lab.Run(t, contained(t, s, dot(s), "sh", "-c", resolvesAlone, "sh", s.Canary, "203.0.113.53")))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			lines := strings.Fields(e.Client.Stdout)
			if e.Client.Code != 0 || len(lines) != 5 || !netip.MustParsePrefix("198.18.0.0/15").Contains(netip.MustParseAddr(lines[0])) || lines[2] != lines[0] || lines[3] != lines[0] {
				t.Errorf("it found %q: %s", lines, e.Client.Text())
			}
			if n := s.Resolver.Count(s.Canary, dnswire.A) + s.Resolver.Count(s.Canary, dnswire.AAAA); n != 0 || len(e.Authority) > 0 {
				t.Errorf("the channel's resolver was asked %d times, and the authority %d", n, len(e.Authority))
			}
		})
	}
}

func TestExec_DatagramsAreCarriedOrTheirSenderIsToldAtOnce(t *testing.T) {
	lab.Need(t, "python3")
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			s, got := packetScene(t, families)
			e := s.Gather(t, lab.Run(t, contained(t, s, dot(s), "python3", "-I", "-c", plainUDP, s.Canary)))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if !strings.Contains(e.Client.Stdout, "answered ping") || len(got.all()) != 1 {
				t.Errorf("it went out %d times and came back as %s", len(got.all()), e.Client.Text())
			}
		})
	}
	t.Run("to an address that nobody gave out", func(t *testing.T) {
		s, got := packetScene(t, internet.V4)
		program := flagged(contained(t, s, dot(s), "python3", "-I", "-c", plainUDP, s.Origin.Addr4.String()), "--log-level", "info")
		e := s.Gather(t, lab.Run(t, program))
		for _, leak := range s.Leaks(e) {
			t.Error("LEAK:", leak)
		}
		if !strings.Contains(e.Client.Text(), "ConnectionRefusedError") || !strings.Contains(e.Client.Text(), string(fault.PolicyClientResolved)) || len(got.all()) > 0 {
			t.Errorf("it went out %d times and came back as %s", len(got.all()), e.Client.Text())
		}
	})
}

func TestExec_AResolverOfTheProgramsOwnIsRefused(t *testing.T) {
	lab.Need(t, "kdig")
	t.Run("control: uncontained, it is asked", func(t *testing.T) {
		s := lab.NewScene(t, internet.V4)
		r := lab.Run(t, s.Client.Program("kdig", "+tls", "+timeout=3", "+retry=0", "@"+s.Resolver.Addr4.String(), s.Canary))
		if n := s.Resolver.Count(s.Canary, dnswire.A); n == 0 {
			t.Errorf("INVALID: it was not asked: %s", r.Text())
		}
	})
	for _, how := range []string{"+tls", "+quic"} {
		t.Run(how, func(t *testing.T) {
			s := lab.NewScene(t, internet.V4)
			kdig := []string{"kdig", how, "+timeout=3", "+retry=0", "@" + s.Resolver.Addr4.String(), s.Canary}
			e := s.Gather(t, lab.Run(t, flagged(contained(t, s, dot(s), kdig...), "--log-level", "info")))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if n := s.Resolver.Count(s.Canary, dnswire.A); n != 0 || !strings.Contains(e.Client.Text(), string(fault.PolicyForeignResolver)) {
				t.Errorf("it was asked %d times: %s", n, e.Client.Text())
			}
		})
	}
}

func TestExec_WithRealAddressesTheNameIsStillWhatIsCarried(t *testing.T) {
	lab.Need(t, "dig")
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			s := lab.NewScene(t, families)
			const script = `dig +short "$1" A; dig +short "$1" AAAA; exec curl --silent --show-error --fail --max-time 15 --cacert "$2" "https://$1/"`
			e := s.Gather(t, lab.Run(t, flagged(contained(t, s, dot(s), "sh", "-c", script, "sh", s.Canary, s.CAFile), "--real-addresses")))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			found := strings.Fields(e.Client.Stdout)
			if len(found) == 0 || found[0] != s.Origin.Addr4.String() && found[0] != s.Origin.Addr6.String() {
				t.Errorf("it found %q", found)
			}
			if !e.Delivered || e.Client.Code != 0 {
				t.Errorf("the call did not arrive: %s", e.Client.Text())
			}
		})
	}
}

// Where a proxy carries connections alone, datagrams are refused at once; and where it resolves, nobody else does.
func TestExec_ThroughAProxyNothingIsResolvedBeforeIt(t *testing.T) {
	lab.Need(t, "python3")
	const script = `python3 -I -c "$1" "$2"; exec curl --silent --show-error --fail --max-time 15 --cacert "$3" "https://$2/"`
	for _, resolve := range []string{"here", "exit"} {
		t.Run("resolve: "+resolve, func(t *testing.T) {
			s := lab.NewScene(t, internet.V4)
			far := &farChannel{kind: kinds[1]}
			far.arrange(t, s)
			if resolve == "exit" {
				s.Asking = []*internet.Host{far.hop.Host}
			}
			e := s.Gather(t, lab.Run(t, contained(t, s, far.config(s, resolve), "sh", "-c", script, "sh", plainUDP, s.Canary, s.CAFile)))
			for _, leak := range s.Leaks(e) {
				t.Error("LEAK:", leak)
			}
			if !e.Delivered || e.Client.Code != 0 || !strings.Contains(e.Client.Text(), "ConnectionRefusedError") {
				t.Errorf("the call did not arrive, or its datagram was not refused: %s", e.Client.Text())
			}
		})
	}
}
