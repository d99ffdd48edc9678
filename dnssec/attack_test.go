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
			"empty":     func(_ *world, _ dnswire.Question, m *dns.Msg) { m.Answer = nil },
			"not there": func(_ *world, _ dnswire.Question, m *dns.Msg) { m.Answer, m.Rcode = nil, dns.RcodeNameError },
			"another's proof": func(w *world, _ dnswire.Question, m *dns.Msg) {
				m.Answer, m.Ns = nil, w.reply(question("plain.example DS")).Ns
			},
			"the child's word": func(w *world, q dnswire.Question, m *dns.Msg) {
				m.Answer, m.Ns = nil, w.reply(dnswire.Question{Name: q.Name, Type: 13}).Ns
			},
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

// The DS vouches for one key; another key in the set, and its signature, vouch for nothing.
func TestOnlyTheKeyThatTheDSNamesVouchesForTheOthers(t *testing.T) {
	w := newWorld(t)
	real := w.zones["ed.example."]
	forged := newZone(t, real.apex, dns.ED25519, stock)
	forged.ksk = newKey(t, real.apex, dns.ED25519, 257, 7)
	forged.zsk = newKey(t, real.apex, dns.ED25519, 256, 8)
	forged.keys = []*testKey{real.ksk, real.zsk}
	forged.sign(t)
	w.zones["ed.example."] = forged
	w.want(t, w.validator(t, Options{}), "www.ed.example A", nil, Bogus, EDEKeyMissing)
}

func TestASignerIsAZoneAboveWhatItSigned(t *testing.T) {
	w := newWorld(t)
	v := w.validator(t, Options{})
	sign := func(apex, signer string) func(*dns.Msg) {
		return func(m *dns.Msg) {
			z := *w.zones[apex]
			z.apex = signer
			set := slices.DeleteFunc(slices.Clone(m.Answer), func(r dns.RR) bool { return r.Header().Rrtype == dns.TypeRRSIG })
			m.Answer = append(set, z.signWith(t, z.zsk, set))
		}
	}
	w.want(t, v, "www.rsa.example A", sign("rsa.example.", "www.rsa.example."), Bogus, EDESignaturesMissing)
	w.want(t, v, "ed.example DS", sign("ed.example.", "ed.example."), Bogus, EDESignaturesMissing)
	w.want(t, v, "nothere.rsa.example A", func(m *dns.Msg) {
		for _, r := range m.Ns {
			if sig, ok := r.(*dns.RRSIG); ok {
				sig.SignerName = "nothere.rsa.example."
			}
		}
	}, Bogus, EDENSECMissing)
}

// expand answers q with the records of a wildcard, renamed.
func expand(z *testZone, wild, q string, typ uint16) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, 0
		z.put(&m.Answer, wild, typ, q)
		z.prove(m, z.cover(q, q))
	}
}

func TestSomeRecordsAreNeverMadeFromAWildcard(t *testing.T) {
	w := newWorld(t)
	z := w.zones["rsa.example."]
	forged := newZone(t, "x.ds.rsa.example.", dns.ED25519, stock)
	ds := forged.ds(dns.SHA256)
	ds.Hdr.Name = "*.ds.rsa.example."
	z.add(ds)
	z.add(rr(t, "*.dn.rsa.example. 60 DNAME target.rsa.example."))
	z.sign(t)
	forged.sign(t)
	v := w.validator(t, Options{})
	w.want(t, v, "x.dn.rsa.example DNAME", expand(z, "*.dn.rsa.example.", "x.dn.rsa.example.", dns.TypeDNAME), Bogus, EDEBogus)
	w.tamper = func(q dnswire.Question, m *dns.Msg) {
		switch {
		case q.Name == "x.ds.rsa.example" && q.Type == dnswire.DS:
			expand(z, "*.ds.rsa.example.", "x.ds.rsa.example.", dns.TypeDS)(m)
		case q.Name == "x.ds.rsa.example" && q.Type == dnswire.DNSKEY:
			m.Answer, m.Rcode = nil, 0
			forged.put(&m.Answer, forged.apex, dns.TypeDNSKEY, "")
		}
	}
	w.want(t, v, "www.x.ds.rsa.example A", func(m *dns.Msg) {
		m.Answer, m.Ns, m.Rcode = nil, nil, 0
		forged.put(&m.Answer, "www.x.ds.rsa.example.", dns.TypeA, "")
	}, Bogus, EDEBogus)

	// A wildcard above its zone.
	w = newWorld(t)
	z = w.zones["p256.example."]
	w.want(t, w.validator(t, Options{}), "www.p256.example A", func(m *dns.Msg) {
		set := []dns.RR{rr(t, "*.example. 60 A 192.0.2.66")}
		m.Answer = append(set, z.signWith(t, z.zsk, set))
		for _, r := range m.Answer {
			r.Header().Name = "www.p256.example."
		}
	}, Bogus, EDESignaturesMissing)
}

func TestANameHasOneAlias(t *testing.T) {
	w := newWorld(t)
	z := w.zones["rsa.example."]
	z.add(rr(t, "two.rsa.example. 60 CNAME www.rsa.example."))
	z.add(rr(t, "two.rsa.example. 60 CNAME zz.rsa.example."))
	z.sign(t)
	w.want(t, w.validator(t, Options{}), "two.rsa.example A", nil, Bogus, EDEBogus)
}
