package dnssec

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// questions of a zone of stock, and what is true of the answers in every signed one.
var questions = []struct {
	q     string
	rcode int
	state State // opt-out zones make what is not proven Insecure: see below
}{
	{"@ SOA", 0, Secure},
	{"@ NS", 0, Secure},
	{"@ DNSKEY", 0, Secure},
	{"@ DS", 0, Secure},
	{"@ MX", 0, Secure}, // no data at the apex
	{"www A", 0, Secure},
	{"WWW A", 0, Secure},
	{"www ANY", 0, Secure},
	{"www AAAA", 0, Secure},
	{"mx MX", 0, Secure},
	{"alias A", 0, Secure},
	{"alias CNAME", 0, Secure},
	{"alias AAAA", 0, Secure},
	{"far A", 0, Secure},
	{"far TXT", 0, Secure},
	{"gone A", 3, Secure},
	{"toplain A", 0, Insecure},
	{"any.wild A", 0, Secure},
	{"any.deep.wild A", 0, Secure},
	{"*.wild A", 0, Secure},
	{"any.wild AAAA", 0, Secure},
	{"a.wild A", 0, Secure}, // empty non-terminal beside a wildcard
	{"c.a.wild A", 3, Secure},
	{"any.wcname A", 0, Secure},
	{"any.wcname CNAME", 0, Secure},
	{"any.wtxt A", 0, Secure},
	{"ent A", 0, Secure},
	{"a.ent A", 0, Secure},
	{"b.a.ent A", 0, Secure},
	{"x.dname A", 0, Secure},
	{"x.dname AAAA", 0, Secure},
	{"y.dname A", 3, Secure},
	{"dname DNAME", 0, Secure},
	{"www.dfar A", 0, Secure},
	{"nothere A", 3, Secure},
	{"a.b.c.nothere A", 3, Secure},
	{"nothere DS", 3, Secure},
	{"www DS", 0, Secure},
	{"lame DS", 0, Secure},
	{"zzz A", 3, Secure},
	{`\000 A`, 3, Secure},
	{`a\.b A`, 3, Secure},
}

func TestEveryHonestAnswerOfASignedZoneIsSecure(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, apex := range leaves {
		for _, c := range questions {
			q := question(strings.Replace(strings.Replace(c.q, "@ ", apex+" ", 1), " ", "."+apex+" ", btoi(!strings.HasPrefix(c.q, "@"))))
			if apex == "p256.example." && strings.HasPrefix(c.q, "lame") {
				continue
			}
			if got := w.reply(q).Rcode; got != c.rcode {
				t.Fatalf("%v: the test's server says %d", q, got)
			}
			r := w.judge(t, v, q, nil)
			want := c.state
			if w.zones[apex].optOut && optedOut(c.q) {
				want = Insecure
			}
			if r.State != want || r.EDE != 0 || r.TTL <= 0 {
				t.Errorf("%v: %v, EDE %d, %v: %s", q, r.State, r.EDE, r.TTL, r.Reason)
			}
		}
	}
}

// optedOut are the questions to which a zone with opt-out proves nothing: a name is not there, so that there could be
// an unsigned delegation (RFC 5155, section 9.2).
func optedOut(q string) bool {
	for _, s := range []string{"any.", "c.a.wild", "y.dname", "nothere", "a.b.c", "zzz", `\000`, `a\.b`, "lame"} {
		if strings.HasPrefix(q, s) {
			return true
		}
	}
	return false
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestTheRootAndSingleLabelsAreJudged(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, q := range []string{". NS", ". DNSKEY", ". DS", ". MX", "www A", "com A", "com DS", "example NS", "example DS", "alias A"} {
		w.want(t, v, q, nil, Secure, 0)
	}
}

func TestBelowAProvenUnsignedDelegationEverythingIsInsecure(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, q := range []string{
		"www.plain.example A", "nothere.plain.example A", "www.plain.example AAAA", "www.plain.top A", "www.under.plain.example A",
		"x.y.nothere.plain.top A", "www.lame.p256.example A", "www.plain.example DS", "plain.top DS", "www.plain.example RRSIG",
	} {
		w.want(t, v, q, nil, Insecure, 0)
	}
	w.want(t, v, "plain.example DS", nil, Secure, 0) // the parent's own word
	w.want(t, v, "www.signed.top A", nil, Secure, 0)
}

func TestAnAlgorithmThatIsNotKnownEndsTheChain(t *testing.T) {
	w := newWorld(t)
	w.want(t, w.validator(t, Options{}), "www.sha1.example A", nil, Insecure, EDEUnsupportedAlgorithm)

	w = newWorld(t)
	ds := w.zones["ed.example."].ds(dns.SHA256)
	ds.DigestType = 200
	w.zones["example."].sets["ed.example."][dns.TypeDS] = []dns.RR{ds}
	w.link(t)
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Insecure, EDEUnsupportedDigest)
}

func TestDigestsAreTriedTheBestOnesOnly(t *testing.T) {
	for _, c := range []struct {
		good, bad []uint8
		state     State
	}{
		{good: []uint8{dns.SHA384}, state: Secure},
		{good: []uint8{dns.SHA1}, state: Secure},
		{good: []uint8{dns.SHA1}, bad: []uint8{dns.SHA256}, state: Bogus},
		{good: []uint8{dns.SHA256}, bad: []uint8{dns.SHA1, dns.SHA384}, state: Secure},
	} {
		w := newWorld(t)
		parent, child := w.zones["example."], w.zones["ed.example."]
		delete(parent.sets["ed.example."], dns.TypeDS)
		for _, d := range c.good {
			parent.add(child.ds(d))
		}
		for _, d := range c.bad {
			ds := child.ds(d)
			ds.Digest = strings.Repeat("00", len(ds.Digest)/2)
			parent.add(ds)
		}
		w.link(t)
		if r := w.judge(t, w.validator(t, Options{}), question("www.ed.example A"), nil); r.State != c.state {
			t.Errorf("%v good, %v bad: %v: %s", c.good, c.bad, r.State, r.Reason)
		}
	}
}

func TestANegativeTrustAnchorExemptsItsNamesAndNoOthers(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{NegativeAnchors: []string{"Ed.Example."}})
	forged := drop(dns.TypeRRSIG)
	for _, q := range []string{"www.ed.example A", "nothere.ed.example A", "ed.example SOA"} {
		w.want(t, v, q, forged, Insecure, 0)
	}
	w.want(t, v, "www.rsa.example A", forged, Bogus, EDESignaturesMissing)
	w.want(t, v, "far.rsa.example A", nil, Insecure, 0)
	w.want(t, v, "xed.example A", forged, Bogus, EDESignaturesMissing)
}

func TestTheTTLIsTheSmallestThatWasSignedOrArrived(t *testing.T) {
	w := newWorld(t)
	w.zones["rsa.example."].add(rr(t, "short.rsa.example. 60 A 192.0.2.1"))
	w.zones["rsa.example."].sign(t)
	now := noon
	v := w.validator(t, Options{Now: func() time.Time { return now }})
	ttl := func(change func(*dns.Msg)) time.Duration {
		return w.judge(t, v, question("www.rsa.example A"), change).TTL
	}
	if got := ttl(nil); got != time.Hour {
		t.Errorf("as it is: %v", got)
	}
	if got := ttl(func(m *dns.Msg) { m.Answer[0].Header().Ttl = 60 }); got != time.Minute {
		t.Errorf("a smaller one arrived: %v", got)
	}
	if got := ttl(func(m *dns.Msg) {
		for _, rr := range m.Answer {
			rr.Header().Ttl = 1 << 30
		}
	}); got != time.Hour {
		t.Errorf("a larger one arrived: %v", got)
	}
	short := func(m *dns.Msg) {
		for _, rr := range m.Answer {
			rr.Header().Ttl = 3000
		}
	}
	if got := w.judge(t, v, question("short.rsa.example A"), short).TTL; got != time.Minute {
		t.Errorf("a larger one than was signed arrived: %v", got)
	}
	now = noon.Add(24*time.Hour - 10*time.Second)
	if got := ttl(nil); got != 10*time.Second {
		t.Errorf("shortly before the end: %v", got)
	}
}

func TestAnErrorCodeIsNotJudged(t *testing.T) {
	w := newWorld(t)
	w.want(t, w.validator(t, Options{}), "www.rsa.example A", func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, Indeterminate, EDEIndeterminate)
	if _, err := w.validator(t, Options{}).Validate(t.Context(), question("www.rsa.example A"), []byte("x")); err == nil {
		t.Error("what is no message is judged")
	}
}

func TestSignaturesAskedForByNameAreNotSecure(t *testing.T) {
	w := newWorld(t)
	w.want(t, w.validator(t, Options{}), "www.rsa.example RRSIG", nil, Indeterminate, EDEIndeterminate)
}

func TestAValidatorNeedsWhatItNeeds(t *testing.T) {
	ask := (&world{}).ask
	if _, err := New(Options{}, nil); err == nil {
		t.Error("without a function to ask")
	}
	for name, o := range map[string]Options{
		"root":   {NegativeAnchors: []string{"."}},
		"name":   {NegativeAnchors: []string{"a..b"}},
		"limit":  {Limits: Limits{Lookups: -1}},
		"anchor": {Anchors: []Anchor{{}}},
	} {
		if _, err := New(o, ask); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	v, err := New(Options{}, ask)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.SetAnchors(nil); err == nil {
		t.Error("a validator lets go of all its anchors")
	}
}

func TestTheChainIsRememberedUntilItIsFlushed(t *testing.T) {
	w := newWorld(t)
	now := noon
	v := w.validator(t, Options{Now: func() time.Time { return now }})
	count := func() int {
		w.asked = nil
		w.want(t, v, "www.rsa.example A", nil, Secure, 0)
		return len(w.asked)
	}
	if first, second := count(), count(); first != 5 || second != 0 { // . DNSKEY; example DS, DNSKEY; rsa.example DS, DNSKEY
		t.Errorf("%d look-ups, then %d", first, second)
	}
	v.Flush()
	if n := count(); n != 5 {
		t.Errorf("%d look-ups after Flush", n)
	}
	now = now.Add(2 * time.Hour)
	if n := count(); n != 5 {
		t.Errorf("%d look-ups after the TTL", n)
	}
	now = now.Add(-time.Hour)
	if n := count(); n != 5 {
		t.Errorf("%d look-ups after the clock was set back", n)
	}
	for _, q := range w.asked {
		if q.Type != dnswire.DS && q.Type != dnswire.DNSKEY {
			t.Errorf("asked %v", q)
		}
	}
}

func TestNewAnchorsForgetWhatTheOldOnesProvedOnlyWhereOneOfThoseIsGone(t *testing.T) {
	w := newWorld(t)
	digest, key := Anchor{ds: w.zones["."].ds(dns.SHA256)}, Anchor{key: w.zones["."].ksk.DNSKEY}
	other := RootAnchors()[0]
	v := w.validator(t, Options{Anchors: []Anchor{digest}})
	for _, c := range []struct {
		anchors []Anchor
		asks    bool
	}{
		{[]Anchor{digest}, true}, // the first look-up
		{[]Anchor{key}, false},   // the key of that digest
		{[]Anchor{key, other}, false},
		{[]Anchor{key}, true},
		{[]Anchor{digest}, true},
	} {
		if err := v.SetAnchors(c.anchors); err != nil {
			t.Fatal(err)
		}
		w.asked = nil
		w.want(t, v, "www.ed.example A", nil, Secure, EDENone)
		if asked := len(w.asked) > 0; asked != c.asks {
			t.Errorf("anchors %v: asked %v", c.anchors, w.asked)
		}
	}
}
