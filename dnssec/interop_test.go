package dnssec

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/lab"
)

// spoiled is a world in which much is wrong, around the moment at.
func spoiled(t *testing.T, at time.Time) *world {
	t.Helper()
	w := newWorld(t)
	for _, z := range w.zones {
		z.inception, z.expiration = at.Add(-24*time.Hour), at.Add(24*time.Hour)
	}
	sub := func(apex string, algorithm uint8, change func(*testZone)) {
		z := newZone(t, apex, algorithm, stock)
		z.inception, z.expiration = at.Add(-24*time.Hour), at.Add(24*time.Hour)
		if change != nil {
			change(z)
		}
		w.zones[apex] = z
	}
	sub("expired.example.", dns.ED25519, func(z *testZone) { z.inception, z.expiration = at.Add(-10*day), at.Add(-5*day) })
	sub("early.example.", dns.ED25519, func(z *testZone) { z.inception, z.expiration = at.Add(5*day), at.Add(10*day) })
	sub("rolled.example.", dns.ED25519, nil)
	sub("nods.example.", dns.ED25519, nil)
	sub("sub.rsa.example.", dns.ED25519, nil)
	sub("sub.ed.example.", dns.ED25519, nil)
	sub("many.example.", dns.ED25519, func(z *testZone) { z.hashed, z.iterations = true, 151 })
	w.link(t)
	delete(w.zones["example."].sets["nods.example."], dns.TypeDS)
	w.zones["rolled.example."].ksk = newKey(t, "rolled.example.", dns.ED25519, 257, 7)
	for _, z := range w.zones {
		z.sign(t)
	}
	return w
}

// spoiledQuestions are those on which the judges have to agree, in zones where they may differ from one to the next.
func spoiledQuestions() []dnswire.Question {
	var list []dnswire.Question
	for _, apex := range append([]string{
		"plain.example.", "plain.top.", "signed.top.", "under.plain.example.", "expired.example.", "early.example.",
		"rolled.example.", "nods.example.", "sub.rsa.example.", "sub.ed.example.", "many.example.",
	}, leaves...) {
		for _, c := range questions {
			if strings.Contains(c.q, "ANY") || strings.Contains(c.q, "lame") {
				continue
			}
			list = append(list, question(strings.Replace(strings.Replace(c.q, "@ ", apex+" ", 1), " ", "."+apex+" ", btoi(!strings.HasPrefix(c.q, "@")))))
		}
	}
	return list
}

// ours judges what the world answers, after tamper.
func (w *world) ours(t *testing.T, v *Validator, q dnswire.Question) Result {
	t.Helper()
	return w.judge(t, v, q, func(m *dns.Msg) {
		if w.tamper != nil {
			w.tamper(q, m)
		}
	})
}

// tampers are what may happen to answers on the way.
var tampers = map[string]func(dnswire.Question, *dns.Msg){
	"as they are": nil,
	"without signatures over addresses": func(_ dnswire.Question, m *dns.Msg) {
		var kept []dns.RR
		for _, r := range m.Answer {
			if sig, ok := r.(*dns.RRSIG); !ok || sig.TypeCovered != dns.TypeA {
				kept = append(kept, r)
			}
		}
		m.Answer = kept
	},
	"without proofs": func(q dnswire.Question, m *dns.Msg) {
		if q.Type != dnswire.DS {
			drop(dns.TypeNSEC)(m)
			drop(dns.TypeNSEC3)(m)
		}
	},
	"with other addresses": func(_ dnswire.Question, m *dns.Msg) {
		for i, r := range m.Answer {
			if a, ok := r.(*dns.A); ok {
				a = dns.Copy(a).(*dns.A)
				a.A[len(a.A)-1] ^= 0x40
				m.Answer[i] = a
			}
		}
	},
	"with one proof less": func(q dnswire.Question, m *dns.Msg) {
		gone := "" // the owner of the first proof, which loses its signature too
		var kept []dns.RR
		for _, r := range m.Ns {
			h := r.Header()
			_, isSig := r.(*dns.RRSIG)
			proof := h.Rrtype == dns.TypeNSEC || h.Rrtype == dns.TypeNSEC3
			if gone == "" && proof && q.Type != dnswire.DS {
				gone = h.Name
			}
			if gone == "" || h.Name != gone || !proof && !isSig {
				kept = append(kept, r)
			}
		}
		m.Ns = kept
	},
	"as if nothing were there": func(q dnswire.Question, m *dns.Msg) {
		if q.Type != dnswire.DS && q.Type != dnswire.DNSKEY && len(m.Answer) == 0 {
			m.Rcode ^= dns.RcodeNameError
		}
	},
}

var unbounds atomic.Uint32

// startUnbound starts unbound over the resolver at, with the world's root as its anchor, and gives its address.
func startUnbound(t *testing.T, w *world, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	n := unbounds.Add(1)
	own := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 83, byte(os.Getpid()), byte(n)}), 5300)
	more := fmt.Sprintf("  do-tcp: no\n  val-override-date: \"%s\"\n  trust-anchor: \"%s\"\n  module-config: \"validator iterator\"\n",
		noon.Format("20060102150405"), w.zones["."].ds(dns.SHA256))
	over := fmt.Sprintf("forward-zone:\n  name: \".\"\n  forward-addr: %s@%d\n", at.Addr(), at.Port())
	background(t, "unbound", "-d", "-p", "-c", unboundConf(t, own, more, over))
	return own
}

// askOver puts q over UDP with DO, again and again until there is an answer.
func askOver(t *testing.T, to netip.AddrPort, q dnswire.Question) *dns.Msg {
	t.Helper()
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	query := new(dns.Msg).SetQuestion(dns.Fqdn(q.Name), uint16(q.Type)).SetEdns0(4096, true)
	wire, err := query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65535)
	for range 100 {
		_, _ = conn.Write(wire)
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := conn.Read(buf)
		if err != nil {
			if err, ok := err.(net.Error); !ok || !err.Timeout() { // refused: the server has not begun
				<-time.After(20 * time.Millisecond)
			}
			continue
		}
		var m dns.Msg
		if m.Unpack(buf[:n]) == nil && m.Id == query.Id {
			return &m
		}
	}
	t.Fatalf("no answer to %v", q)
	return nil
}

// explained gives the reason of a difference from unbound's verdict, or nothing. In each we are the stricter ones.
func (w *world) explained(q dnswire.Question, theirs *dns.Msg, ours Result) string {
	sent := w.reply(q)
	if w.tamper != nil {
		w.tamper(q, sent)
	}
	z := w.zoneOf(dns.Fqdn(q.Name), uint16(q.Type))
	for _, r := range sent.Answer {
		if c, ok := r.(*dns.CNAME); ok {
			z = w.zoneOf(c.Target, uint16(q.Type))
		}
	}
	switch {
	case ours.State != Bogus || ours.EDE != EDENSECMissing:
		return ""
	case theirs.AuthenticatedData && sent.Rcode == dns.RcodeNameError && theirs.Rcode == dns.RcodeSuccess:
		return "unbound corrects a response code that the proofs contradict, and goes on; we do not rewrite answers"
	case !theirs.AuthenticatedData && theirs.Rcode != dns.RcodeServerFailure && (z.optOut || z.iterations > maxIterations):
		return "without a proof unbound asks for the DS of the name itself and finds it opted out, or hashed too often; we hold the zone that signed the SOA to its word"
	}
	return ""
}

func TestUnboundJudgesTheSame(t *testing.T) {
	lab.Need(t, "unbound")
	for name, tamper := range tampers {
		t.Run(name, func(t *testing.T) {
			w := spoiled(t, noon)
			w.tamper = tamper
			server := startUnbound(t, w, w.serve(t))
			v := w.validator(t, Options{})
			count := map[State]int{}
			for _, q := range spoiledQuestions() {
				if q.Type == dnswire.DNSKEY {
					continue // asked before as a part of the chain: what comes is what was kept
				}
				m := askOver(t, server, q)
				theirs := Insecure
				switch {
				case m.Rcode == dns.RcodeServerFailure:
					theirs = Bogus
				case m.AuthenticatedData:
					theirs = Secure
				}
				ours := w.ours(t, v, q)
				if ours.State != theirs && w.explained(q, m, ours) == "" {
					t.Errorf("%v: unbound says %v, we say %v: %s", q, theirs, ours.State, ours.Reason)
				}
				count[theirs]++
			}
			if count[Secure] == 0 || count[Insecure] == 0 || count[Bogus] == 0 {
				t.Errorf("unbound's verdicts: %v", count)
			}
		})
	}
}

func TestDelvJudgesTheSame(t *testing.T) {
	lab.Need(t, "delv")
	now := time.Now()
	w := spoiled(t, now)
	at := w.serve(t)
	ksk := w.zones["."].ksk
	anchors := filepath.Join(t.TempDir(), "anchors")
	text := fmt.Sprintf("trust-anchors { . static-key %d %d %d %q; };\n", ksk.Flags, ksk.Protocol, ksk.Algorithm, ksk.PublicKey)
	if err := os.WriteFile(anchors, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v := w.validator(t, Options{Now: func() time.Time { return now }})
	count := map[State]int{}
	for i, q := range spoiledQuestions() {
		if i%3 != 0 { // each costs a process
			continue
		}
		theirs, out := delv(t.Context(), at, anchors, q)
		ours := w.ours(t, v, q)
		if theirs == Secure && ours.State == Insecure && strings.Contains(ours.Reason, "opt-out") {
			continue // BIND takes what opt-out leaves open for proven; RFC 5155, section 9.2, and unbound do not
		}
		if ours.State != theirs {
			t.Errorf("%v: delv says %v, we say %v: %s\n%s", q, theirs, ours.State, ours.Reason, out)
		}
		count[theirs]++
	}
	if count[Secure] == 0 || count[Insecure] == 0 || count[Bogus] == 0 {
		t.Errorf("delv's verdicts: %v", count)
	}
}

// delv gives the verdict of BIND's tool: the worst of what it says of the links.
func delv(ctx context.Context, at netip.AddrPort, anchors string, q dnswire.Question) (State, string) {
	cmd := exec.CommandContext(ctx, "delv", "@"+at.Addr().String(), "-p", fmt.Sprint(at.Port()), "-4", "-a", anchors, "+root=.", "-t", q.Type.String(), "-q", dns.Fqdn(q.Name))
	b, _ := cmd.CombinedOutput()
	out := string(b)
	switch {
	case strings.Contains(out, "resolution failed") && !strings.Contains(out, "ncache"):
		return Bogus, out
	case strings.Contains(out, "unsigned answer"), strings.Contains(out, "negative response, unsigned"):
		return Insecure, out
	case strings.Contains(out, "fully validated"):
		return Secure, out
	}
	return Indeterminate, out
}
