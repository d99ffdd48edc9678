package dnssec

import (
	"testing"

	"github.com/miekg/dns"
)

func TestAWildcardAnswersOnlyForWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, apex := range []string{"rsa.example.", "p256.example.", "ed.example."} {
		for _, c := range []struct{ q, name string }{
			{"any.wild.", "b.a.wild."}, // a name with records
			{"any.wild.", "a.wild."},   // an empty non-terminal
			{"any.wild.", "x.a.wild."}, // below a closer name
			{"any.wild.", "www."},      // beside
		} {
			for _, proof := range []string{c.q + apex + " A", c.name + apex + " TYPE999", "zzz." + apex + " A"} {
				ns := w.reply(question(proof)).Ns
				m := w.reply(question(c.q + apex + " A"))
				rename(c.name+apex, dns.TypeA)(m)
				m.Ns = append(m.Ns, ns...)
				r := w.judge(t, v, question(c.name+apex+" A"), func(out *dns.Msg) { m.Id = out.Id; *out = *m })
				if r.State != Bogus {
					t.Errorf("%s for %s%s: %v", c.q, c.name, apex, r.State)
				}
			}
		}
	}
}

// rename gives the records of a wildcard the name of something else.
func rename(to string, typ uint16) func(*dns.Msg) {
	return func(m *dns.Msg) {
		for _, r := range m.Answer {
			r.Header().Name = to
		}
		m.Question[0] = dns.Question{Name: to, Qtype: typ, Qclass: 1}
	}
}

// An NSEC at a wildcard is not one at a name that the wildcard would answer for.
func TestAProofIsNotMadeFromAWildcard(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	w.want(t, v, "b.a.wild.rsa.example AAAA", func(m *dns.Msg) {
		z := w.zones["rsa.example."]
		m.Ns = nil
		z.put(&m.Ns, z.apex, dns.TypeSOA, "")
		wild := dns.Copy(z.match("*.wild.rsa.example.")).(*dns.NSEC)
		wild.Hdr.Name = "b.a.wild.rsa.example."
		sig := dns.Copy(z.sigs["*.wild.rsa.example."][dns.TypeNSEC][0])
		sig.Header().Name = "b.a.wild.rsa.example."
		m.Ns = append(m.Ns, wild, sig)
	}, Bogus, EDEBogus)
}

// deny makes m a negative answer with the proofs that a zone has for other questions.
func deny(w *world, rcode int, questions ...string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, rcode
		for _, q := range questions {
			m.Ns = append(m.Ns, w.reply(question(q)).Ns...)
		}
	}
}

func TestAProofThatIsReplayedProvesNothingElse(t *testing.T) {
	w := newWorld(t)
	// A delegation under an NSEC zone, and what an ancestor says of it.
	for _, z := range []string{"sub.rsa.example.", "sub.ed.example."} {
		w.zones[z] = newZone(t, z, dns.ECDSAP256SHA256, stock)
	}
	w.link(t)
	v := w.validator(t, Options{})
	for _, parent := range []string{"rsa.example", "ed.example"} {
		sub := "sub." + parent
		for name, c := range map[string]struct {
			q      string
			change func(*dns.Msg)
		}{
			"the ancestor's record denies a name of the child (RFC 6840, 4.1)": {"www." + sub + " A", deny(w, 3, sub+" TYPE999", sub+" NSEC3PARAM", "nothere."+parent+" A")},
			"the same, of a type":                          {"www." + sub + " A", deny(w, 0, sub+" TYPE999")},
			"the parent's record at the cut denies data":   {sub + " A", parentSide(w, sub)},
			"the parent's record at the cut denies a name": {"www." + sub + " A", both(parentSide(w, sub), rcode(3))},
			"the child's record at the cut denies the DS":  {sub + " DS", deny(w, 0, sub+" TYPE999")},
			"another name of the zone":                     {"www." + parent + " A", deny(w, 3, "nothere."+parent+" A")},
			"another type":                                 {"www." + parent + " A", deny(w, 0, "www."+parent+" AAAA")},
			"a name for a type":                            {"www." + parent + " A", deny(w, 0, "nothere."+parent+" A")},
			"a CNAME's name":                               {"alias." + parent + " AAAA", deny(w, 0, "alias."+parent+" TYPE46000", "mx."+parent+" A")},
			"a type for a name":                            {"www." + parent + " AAAA", both(deny(w, 0, "www."+parent+" AAAA"), rcode(3))},
			"a name as one without data":                   {"nothere." + parent + " A", rcode(0)},
			"an empty non-terminal as not there":           {"ent." + parent + " A", rcode(3)},
			"a name below a DNAME":                         {"www.dfar." + parent + " A", deny(w, 3, "dfar."+parent+" A", "nothere."+parent+" A")},
			"the wildcard is left out":                     {"any.wild." + parent + " A", deny(w, 3, "any.wild."+parent+" A")},
			"the root denies everything":                   {"www." + parent + " A", deny(w, 3, "nothere A", "zzz A")},
		} {
			r := w.judge(t, v, question(c.q), c.change)
			if r.State != Bogus {
				t.Errorf("%s: %s: %v, %s", parent, name, r.State, r.Reason)
			}
		}
	}
}

func both(a, b func(*dns.Msg)) func(*dns.Msg) { return func(m *dns.Msg) { a(m); b(m) } }

func rcode(to int) func(*dns.Msg) {
	return func(m *dns.Msg) { m.Rcode = to }
}

// parentSide answers with what the parent has at the cut: its own NSEC or NSEC3 record of the delegation.
func parentSide(w *world, sub string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		z := w.parent(sub + ".")
		m.Answer, m.Ns, m.Rcode = nil, nil, 0
		z.prove(m, z.match(sub+"."), z.match(z.apex), z.cover("nothere."+z.apex, "nothere."+z.apex))
	}
}

func TestTheParentsHashesTellNothingOfTheChild(t *testing.T) {
	w := newWorld(t)
	w.zones["sub.ed.example."] = newZone(t, "sub.ed.example.", dns.ED25519, stock)
	w.link(t)
	z := w.zones["ed.example."]
	v := w.validator(t, Options{})
	for q, encloser := range map[string]string{"www.sub.ed.example": "sub.ed.example.", "www.dfar.ed.example": "dfar.ed.example."} {
		r := w.judge(t, v, question(q+" A"), func(m *dns.Msg) {
			m.Answer, m.Ns, m.Rcode = nil, nil, dns.RcodeNameError
			z.put(&m.Ns, z.apex, dns.TypeSOA, "")
			wild := "*." + encloser
			z.prove(m, z.match(encloser), z.cover(q+".", q+"."), z.cover(wild, wild))
		})
		if r.State != Bogus || r.EDE != EDENSECMissing {
			t.Errorf("%s: %v, EDE %d: %s", q, r.State, r.EDE, r.Reason)
		}
	}
}

func TestABitmapSpeaksForItsOwnSideOfACut(t *testing.T) {
	for _, c := range []struct {
		bits []uint16
		typ  uint16
		want bool
	}{
		{[]uint16{dns.TypeA}, dns.TypeAAAA, true},
		{[]uint16{dns.TypeA}, dns.TypeA, false},
		{[]uint16{dns.TypeCNAME}, dns.TypeA, false},
		{[]uint16{dns.TypeNS}, dns.TypeA, false},
		{[]uint16{dns.TypeNS}, dns.TypeDS, true},
		{[]uint16{dns.TypeNS, dns.TypeSOA}, dns.TypeA, true},
		{[]uint16{dns.TypeNS, dns.TypeSOA}, dns.TypeDS, false},
		{[]uint16{dns.TypeNSEC, dns.TypeRRSIG}, dns.TypeANY, true},
		{[]uint16{dns.TypeNSEC, dns.TypeRRSIG, dns.TypeA}, dns.TypeANY, false},
	} {
		if got := notAt(c.bits, c.typ, false); got != c.want {
			t.Errorf("%v at %v: %v", c.typ, c.bits, got)
		}
	}
	if !notAt([]uint16{dns.TypeNS, dns.TypeSOA}, dns.TypeDS, true) {
		t.Error("the root has no parent to ask")
	}
}
