package dnssec

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

func TestTheWalkEndsInTheZoneThatHoldsTheName(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for n, zone := range map[string]string{
		"www.rsa.example": "rsa.example.", "alias.rsa.example": "rsa.example.", "any.wcname.rsa.example": "rsa.example.",
		"x.dname.rsa.example": "rsa.example.", "www.dfar.rsa.example": "rsa.example.", "a.b.nothere.rsa.example": "rsa.example.",
		"any.wild.rsa.example": "rsa.example.", "a.ent.p256.example": "p256.example.", "any.wcname.p256.example": "p256.example.",
		"www.child.p256.example": "child.p256.example.", "nothere": ".", "": ".", "x.dname.ed.example": "ed.example.",
	} {
		at := v.newWork(t.Context()).walk(mustName(n))
		if at.state != Secure || at.zone == nil || at.zone.apex != mustName(zone) {
			t.Errorf("%s: %v: %s", n, at.state, at.reason)
		}
	}
}

// A zone may begin below a name that is an alias.
func TestTheWalkGoesOnBelowAnAlias(t *testing.T) {
	w := newWorld(t)
	w.zones["c.alias.rsa.example."] = newZone(t, "c.alias.rsa.example.", 0, stock)
	w.link(t)
	w.want(t, w.validator(t, Options{}), "www.c.alias.rsa.example A", nil, Insecure, 0)
}

func TestAnAliasThatIsForgedOnTheWayBreaksTheChain(t *testing.T) {
	for name, forge := range map[string]func(*dns.Msg){
		"unsigned":                          func(m *dns.Msg) { m.Answer, m.Ns = []dns.RR{m.Answer[0]}, nil },
		"without the proof of its wildcard": func(m *dns.Msg) { m.Ns = nil },
	} {
		w := newWorld(t)
		w.tamper = func(q dnswire.Question, m *dns.Msg) {
			if q.Type == dnswire.DS && q.Name == "any.wcname.rsa.example" {
				forge(m)
			}
		}
		at := w.validator(t, Options{}).newWork(t.Context()).walk(mustName("www.any.wcname.rsa.example."))
		if at.state != Bogus {
			t.Errorf("%s: %v", name, at.state)
		}
	}
}

func TestDecoysWithTheTagOfADSAreBounded(t *testing.T) {
	w := newWorld(t)
	z := w.zones["ed.example."]
	z.keys = colliding(t, z.ksk.DNSKEY, 8)
	z.sign(t)
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Secure, 0) // the real one comes first
	w.tamper = func(q dnswire.Question, m *dns.Msg) {
		if q.Type == dnswire.DNSKEY && q.Name == "ed.example" {
			slices.Reverse(m.Answer)
		}
	}
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Bogus, EDEKeyMissing)
}

func TestSignersAreTriedFromTheDeepestAndAreFew(t *testing.T) {
	owner := mustName("f.e.d.c.b.a.example.")
	var sigs []signature
	for _, s := range []string{"b.a.example", "", "other", "d.c.b.a.example", "f.e.d.c.b.a.example", "d.c.b.a.example", "a.example"} {
		sigs = append(sigs, signature{&dns.RRSIG{}, mustName(s)})
	}
	text := func(fromAbove bool) string {
		var list []string
		for _, n := range signersOf(sigs, owner, fromAbove) {
			list = append(list, n.text())
		}
		return strings.Join(list, " ")
	}
	if got := text(false); got != "f.e.d.c.b.a.example d.c.b.a.example b.a.example" {
		t.Error(got)
	}
	if got := text(true); got != "d.c.b.a.example b.a.example a.example" {
		t.Error(got)
	}
}

func TestAnNSEC3RecordThatSaysWhatIsNotKnownIsDropped(t *testing.T) {
	apex := mustName("example.")
	good := func() *dns.NSEC3 {
		return rr(t, "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A").(*dns.NSEC3)
	}
	for name, c := range map[string]struct {
		change func(*dns.NSEC3)
		want   int
	}{
		"as it is":          {func(*dns.NSEC3) {}, 1},
		"another hash":      {func(r *dns.NSEC3) { r.Hash = 2 }, 0},
		"another flag":      {func(r *dns.NSEC3) { r.Flags = 3 }, 0},
		"a short hash":      {func(r *dns.NSEC3) { r.NextDomain = "2T7B4G4V" }, 0},
		"deeper":            {func(r *dns.NSEC3) { r.Hdr.Name = strings.Replace(r.Hdr.Name, "example", "a.example", 1) }, 0},
		"at no hash":        {func(r *dns.NSEC3) { r.Hdr.Name = "www.example." }, 0},
		"not in this zone":  {func(r *dns.NSEC3) { r.Hdr.Name = strings.Replace(r.Hdr.Name, "example", "other", 1) }, 0},
		"with another salt": {func(r *dns.NSEC3) { r.Salt = "00" }, 1}, // alone it is as good
	} {
		r := good()
		c.change(r)
		var s nsec3s
		s.add(mustName(r.Hdr.Name), apex, r)
		if len(s.list) != c.want {
			t.Errorf("%s: %d", name, len(s.list))
		}
	}
	var s nsec3s
	first, second := good(), good()
	second.Salt = "00"
	s.add(mustName(first.Hdr.Name), apex, first)
	s.add(mustName(second.Hdr.Name), apex, second)
	if len(s.list) != 1 {
		t.Error("two salts at once")
	}
}

// The hashes of RFC 5155, appendix A.
func TestHashesAreThoseOfTheStandard(t *testing.T) {
	v, err := New(Options{}, (&world{}).ask)
	if err != nil {
		t.Fatal(err)
	}
	p := &proofs{w: v.newWork(t.Context()), apex: mustName("example")}
	r := rr(t, "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example. NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A").(*dns.NSEC3)
	p.hashed.add(mustName(r.Hdr.Name), p.apex, r)
	for n, want := range map[string]string{
		"example": "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom", "a.example": "35mthgpgcu1qg68fab165klnsnk3dpvl",
		"NS1.example": "2t7b4g4vsa5smi47k61mv5bv1a22bojr", "*.w.example": "r53bq7cc2uvmubfu5ocmm6pers9tk9en",
	} {
		if got := strings.ToLower(base32hex.EncodeToString([]byte(p.hash(mustName(n))))); got != want {
			t.Errorf("%s: %s", n, got)
		}
	}
}

func TestAnNSECOfADelegationTellsNothingBelowIt(t *testing.T) {
	for bits, want := range map[uint16]bool{dns.TypeA: true, dns.TypeNS: false, dns.TypeDNAME: false} {
		p := &proofs{apex: mustName("example"), nsecs: []nsec{{mustName("sub.example"), mustName("a.b.sub.example"), []uint16{bits}}}}
		if _, ok := p.nsecNoData(mustName("b.sub.example"), dns.TypeA); ok != want {
			t.Errorf("%v: %v", dnswire.Type(bits), ok)
		}
	}
}
