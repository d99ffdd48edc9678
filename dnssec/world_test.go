package dnssec

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// stock is what every zone of the tests holds.
const stock = `
www A 192.0.2.1
www A 192.0.2.2
www TXT "hello"
mx MX 10 www
alias CNAME www
far CNAME www.ed.example.
toplain CNAME www.plain.example.
gone CNAME nothere.ed.example.
*.wild A 192.0.2.3
b.a.wild A 192.0.2.4
*.wcname CNAME www
b.a.ent A 192.0.2.5
dname DNAME target
x.target A 192.0.2.6
dfar DNAME ed.example.
lame NS ns.lame
ns.lame A 192.0.2.7
zz A 192.0.2.8
*.wtxt TXT "only"
`

// leaves are the zones whose every answer is tried.
var leaves = []string{"rsa.example.", "rsa512.example.", "p256.example.", "p384.example.", "ed.example.", "child.p256.example.", "top."}

// newWorld makes the zones: every algorithm, both kinds of proof, opt-out, and zones that are not signed.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{zones: map[string]*testZone{}}
	for apex, algorithm := range map[string]uint8{
		".": dns.RSASHA256, "example.": dns.ECDSAP256SHA256, "rsa.example.": dns.RSASHA256, "rsa512.example.": dns.RSASHA512,
		"p256.example.": dns.ECDSAP256SHA256, "p384.example.": dns.ECDSAP384SHA384, "ed.example.": dns.ED25519,
		"child.p256.example.": dns.ECDSAP256SHA256, "top.": dns.ED25519, "signed.top.": dns.ECDSAP256SHA256,
		"plain.example.": 0, "plain.top.": 0, "under.plain.example.": dns.ED25519, "lame.p256.example.": 0,
		"sha1.example.": dns.RSASHA1,
	} {
		w.zones[apex] = newZone(t, apex, algorithm, stock)
	}
	for _, apex := range []string{"p256.example.", "p384.example.", "ed.example.", "top."} {
		w.zones[apex].hashed = true
	}
	w.zones["p384.example."].optOut, w.zones["top."].optOut = true, true
	w.zones["ed.example."].iterations, w.zones["ed.example."].salt = 5, "AABBCC"
	w.link(t)
	return w
}

// validator makes one over the world that trusts its root.
func (w *world) validator(t testing.TB, o Options) *Validator {
	t.Helper()
	if o.Anchors == nil {
		o.Anchors = []Anchor{{ds: w.zones["."].ds(dns.SHA256)}}
	}
	if o.Now == nil {
		o.Now = func() time.Time { return noon }
	}
	v, err := New(o, w.ask)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func question(s string) dnswire.Question {
	owner, typ, _ := strings.Cut(s, " ")
	t, err := dnswire.ParseType(typ)
	if err != nil {
		panic(err)
	}
	return dnswire.Question{Name: dnswire.CanonicalName(owner), Type: t}
}

// judge validates what the world answers to q, after change.
func (w *world) judge(t testing.TB, v *Validator, q dnswire.Question, change func(*dns.Msg)) Result {
	t.Helper()
	m := w.reply(q)
	if change != nil {
		change(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.Validate(context.Background(), q, wire)
	if err != nil {
		t.Fatalf("%v: %v", q, err)
	}
	if r.State != Secure && r.Reason == "" {
		t.Errorf("%v: %v without a reason", q, r.State)
	}
	if strings.Contains(r.Reason, "\n") {
		t.Errorf("%v: %q", q, r.Reason)
	}
	return r
}

// want fails unless the answer to q has the state and the code.
func (w *world) want(t testing.TB, v *Validator, q string, change func(*dns.Msg), state State, ede uint16) {
	t.Helper()
	if r := w.judge(t, v, question(q), change); r.State != state || r.EDE != ede {
		t.Errorf("%s: %v, EDE %d: %s; want %v, EDE %d", q, r.State, r.EDE, r.Reason, state, ede)
	}
}

// drop takes the records out of an answer that are of a type, or signatures over it.
func drop(typ uint16) func(*dns.Msg) {
	return func(m *dns.Msg) {
		keep := func(list []dns.RR) (out []dns.RR) {
			for _, rr := range list {
				if rr.Header().Rrtype != typ {
					out = append(out, rr)
				}
			}
			return out
		}
		m.Answer, m.Ns = keep(m.Answer), keep(m.Ns)
	}
}
