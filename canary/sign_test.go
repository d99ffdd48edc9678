package canary

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/visit"
)

// flaws gives what is wrong with the signatures of a section: each set has one, and it holds.
func flaws(section []dns.RR, key *dns.DNSKEY, at time.Time) (out []string) {
	type set struct {
		name string
		typ  uint16
	}
	sets := map[set][]dns.RR{}
	for _, rr := range section {
		if h := rr.Header(); h.Rrtype != dns.TypeRRSIG {
			sets[set{h.Name, h.Rrtype}] = append(sets[set{h.Name, h.Rrtype}], rr)
		}
	}
	for s, rrs := range sets {
		i := slices.IndexFunc(section, func(rr dns.RR) bool {
			sig, ok := rr.(*dns.RRSIG)
			return ok && sig.TypeCovered == s.typ && sig.Hdr.Name == s.name
		})
		if i < 0 {
			out = append(out, s.name+" "+dns.TypeToString[s.typ]+" has no signature")
			continue
		}
		sig := section[i].(*dns.RRSIG)
		if err := sig.Verify(key, rrs); err != nil || !sig.ValidityPeriod(at) || sig.SignerName != key.Hdr.Name {
			out = append(out, s.name+" "+dns.TypeToString[s.typ]+": the signature is wrong")
		}
	}
	return out
}

// covers says whether an NSEC record proves that a name is not there.
func covers(rr *dns.NSEC, name string) bool {
	return before(rr.Hdr.Name, name) && before(name, rr.NextDomain)
}

// before compares names in canonical order (RFC 4034, section 6.1).
func before(a, b string) bool {
	x, y := dns.SplitDomainName(a), dns.SplitDomainName(b)
	slices.Reverse(x)
	slices.Reverse(y)
	return slices.CompareFunc(x, y, strings.Compare) < 0
}

func keyOfZone(s *served) *dns.DNSKEY {
	s.t.Helper()
	r := s.over("tcp", question(testZone, dns.TypeDNSKEY, secure))
	if len(r.Answer) != 2 {
		s.t.Fatalf("%v", r)
	}
	return r.Answer[0].(*dns.DNSKEY)
}

func TestWhatIsSaidIsSigned(t *testing.T) {
	s := serve(t, newNames(t, nil))
	if err := s.SetChallenges("one", "two"); err != nil {
		t.Fatal(err)
	}
	key := keyOfZone(s)
	if ds := key.ToDS(dns.SHA256); !strings.HasSuffix(s.Zone().DS[0], strings.ToUpper(ds.Digest)) || key.Flags != 257 || key.Algorithm != 13 {
		t.Errorf("%v\n%v", ds, s.Zone().DS)
	}
	label := visit.NewLabel()
	for _, name := range []string{
		testZone, "ns1." + testZone, "ns." + testZone, "whoami." + testZone, "www." + testZone, "WWW." + testZone, `a\ b\.c.` + testZone,
		"_acme-challenge." + testZone, strings.ToUpper(visit.Name(label, visit.Plain, testZone)), "a.b." + visit.Name(label, visit.V4, testZone),
		visit.Name(label, visit.V6, testZone), visit.Name(label, visit.Nxdomain, testZone), "a.b." + visit.Name(label, visit.Nxdomain, testZone),
		visit.Name(label, visit.Large, testZone),
	} {
		for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeHTTPS, dns.TypeDNSKEY, dns.TypeMX, dns.TypeNSEC, dns.TypeANY, dns.TypeDS} {
			r := s.over("tcp", question(name, typ, secure))
			if len(r.Answer)+len(r.Ns) == 0 {
				t.Errorf("%s %s: %v", name, dns.TypeToString[typ], r)
			}
			for _, f := range append(flaws(r.Answer, key, time.Now()), flaws(r.Ns, key, time.Now())...) {
				t.Errorf("%s %s: %s", name, dns.TypeToString[typ], f)
			}
			if r.Rcode == dns.RcodeNameError {
				for _, absent := range []string{strings.ToLower(visit.Name(label, visit.Nxdomain, testZone)) + ".", "*." + testZone + "."} {
					if !slices.ContainsFunc(r.Ns, func(rr dns.RR) bool { n, ok := rr.(*dns.NSEC); return ok && covers(n, absent) }) {
						t.Errorf("%s is not proven to be absent: %v", absent, r.Ns)
					}
				}
			} else if len(r.Answer) == 0 {
				nsec := firstOf[*dns.NSEC](r.Ns)
				if nsec == nil || !strings.EqualFold(nsec.Hdr.Name, name+".") || !strings.EqualFold(nsec.NextDomain, `\000.`+nsec.Hdr.Name) || slices.Contains(nsec.TypeBitMap, typ) ||
					!slices.Contains(nsec.TypeBitMap, dns.TypeNSEC) {
					t.Errorf("%s %s: %v", name, dns.TypeToString[typ], r)
				}
			}
		}
	}
}

func firstOf[T dns.RR](section []dns.RR) (none T) {
	for _, rr := range section {
		if found, ok := rr.(T); ok {
			return found
		}
	}
	return none
}

func TestANameThatIsNotThereIsToldAsFarAsItsAskerUnderstands(t *testing.T) {
	s := serve(t, newNames(t, nil))
	compact := func(m *dns.Msg) {
		secure(m)
		m.IsEdns0().Hdr.Ttl |= 1 << 14
	}
	for _, c := range []struct {
		name   string
		change func(*dns.Msg)
		rcode  int
		nxname bool
	}{
		{"www." + testZone, func(*dns.Msg) {}, dns.RcodeNameError, false},
		{"www." + testZone, secure, dns.RcodeSuccess, true},
		{"www." + testZone, compact, dns.RcodeNameError, true},
		{visit.Name(visit.NewLabel(), visit.Nxdomain, testZone), func(*dns.Msg) {}, dns.RcodeNameError, false},
		{visit.Name(visit.NewLabel(), visit.Nxdomain, testZone), secure, dns.RcodeNameError, false},
		{visit.Name(visit.NewLabel(), visit.Nxdomain, testZone), compact, dns.RcodeNameError, true},
		{"ns." + testZone, secure, dns.RcodeSuccess, false},
	} {
		r := s.over("tcp", question(c.name, dns.TypeA, c.change))
		nsec := firstOf[*dns.NSEC](r.Ns)
		if r.Rcode != c.rcode || c.nxname != (nsec != nil && slices.Contains(nsec.TypeBitMap, 128)) {
			t.Errorf("%v", r)
		}
	}
}

func TestBogusNamesHaveWrongSignatures(t *testing.T) {
	s := serve(t, newNames(t, nil))
	key := keyOfZone(s)
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypeMX} {
		r := s.over("tcp", question(visit.Name(visit.NewLabel(), visit.Bogus, testZone), typ, secure))
		section := append(r.Answer, r.Ns...)
		if got := flaws(section, key, time.Now()); len(section) < 2 || len(got) != len(section)/2 || strings.Contains(strings.Join(got, " "), "no signature") {
			t.Errorf("%v\n%v", got, r)
		}
	}
	for _, f := range flaws(s.over("tcp", question(testZone, dns.TypeMX, secure)).Ns, key, time.Now()) {
		t.Errorf("what is not bogus was spoilt: %s", f)
	}
}

func TestSignaturesHoldAtAnyTime(t *testing.T) {
	at := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	s := serve(t, newNames(t, func(o *Options) { o.Now = func() time.Time { return at } }))
	key := keyOfZone(s)
	for range 5 {
		for _, typ := range []uint16{dns.TypeSOA, dns.TypeMX} {
			r := s.over("tcp", question(testZone, typ, secure))
			for _, when := range []time.Time{at.Add(-time.Hour + time.Second), at, at.Add(24 * time.Hour)} {
				for _, f := range append(flaws(r.Answer, key, when), flaws(r.Ns, key, when)...) {
					t.Errorf("at %s, asked at %s: %s", when, at, f)
				}
			}
		}
		at = at.Add(37*time.Minute + 13*time.Second)
	}
}

func TestAKeyIsMadeOnceAndIsItsOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "canary.key")
	key, made, err := Key(path)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	again, made, err := Key(path)
	if err != nil || made || !again.Equal(key) {
		t.Error(made, err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%v", files)
	}
	good, _ := os.ReadFile(path)
	for name, c := range map[string]struct {
		mode fs.FileMode
		text []byte
		want string
	}{
		"others may read it":  {0o640, good, "chmod 600"},
		"others may write it": {0o602, good, "chmod 600"},
		"not PEM":             {0o600, []byte("key"), "PEM"},
		"empty":               {0o600, nil, "PEM"},
		"not a key":           {0o600, bytes.Replace(good, []byte("\nM"), []byte("\nN"), 1), "PKCS #8"},
		"of another curve":    {0o600, []byte(p384), "P-256"},
	} {
		if err := os.WriteFile(path, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Key(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Key(filepath.Dir(path)); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory: %v", err)
	}
}

// p384 is a key that is of no use to us, made by openssl.
const p384 = `-----BEGIN PRIVATE KEY-----
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDC6Dht47yuDrIub7gW8
XTn+ojYDTjFWWnuXosjzBXRo95haVGU6zEq57jjA6L6+5tChZANiAAQkGoEshxlY
MD4J2/egAU6fiNvfcVdLYKqIhee6bLsCWBS3ib/Syn9PNy9PRbZCBz5POUthkTjl
ElVI4Gb0g6/2fci+RXNSpHG5YBxmaHV8ybHZ1X75BDC+DKsHd96gLCE=
-----END PRIVATE KEY-----
`
