package dnssec

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

func TestAWrongClockOpensNothing(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		now time.Time
		ede uint16
	}{
		{noon.Add(24*time.Hour + time.Second), EDESignatureExpired},
		{noon.Add(10 * 365 * 24 * time.Hour), EDESignatureExpired},
		{noon.Add(-24*time.Hour - time.Second), EDESignatureNotYetValid},
		{time.Unix(0, 0), EDESignatureNotYetValid},
	} {
		v := w.validator(t, Options{Now: func() time.Time { return c.now }})
		for _, q := range []string{"www.rsa.example A", "nothere.p256.example A", "www.plain.example A", "example DS"} {
			w.want(t, v, q, nil, Bogus, c.ede)
		}
	}
	for _, now := range []time.Time{noon.Add(24 * time.Hour), noon.Add(-24 * time.Hour)} {
		w.want(t, w.validator(t, Options{Now: func() time.Time { return now }}), "www.rsa.example A", nil, Secure, 0)
	}
}

// The times of a signature go round after 2^32 seconds (RFC 4034, section 3.1.5).
func TestSignatureTimesAreComparedAsSerialNumbers(t *testing.T) {
	turn := time.Unix(1<<32, 0)
	w := newWorld(t)
	for _, z := range w.zones {
		z.inception, z.expiration = turn.Add(-time.Hour), turn.Add(time.Hour)
		z.sign(t)
	}
	for off, ede := range map[time.Duration]uint16{
		-30 * time.Minute: 0, 30 * time.Minute: 0, -2 * time.Hour: EDESignatureNotYetValid, 2 * time.Hour: EDESignatureExpired,
	} {
		r := w.judge(t, w.validator(t, Options{Now: func() time.Time { return turn.Add(off) }}), question("www.rsa.example A"), nil)
		if r.EDE != ede || (r.State == Secure) != (ede == 0) {
			t.Errorf("%v: %v, EDE %d: %s", off, r.State, r.EDE, r.Reason)
		}
	}
}

func TestAZoneWhoseSignaturesAreOutOfTimeIsBogus(t *testing.T) {
	for ede, shift := range map[uint16]time.Duration{EDESignatureExpired: -48 * time.Hour, EDESignatureNotYetValid: 48 * time.Hour} {
		w := newWorld(t)
		z := w.zones["ed.example."]
		z.inception, z.expiration = z.inception.Add(shift), z.expiration.Add(shift)
		z.sign(t)
		v := w.validator(t, Options{})
		w.want(t, v, "www.ed.example A", nil, Bogus, ede)
		w.want(t, v, "far.rsa.example A", nil, Bogus, ede)
		w.want(t, v, "www.rsa.example A", nil, Secure, 0)
	}
}

func TestWhatIsStrippedIsMissed(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, apex := range []string{"rsa.example", "p256.example", "ed.example"} {
		for _, q := range []string{"www.%s A", "nothere.%s A", "www.%s AAAA", "any.wild.%s A", "alias.%s A", "%s DNSKEY", "www.%s ANY", "x.dname.%s A"} {
			q = strings.Replace(q, "%s", apex, 1)
			w.want(t, v, q, drop(dns.TypeRRSIG), Bogus, EDESignaturesMissing)
		}
		for _, q := range []string{"nothere.%s A", "www.%s AAAA", "any.wild.%s A", "any.wcname.%s A", "ent.%s A"} {
			q = strings.Replace(q, "%s", apex, 1)
			w.want(t, v, q, func(m *dns.Msg) { drop(dns.TypeNSEC)(m); drop(dns.TypeNSEC3)(m) }, Bogus, EDENSECMissing)
			w.want(t, v, q, func(m *dns.Msg) {
				drop(dns.TypeNSEC)(m)
				drop(dns.TypeNSEC3)(m)
				drop(dns.TypeSOA)(m)
				m.Ns = nil
			}, Bogus, EDENSECMissing)
		}
	}
}

func TestADelegationThatLosesItsDSInTransitIsBogus(t *testing.T) {
	for _, apex := range []string{"rsa.example", "child.p256.example"} {
		for name, tamper := range map[string]func(*world, dnswire.Question, *dns.Msg){
			"empty":            func(_ *world, _ dnswire.Question, m *dns.Msg) { m.Answer = nil },
			"not there":        func(_ *world, _ dnswire.Question, m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeNameError },
			"another's proof":  func(w *world, _ dnswire.Question, m *dns.Msg) { m.Answer, m.Ns = nil, w.reply(question("plain.example DS")).Ns },
			"the child's word": func(w *world, q dnswire.Question, m *dns.Msg) { m.Answer, m.Ns = nil, w.reply(dnswire.Question{Name: q.Name, Type: 13}).Ns },
		} {
			w := newWorld(t)
			w.tamper = func(q dnswire.Question, m *dns.Msg) {
				if q.Type == dnswire.DS && q.Name == apex {
					tamper(w, q, m)
				}
			}
			r := w.judge(t, w.validator(t, Options{}), question("www."+apex+" A"), drop(dns.TypeRRSIG))
			if r.State != Bogus {
				t.Errorf("%s, %s: %v: %s", apex, name, r.State, r.Reason)
			}
		}
	}
}

func TestARemovedDSMakesAZoneInsecure(t *testing.T) {
	w := newWorld(t)
	delete(w.zones["example."].sets["ed.example."], dns.TypeDS)
	w.zones["example."].sign(t)
	v := w.validator(t, Options{})
	w.want(t, v, "www.ed.example A", nil, Insecure, 0)
	w.want(t, v, "www.ed.example A", drop(dns.TypeRRSIG), Insecure, 0)
}

func TestAKeyThatNoDSPointsAtSignsNothing(t *testing.T) {
	w := newWorld(t)
	z := w.zones["ed.example."]
	z.ksk = newKey(t, z.apex, dns.ED25519, 257, 7) // rolled, and the parent was not told
	z.sign(t)
	v := w.validator(t, Options{})
	w.want(t, v, "www.ed.example A", nil, Bogus, EDEKeyMissing)

	w = newWorld(t) // rolled with both DS records in the parent
	z = w.zones["ed.example."]
	w.zones["example."].add(z.ds(dns.SHA256))
	z.ksk = newKey(t, z.apex, dns.ED25519, 257, 7)
	w.zones["example."].add(z.ds(dns.SHA256))
	for _, zone := range w.zones {
		zone.sign(t)
	}
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Secure, 0)
}

func TestOnlyAZoneKeyInForceMaySign(t *testing.T) {
	for flags, ede := range map[uint16]uint16{1: EDENoZoneKeyBit, 257 | dns.REVOKE: EDEKeyMissing} {
		w := newWorld(t)
		z := w.zones["ed.example."]
		z.ksk = newKey(t, z.apex, dns.ED25519, flags, 1)
		delete(w.zones["example."].sets[z.apex], dns.TypeDS)
		w.zones["example."].add(z.ds(dns.SHA256))
		z.sign(t)
		w.zones["example."].sign(t)
		w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Bogus, ede)
	}
}

func TestAnotherZonesKeySignsNothingHere(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	sign := func(by *testZone, m *dns.Msg) {
		set := slices.DeleteFunc(slices.Clone(m.Answer), func(r dns.RR) bool { return r.Header().Rrtype == dns.TypeRRSIG })
		m.Answer = append(set, by.signWith(t, by.zsk, set))
	}
	q := "www.p256.example A"
	w.want(t, v, q, func(m *dns.Msg) { sign(w.zones["rsa.example."], m) }, Bogus, EDESignaturesMissing)
	w.want(t, v, q, func(m *dns.Msg) { sign(w.zones["child.p256.example."], m) }, Bogus, EDESignaturesMissing)
	w.want(t, v, q, func(m *dns.Msg) {
		z := *w.zones["p256.example."]
		z.zsk = newKey(t, z.apex, dns.ECDSAP256SHA256, 256, 9) // nobody's
		sign(&z, m)
	}, Bogus, EDEKeyMissing)
	w.want(t, v, q, func(m *dns.Msg) { m.Answer[0].(*dns.A).A[15]++ }, Bogus, EDEBogus)
	w.want(t, v, "www.child.p256.example A", func(m *dns.Msg) { m.Answer[0].(*dns.A).A[15]++ }, Bogus, EDEBogus)
}

// A root that is not the one of the anchors signs nothing.
func TestAnotherRootIsBogus(t *testing.T) {
	w := newWorld(t)
	w.want(t, w.validator(t, Options{Anchors: RootAnchors()}), "www.rsa.example A", nil, Bogus, EDEKeyMissing)
	a := Anchor{key: w.zones["."].ksk.DNSKEY}
	w.want(t, w.validator(t, Options{Anchors: []Anchor{a}}), "www.rsa.example A", nil, Secure, 0)
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
			"the ancestor's record denies a name of the child (RFC 6840, 4.1)":   {"www." + sub + " A", deny(w, 3, sub+" TYPE999", sub+" NSEC3PARAM", "nothere."+parent+" A")},
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

func TestAnAliasIsWhatItsZoneMakesIt(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	w.want(t, v, "x.dname.rsa.example A", func(m *dns.Msg) {
		for _, r := range m.Answer {
			if c, ok := r.(*dns.CNAME); ok {
				c.Target = "www.rsa.example."
			}
		}
		m.Answer = append(m.Answer, w.reply(question("www.rsa.example A")).Answer...)
	}, Bogus, EDEBogus)
	w.want(t, v, "alias.rsa.example A", func(m *dns.Msg) { m.Answer[0].(*dns.CNAME).Target = "www.ed.example." }, Bogus, EDEBogus)
	w.want(t, v, "far.rsa.example A", func(m *dns.Msg) { // the second link is not signed
		m.Answer = slices.DeleteFunc(m.Answer, func(r dns.RR) bool {
			return r.Header().Rrtype == dns.TypeRRSIG && r.Header().Name == "www.ed.example."
		})
	}, Bogus, EDESignaturesMissing)
	w.want(t, v, "toplain.rsa.example A", func(m *dns.Msg) { m.Answer[0].(*dns.CNAME).Target = "x.plain.example." }, Bogus, EDEBogus)
	w.want(t, v, "www.rsa.example A", func(m *dns.Msg) { // a CNAME beside the records that were asked for
		m.Answer = []dns.RR{rr(t, "www.rsa.example. 60 CNAME www.plain.example."), rr(t, "www.plain.example. 60 A 192.0.2.66")}
	}, Bogus, EDESignaturesMissing)
	w.want(t, v, "alias.rsa.example A", func(m *dns.Msg) {
		m.Answer = append(m.Answer, rr(t, "alias.rsa.example. 60 CNAME www.plain.example."))
	}, Bogus, EDEBogus)
}

func TestTheSOAOfANegativeAnswerIsJudgedToo(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	for _, q := range []string{"nothere.rsa.example A", "www.ed.example AAAA"} {
		r := w.judge(t, v, question(q), func(m *dns.Msg) {
			for _, r := range m.Ns {
				if soa, ok := r.(*dns.SOA); ok {
					soa.Minttl = 86400
				}
			}
		})
		if r.State != Bogus {
			t.Errorf("%s: %v", q, r.State)
		}
	}
}
