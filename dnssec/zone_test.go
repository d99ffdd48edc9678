package dnssec

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// noon is the moment at which the tests take place.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// testKey is a key of a zone with its private half.
type testKey struct {
	*dns.DNSKEY
	signer crypto.Signer
}

var keyPool sync.Map // of algorithm and number: making keys is slow, and which zone has them does not matter

// newKey gives the nth key of an algorithm, as one of apex.
func newKey(t testing.TB, apex string, algorithm uint8, flags uint16, nth int) *testKey {
	t.Helper()
	bits := map[uint8]int{dns.RSASHA1: 1024, dns.RSASHA256: 1024, dns.RSASHA512: 1024, dns.ECDSAP256SHA256: 256, dns.ECDSAP384SHA384: 384, dns.ED25519: 256}[algorithm]
	id := fmt.Sprint(algorithm, nth)
	made, ok := keyPool.Load(id)
	if !ok {
		k := &dns.DNSKEY{Flags: 256, Protocol: 3, Algorithm: algorithm}
		priv, err := k.Generate(bits)
		if err != nil {
			t.Fatal(err)
		}
		made, _ = keyPool.LoadOrStore(id, &testKey{k, priv.(crypto.Signer)})
	}
	k := *made.(*testKey).DNSKEY
	k.Hdr = dns.RR_Header{Name: apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}
	k.Flags = flags
	return &testKey{&k, made.(*testKey).signer}
}

// testZone is a zone as a server holds it. Its fields may be changed before sign.
type testZone struct {
	apex                  string
	sets                  map[string]map[uint16][]dns.RR // by owner and type, with DNSKEY and without what sign makes
	ksk, zsk              *testKey                       // none: the zone is not signed
	keys                  []*testKey                     // published beside those
	hashed                bool                           // NSEC3
	optOut                bool
	iterations            uint16
	salt                  string
	inception, expiration time.Time

	sigs    map[string]map[uint16][]dns.RR
	denials []dns.RR // in order
}

// newZone reads records whose names are relative to apex where they do not end in a dot; @ is apex.
func newZone(t testing.TB, apex string, algorithm uint8, text string) *testZone {
	t.Helper()
	z := &testZone{apex: apex, sets: map[string]map[uint16][]dns.RR{}, inception: noon.Add(-24 * time.Hour), expiration: noon.Add(24 * time.Hour)}
	p := dns.NewZoneParser(strings.NewReader("$TTL 3600\n@ SOA ns host 1 2 3 4 300\n@ NS ns\nns A 192.0.2.53\n"+text), apex, "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.add(rr)
	}
	if err := p.Err(); err != nil {
		t.Fatalf("%s: %v", apex, err)
	}
	if algorithm != 0 {
		z.ksk, z.zsk = newKey(t, apex, algorithm, 257, 1), newKey(t, apex, algorithm, 256, 2)
	}
	return z
}

func (z *testZone) add(rr dns.RR) {
	h := rr.Header()
	owner := strings.ToLower(h.Name)
	if z.sets[owner] == nil {
		z.sets[owner] = map[uint16][]dns.RR{}
	}
	z.sets[owner][h.Rrtype] = append(z.sets[owner][h.Rrtype], rr)
}

// isCut says whether a zone below begins at owner.
func (z *testZone) isCut(owner string) bool {
	return owner != z.apex && len(z.sets[owner][dns.TypeNS]) > 0
}

// beneath says whether owner is below a cut: what is there is glue.
func (z *testZone) beneath(owner string) bool {
	for n := mustName(owner).parent(); n.labels() >= mustName(z.apex).labels() && owner != z.apex; n = n.parent() {
		if z.isCut(n.fqdn()) {
			return true
		}
		if n == root {
			break
		}
	}
	return false
}

func mustName(s string) name {
	n, ok := parseName(s)
	if !ok {
		panic(s)
	}
	return n
}

// sign makes signatures and proofs.
func (z *testZone) sign(t testing.TB) {
	t.Helper()
	z.sigs, z.denials = map[string]map[uint16][]dns.RR{}, nil
	if z.zsk == nil {
		return
	}
	delete(z.sets[z.apex], dns.TypeDNSKEY)
	for _, k := range append([]*testKey{z.ksk, z.zsk}, z.keys...) {
		z.add(k.DNSKEY)
	}
	if z.hashed {
		z.hashNames()
	} else {
		z.linkNames()
	}
	for owner, sets := range z.sets {
		for typ, rrs := range sets {
			if z.beneath(owner) || z.isCut(owner) && typ != dns.TypeDS {
				continue
			}
			z.signSet(t, rrs)
		}
	}
	for _, rr := range z.denials {
		z.signSet(t, []dns.RR{rr})
	}
}

func (z *testZone) signSet(t testing.TB, rrs []dns.RR) {
	t.Helper()
	k := z.zsk
	if rrs[0].Header().Rrtype == dns.TypeDNSKEY {
		k = z.ksk
	}
	z.addSig(z.signWith(t, k, rrs))
}

func (z *testZone) signWith(t testing.TB, k *testKey, rrs []dns.RR) *dns.RRSIG {
	t.Helper()
	sig := &dns.RRSIG{
		Algorithm: k.Algorithm, KeyTag: k.KeyTag(), SignerName: z.apex,
		Inception: uint32(z.inception.Unix()), Expiration: uint32(z.expiration.Unix()),
	}
	sig.Hdr.Ttl = rrs[0].Header().Ttl
	if err := sig.Sign(k.signer, rrs); err != nil {
		t.Fatalf("%v: %v", rrs[0], err)
	}
	return sig
}

func (z *testZone) addSig(sig *dns.RRSIG) {
	owner := strings.ToLower(sig.Hdr.Name)
	if z.sigs[owner] == nil {
		z.sigs[owner] = map[uint16][]dns.RR{}
	}
	z.sigs[owner][sig.TypeCovered] = append(z.sigs[owner][sig.TypeCovered], sig)
}

// bitmap gives the types at owner as a proof lists them.
func (z *testZone) bitmap(owner string, extra ...uint16) []uint16 {
	bits := extra
	for typ := range z.sets[owner] {
		if !z.isCut(owner) || typ == dns.TypeNS || typ == dns.TypeDS {
			bits = append(bits, typ)
		}
	}
	slices.Sort(bits)
	return bits
}

// owners gives the names that the zone has a say about.
func (z *testZone) owners() []string {
	list := slices.DeleteFunc(slices.Collect(maps.Keys(z.sets)), z.beneath)
	slices.SortFunc(list, func(a, b string) int { return compare(mustName(a), mustName(b)) })
	return list
}

func (z *testZone) linkNames() {
	list := z.owners()
	for i, owner := range list {
		z.denials = append(z.denials, &dns.NSEC{
			Hdr:        dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: 300},
			NextDomain: list[(i+1)%len(list)], TypeBitMap: z.bitmap(owner, dns.TypeNSEC, dns.TypeRRSIG),
		})
	}
}

func (z *testZone) hashNames() {
	bits := map[string][]uint16{} // by hash
	for _, owner := range z.owners() {
		if z.optOut && z.isCut(owner) && len(z.sets[owner][dns.TypeDS]) == 0 {
			continue
		}
		var extra []uint16
		if !z.isCut(owner) || len(z.sets[owner][dns.TypeDS]) > 0 {
			extra = append(extra, dns.TypeRRSIG)
		}
		bits[z.hash(owner)] = z.bitmap(owner, extra...)
		for n := mustName(owner); n.below(mustName(z.apex)); n = n.parent() { // empty non-terminals
			if h := z.hash(n.fqdn()); bits[h] == nil {
				bits[h] = []uint16{}
			}
		}
	}
	list := slices.Sorted(maps.Keys(bits))
	for i, h := range list {
		rr := &dns.NSEC3{
			Hdr:  dns.RR_Header{Name: strings.ToLower(h) + "." + strings.TrimPrefix(z.apex, "."), Rrtype: dns.TypeNSEC3, Class: dns.ClassINET, Ttl: 300},
			Hash: 1, Iterations: z.iterations, SaltLength: uint8(hex.DecodedLen(len(z.salt))), Salt: z.salt, HashLength: 20,
			NextDomain: list[(i+1)%len(list)], TypeBitMap: bits[h],
		}
		if z.optOut {
			rr.Flags = 1
		}
		z.denials = append(z.denials, rr)
	}
}

// hash is the message library's, so that the package's own is compared with it.
func (z *testZone) hash(owner string) string {
	return dns.HashName(owner, dns.SHA1, z.iterations, z.salt)
}

// ds gives the delegation of a zone to its keys.
func (z *testZone) ds(digest uint8) *dns.DS {
	ds := z.ksk.ToDS(digest)
	ds.Hdr.Ttl = 3600
	return ds
}
