package dnssec

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"watertight/lab"
)

// load makes a zone of what a signer wrote: records, signatures and proofs.
func load(t *testing.T, apex, path string) *testZone {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := &testZone{apex: apex, sets: map[string]map[uint16][]dns.RR{}, sigs: map[string]map[uint16][]dns.RR{}}
	p := dns.NewZoneParser(f, apex, path)
	for r, ok := p.Next(); ok; r, ok = p.Next() {
		r.Header().Name = strings.ToLower(r.Header().Name)
		switch r := r.(type) {
		case *dns.RRSIG:
			z.addSig(r)
		case *dns.NSEC:
			z.denials = append(z.denials, r)
		case *dns.NSEC3:
			r.NextDomain = strings.ToUpper(r.NextDomain) // as the library compares it
			z.hashed, z.iterations, z.salt, z.optOut = true, r.Iterations, r.Salt, r.Flags&1 != 0
			z.denials = append(z.denials, r)
		case *dns.DNSKEY:
			z.add(r)
			if r.Flags&dns.SEP != 0 {
				z.ksk = &testKey{DNSKEY: r}
			}
		default:
			z.add(r)
		}
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(z.denials, func(a, b dns.RR) int { return compare(mustName(a.Header().Name), mustName(b.Header().Name)) })
	return z
}

// Zones signed by ldns and by BIND: their order of names, hashes, bitmaps and signatures are not ours.
func TestZonesThatOthersSignedAreSecure(t *testing.T) {
	lab.Need(t, "ldns-keygen", "ldns-signzone", "dnssec-keygen", "dnssec-signzone")
	run := func(t *testing.T, dir string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = dir
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		return strings.TrimSpace(string(out))
	}
	const apex = "signed.example."
	const from, until = "20260501000000", "20260701000000"
	ldns := func(algorithm string, flags ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			ksk, zsk := run(t, dir, "ldns-keygen", "-k", "-a", algorithm, apex), run(t, dir, "ldns-keygen", "-a", algorithm, apex)
			run(t, dir, append(append([]string{"ldns-signzone", "-i", from, "-e", until, "-f", "out"}, flags...), "zone", zsk, ksk)...)
		}
	}
	bind := func(algorithm string, flags ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			run(t, dir, "dnssec-keygen", "-q", "-f", "KSK", "-a", algorithm, apex)
			run(t, dir, "dnssec-keygen", "-q", "-a", algorithm, apex)
			run(t, dir, append(append([]string{"dnssec-signzone", "-S", "-P", "-q", "-O", "full", "-s", from, "-e", until, "-o", apex, "-f", "out"}, flags...), "zone")...)
		}
	}
	for name, sign := range map[string]func(t *testing.T, dir string){
		"ldns RSASHA256, NSEC":           ldns("RSASHA256"),
		"ldns ECDSAP256SHA256, NSEC3":    ldns("ECDSAP256SHA256", "-n", "-t", "3", "-s", "ABCD"),
		"ldns ED25519, opt-out":          ldns("ED25519", "-n", "-p", "-t", "0"),
		"BIND ECDSAP384SHA384, NSEC":     bind("ECDSAP384SHA384"),
		"BIND RSASHA512, NSEC3":          bind("RSASHA512", "-3", "AABB", "-H", "1"),
		"BIND ECDSAP256SHA256, opt-out":  bind("ECDSAP256SHA256", "-3", "-", "-H", "0", "-A"),
		"BIND ED25519, NSEC, mixed case": bind("ED25519"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text := "$TTL 3600\n$ORIGIN " + apex + "\n@ SOA ns host 1 2 3 4 300\n@ NS ns\nns A 192.0.2.53\n" + stock
			text = strings.ReplaceAll(text, "\nmx MX", "\nUPPER.Case MX 5 Www.SIGNED.example.\nmx MX")
			if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(strings.TrimPrefix(text, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			sign(t, dir)
			w := newWorld(t)
			z := load(t, apex, filepath.Join(dir, "out"))
			w.zones["example."].add(rr(t, apex+" NS ns."+apex))
			w.zones["example."].add(z.ds(dns.SHA256))
			w.zones["example."].sign(t)
			w.zones[apex] = z
			v := w.validator(t, Options{})
			for _, c := range append(questions, questions[0], struct {
				q     string
				rcode int
				state State
			}{"upper.case MX", 0, Secure}) {
				q := question(strings.Replace(strings.Replace(c.q, "@ ", apex+" ", 1), " ", "."+apex+" ", btoi(!strings.HasPrefix(c.q, "@"))))
				want := c.state
				if z.optOut && optedOut(c.q) && z.match(dns.Fqdn(q.Name)) == nil { // ldns lists unsigned delegations all the same
					want = Insecure
				}
				if r := w.judge(t, v, q, nil); r.State != want {
					t.Errorf("%v: %v, want %v: %s", q, r.State, want, r.Reason)
				}
			}
		})
	}
}
