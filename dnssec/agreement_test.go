package dnssec

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/zones"
)

// content is what every zone of the comparison holds. Below `insec` nothing is signed.
const content = `
www A 192.0.2.1
www A 192.0.2.2
www TXT "hello"
alias CNAME www
far CNAME www.other.example.
*.wild A 192.0.2.3
b.a.ent A 192.0.2.5
dname DNAME target
x.target A 192.0.2.6
insec NS ns.insec
ns.insec A 192.0.2.53
zz A 192.0.2.8
`

// Questions about a zone, relative to its apex: each of them costs a process of delv.
var (
	everyQuestion = []string{
		"@ SOA", "@ DNSKEY", "@ DS", "www A", "www AAAA", "alias A", "far A", "any.wild A", "any.wild AAAA", "ent A", "x.dname A",
		"y.dname A", "nothere A", "insec DS",
	}
	kindsOfProof = []string{"@ SOA", "www A", "www AAAA", "any.wild A", "any.wild AAAA", "x.dname A", "nothere A", "insec DS"}
	kindsOfFault = []string{"@ DNSKEY", "@ DS", "www A", "www AAAA", "far A", "x.dname A", "nothere A"}
)

// subject is a zone, what is to be found of it by construction, and why.
type subject struct {
	zones.Zone
	what string
	asks []string
	want State
	// but are questions whose answer is of another state than want.
	but map[string]State
}

// subjects are the zones that are judged: every algorithm with every kind of proof by every signer, and what goes wrong.
func subjects() []subject {
	day := 24 * time.Hour
	now := time.Now()
	var list []subject
	for _, signer := range []zones.Signer{zones.LDNS, zones.BIND} {
		for number, algorithm := range map[int]string{8: "RSASHA256", 13: "ECDSAP256SHA256", 14: "ECDSAP384SHA384", 15: "ED25519"} {
			for i, denial := range []zones.Denial{zones.NSEC, zones.NSEC3, zones.OptOut} {
				s := subject{
					Zone: zones.Zone{Apex: fmt.Sprintf("%c%dn%d.example.", signer[0]|0x20, number, i), Algorithm: algorithm, Denial: denial, Signer: signer},
					what: fmt.Sprintf("%s, algorithm %d, %s", signer, number, denial), asks: kindsOfProof, want: Secure,
				}
				if denial == zones.OptOut {
					s.but = map[string]State{"nothere A": Insecure, "any.wild A": Insecure, "any.wild AAAA": Insecure, "y.dname A": Insecure}
					if signer == zones.BIND { // ldns lists unsigned delegations all the same
						s.but["insec DS"] = Insecure
					}
				}
				list = append(list, s)
			}
		}
	}
	one := func(apex, what string, want State, change func(*zones.Zone)) {
		z := zones.Zone{Apex: apex + ".example.", Algorithm: "ECDSAP256SHA256"}
		if change != nil {
			change(&z)
		}
		list = append(list, subject{Zone: z, what: what, asks: kindsOfFault, want: want})
	}
	one("other", "where aliases lead", Secure, nil)
	one("insecure", "insecure delegation: not signed", Insecure, func(z *zones.Zone) { z.Algorithm = "" })
	one("missing", "missing DS: signed, and its parent does not say so", Insecure, func(z *zones.Zone) { z.NoDS = true })
	one("island.insecure", "signed below a zone that is not", Insecure, nil)
	one("hidden.b13n2", "not signed, and left out by its parent's opt-out", Insecure, func(z *zones.Zone) { z.Algorithm = "" })
	one("child.b13n2", "signed, below an opt-out zone", Secure, nil)
	one("expired", "expired", Bogus, func(z *zones.Zone) { z.From, z.Until = now.Add(-20*day), now.Add(-10*day) })
	one("early", "not yet valid", Bogus, func(z *zones.Zone) { z.From, z.Until = now.Add(10*day), now.Add(20*day) })
	one("wrong", "wrong key: signed by one that it does not publish", Bogus, func(z *zones.Zone) { z.ThirdParty = true })
	list[len(list)-1].but = map[string]State{"@ DNSKEY": Secure}
	one("rolled", "rolled KSK, and its parent still has the DS of the old one", Bogus, func(z *zones.Zone) { z.OtherDS = true })
	one("rolling", "rolled KSK half way: both sign, and the parent has the DS of one", Secure, func(z *zones.Zone) { z.SecondKSK = true })
	one("stripped", "keys without a signature", Bogus, func(z *zones.Zone) { z.Spoil = zones.Without("RRSIG", "DNSKEY") })
	one("h1", "NSEC3 with 1 iteration", Secure, func(z *zones.Zone) { z.Denial, z.Iterations = zones.NSEC3, 1 })
	one("h100", "NSEC3 with 100 iterations", Secure, func(z *zones.Zone) { z.Denial, z.Iterations = zones.NSEC3, 100 })
	one("ed448", "algorithm 16, which is not checked here", Insecure, func(z *zones.Zone) { z.Algorithm = "ED448" })
	one("sha1", "algorithm 5, which validators no longer check (RFC 9905)", Insecure, func(z *zones.Zone) { z.Algorithm = "RSASHA1" })
	// Too many iterations make the proofs insecure, and leave the data secure (RFC 9276, section 3.2).
	for n, want := range map[int]State{101: Insecure, 151: Insecure, 501: Bogus} {
		one(fmt.Sprintf("h%d", n), fmt.Sprintf("NSEC3 with %d iterations", n), Secure, func(z *zones.Zone) { z.Denial, z.Iterations = zones.NSEC3, n })
		s := &list[len(list)-1]
		s.asks, s.but = everyQuestion, map[string]State{"www AAAA": want, "any.wild A": want, "any.wild AAAA": want, "ent A": want, "y.dname A": want, "nothere A": want, "insec DS": want}
	}
	// One record is wrong, and the rest of the zone is not.
	one("forged", "one address changed after it was signed", Secure, func(z *zones.Zone) { z.Spoil = zones.Replaced("192.0.2.2", "192.0.2.66", "A", "192.0.2.2") })
	list[len(list)-1].asks, list[len(list)-1].but = everyQuestion, map[string]State{"www A": Bogus, "alias A": Bogus}
	one("bare", "one signature taken away", Secure, func(z *zones.Zone) {
		z.Spoil = func(lines []string) []string {
			return slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "www.bare.") && strings.Contains(l, "\tRRSIG\tA ") })
		}
	})
	list[len(list)-1].asks, list[len(list)-1].but = everyQuestion, map[string]State{"www A": Bogus, "alias A": Bogus}
	return list
}

// at gives the state that a question of a subject has by construction.
func (s *subject) at(q string) State {
	if want, ok := s.but[q]; ok {
		return want
	}
	switch {
	case q == "@ DS" && s.what != "signed below a zone that is not" && !strings.HasPrefix(s.what, "not signed, and"):
		return Secure // the parent's word
	case q == "far A" && s.want == Insecure:
		return Insecure
	}
	return s.want
}

// difference is a disagreement that has a reason. In each, ours is the stricter or the more cautious verdict.
type difference struct {
	judge, why string
	is         func(s *subject, ours Result, theirs State) bool
}

var differences = []difference{
	{"any", "algorithm 16 is not in the message library, so that what it signs counts as not signed (RFC 4035, section 5.2)", func(s *subject, ours Result, theirs State) bool {
		return s.Algorithm == "ED448" && ours.State == Insecure && ours.EDE == EDEUnsupportedAlgorithm && theirs == Secure
	}},
	{"any", "what rests on SHA-1 counts as not signed (RFC 9905)", func(s *subject, ours Result, theirs State) bool {
		return s.Algorithm == "RSASHA1" && ours.State == Insecure && ours.EDE == EDEUnsupportedAlgorithm && theirs == Secure
	}},
	{"any", "proofs of more than 100 iterations count as none, and of more than 500 as an attack; others draw the line at 50 or 150 and stop at insecure (RFC 9276, section 3.2)", func(s *subject, ours Result, theirs State) bool {
		return s.Iterations > maxIterations && ours.EDE == EDEUnsupportedIterations && (theirs == Secure || theirs == Insecure)
	}},
	{"delv", "BIND takes what opt-out leaves open for proven; RFC 5155, section 9.2, and unbound do not", func(s *subject, ours Result, theirs State) bool {
		return theirs == Secure && ours.State == Insecure && strings.Contains(ours.Reason, "opt-out")
	}},
}

// served are servers over a world of real zones: nsd, and unbound over it twice.
type served struct {
	plain      netip.AddrPort // it resolves, and validates nothing
	validating netip.AddrPort
}

// own gives an address of this process on loopback: the ports of different processes do not meet.
func own(port uint16) netip.AddrPort {
	n := unbounds.Add(1)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 83, byte(os.Getpid()), byte(n)}), port)
}

// serveReal serves zones as they are served: by nsd, which knows them, behind unbound, which is asked.
func serveReal(t *testing.T, w *zones.World) served {
	t.Helper()
	authority := own(5301)
	background(t, "nsd", "-d", "-c", w.NSD(int(authority.Port()), authority.Addr().String()))
	s := served{plain: own(5302), validating: own(5303)}
	var below strings.Builder // each zone by itself: its name server is not where its address record says
	for apex := range w.Files {
		fmt.Fprintf(&below, "stub-zone:\n  name: %q\n  stub-addr: %s@%d\n  stub-prime: no\n", apex, authority.Addr(), authority.Port())
	}
	background(t, "unbound", "-d", "-p", "-c", unboundConf(t, s.plain, "  module-config: \"iterator\"\n", below.String()))
	over := fmt.Sprintf("forward-zone:\n  name: \".\"\n  forward-addr: %s@%d\n", s.plain.Addr(), s.plain.Port())
	background(t, "unbound", "-d", "-p", "-c", unboundConf(t, s.validating, fmt.Sprintf("  module-config: \"validator iterator\"\n  trust-anchor: %q\n", w.Anchor), over))
	return s
}

// unboundConf writes a configuration of unbound at an address; more stands in its section server, and below it.
func unboundConf(t *testing.T, at netip.AddrPort, more, below string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "unbound.conf")
	text := fmt.Sprintf(`server:
  directory: %q
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 0
  num-threads: 1
  interface: %s@%d
  do-ip6: no
  do-not-query-localhost: no
  edns-buffer-size: 8192
  max-udp-size: 8192
  aggressive-nsec: no
  prefetch-key: no
  minimal-responses: no
  qname-minimisation: no
  harden-below-nxdomain: no
  val-max-restart: 0
  val-log-level: 2
%sremote-control:
  control-enable: no
%s`, dir, at.Addr(), at.Port(), more, below)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// background runs a program until the test ends.
func background(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if path, err := exec.LookPath("/usr/sbin/" + args[0]); err == nil {
		cmd.Path, cmd.Err = path, nil
	}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(args[0], "wrote:", out.String())
		}
	})
}

// count is how one zone fared.
type count struct {
	states                     [4]int
	agree, explained, disagree map[string]int
}

// Every answer of zones that real tools signed, served by nsd behind unbound: what we say of it, what unbound says, and
// what BIND's delv says.
func TestUnboundAndDelvAgreeAboutEveryAnswerOfZonesThatOthersSigned(t *testing.T) {
	lab.Need(t, append([]string{"nsd", "unbound", "delv"}, zones.Tools...)...)
	list := subjects()
	all := []zones.Zone{{Apex: ".", Algorithm: "RSASHA256"}, {Apex: "example.", Algorithm: "ECDSAP256SHA256"}}
	for i := range list {
		list[i].Records = content
		all = append(all, list[i].Zone)
	}
	w := zones.Make(t, "127.0.0.1", all)
	servers := serveReal(t, w)
	anchor, err := ParseAnchor(w.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(_ context.Context, q dnswire.Question) ([]byte, error) {
		return askOver(t, servers.plain, q).Pack()
	}
	v, err := New(Options{Anchors: []Anchor{anchor}}, ask)
	if err != nil {
		t.Fatal(err)
	}
	key, err := dns.NewRR(w.Key)
	if err != nil {
		t.Fatal(err)
	}
	k := key.(*dns.DNSKEY)
	anchors := filepath.Join(t.TempDir(), "anchors")
	text := fmt.Sprintf("trust-anchors { . static-key %d %d %d %q; };\n", k.Flags, k.Protocol, k.Algorithm, k.PublicKey)
	if err := os.WriteFile(anchors, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	for _, at := range []netip.AddrPort{servers.plain, servers.validating} { // it fails here where one does not run
		askOver(t, at, question("example SOA"))
	}

	var mu sync.Mutex
	counts := make([]count, len(list))
	for i := range counts {
		counts[i] = count{agree: map[string]int{}, explained: map[string]int{}, disagree: map[string]int{}}
	}
	var wg sync.WaitGroup
	room := make(chan struct{}, 6)
	for i := range list {
		s, c := &list[i], &counts[i]
		for _, text := range s.asks {
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				q := question(strings.Replace(strings.Replace(text, "@ ", s.Apex+" ", 1), " ", "."+s.Apex+" ", btoi(text[0] != '@')))
				m := askOver(t, servers.plain, q)
				if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
					t.Errorf("%s: the resolver below says %s", q, dns.RcodeToString[m.Rcode])
					return
				}
				wire, err := m.Pack()
				if err != nil {
					t.Error(err)
					return
				}
				ours, err := v.Validate(t.Context(), q, wire)
				if err != nil {
					t.Errorf("%v: %v", q, err)
					return
				}
				verdicts := map[string]State{"unbound": unboundSays(askOver(t, servers.validating, q))}
				said := ""
				verdicts["delv"], said = delv(t.Context(), servers.plain, anchors, q)
				mu.Lock()
				defer mu.Unlock()
				c.states[ours.State]++
				if want := s.at(text); ours.State != want {
					t.Errorf("%s: %v: we say %v, and it is %v by construction: %s", s.what, q, ours.State, want, ours.Reason)
				}
				for judge, theirs := range verdicts {
					switch {
					case theirs == ours.State:
						c.agree[judge]++
					case explained(judge, s, ours, theirs) != "":
						c.explained[judge]++
					default:
						c.disagree[judge]++
						t.Errorf("%s: %v: %s says %v, we say %v: %s\n%s", s.what, q, judge, theirs, ours.State, ours.Reason, said)
					}
				}
			})
		}
	}
	wg.Wait()
	t.Log("\n" + tableOf(list, counts))
}

func unboundSays(m *dns.Msg) State {
	switch {
	case m.Rcode == dns.RcodeServerFailure:
		return Bogus
	case m.AuthenticatedData:
		return Secure
	}
	return Insecure
}

func explained(judge string, s *subject, ours Result, theirs State) string {
	for _, d := range differences {
		if (d.judge == "any" || d.judge == judge) && d.is(s, ours, theirs) {
			return d.why
		}
	}
	return ""
}

// tableOf shows the agreement zone by zone.
func tableOf(list []subject, counts []count) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-68s %6s %8s %5s | %-22s | %s\n", "zone", "secure", "insecure", "bogus", "unbound agrees", "delv agrees")
	total := count{agree: map[string]int{}, explained: map[string]int{}}
	row := func(what string, c count) {
		side := func(judge string) string {
			n := c.agree[judge] + c.explained[judge] + c.disagree[judge]
			if c.explained[judge] > 0 {
				return fmt.Sprintf("%d of %d, %d explained", c.agree[judge], n, c.explained[judge])
			}
			return fmt.Sprintf("%d of %d", c.agree[judge], n)
		}
		fmt.Fprintf(&b, "%-68s %6d %8d %5d | %-22s | %s\n", what, c.states[Secure], c.states[Insecure], c.states[Bogus], side("unbound"), side("delv"))
	}
	for i, s := range list {
		row(s.what, counts[i])
		for state, n := range counts[i].states {
			total.states[state] += n
		}
		for judge := range counts[i].agree {
			total.agree[judge] += counts[i].agree[judge]
		}
		for judge := range counts[i].explained {
			total.explained[judge] += counts[i].explained[judge]
		}
	}
	row("all", total)
	for _, d := range differences {
		fmt.Fprintf(&b, "explained (%s): %s\n", d.judge, d.why)
	}
	return b.String()
}
