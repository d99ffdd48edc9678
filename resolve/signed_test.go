package resolve_test

import (
	"context"
	"crypto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"watertight/dnssec"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

// signedZones are the zones of signed tests: which of them are signed, and what they hold beside the keys.
var signedZones = map[string]bool{".": true, "example.": true, "shop.example.": true, "plain.example.": false}

const signedRecords = `
. 3600 NS a.root.example.
api.shop.example. 300 A 192.0.2.1
api.shop.example. 60 AAAA 2001:db8::1
www.shop.example. 300 CNAME api.shop.example.
toplain.shop.example. 300 CNAME www.plain.example.
www.plain.example. 300 A 192.0.2.2
`

// signed is a resolver over zones that sign what they say when they are asked, so that it is always of now. What is not
// there is denied compactly: an NSEC record at the very name, without its type (RFC 9824).
type signed struct {
	keys    map[string]*zoneKey
	records []dns.RR
	valid   time.Duration // of the signatures; an hour, unless it is set

	mu     sync.Mutex
	tamper func(q dns.Question, m *dns.Msg)
}

type zoneKey struct {
	*dns.DNSKEY
	signer crypto.Signer
}

func newSigned(t testing.TB) *signed {
	t.Helper()
	s := &signed{keys: map[string]*zoneKey{}, valid: time.Hour}
	for apex, isSigned := range signedZones {
		if !isSigned {
			continue
		}
		k := newZoneKey(t, apex)
		s.keys[apex] = k
		s.records = append(s.records, k.DNSKEY)
		if apex != "." {
			ds := k.ToDS(dns.SHA256)
			ds.Hdr.Ttl = 600
			s.records = append(s.records, ds)
		}
	}
	p := dns.NewZoneParser(strings.NewReader(signedRecords), ".", "")
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		s.records = append(s.records, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	return s
}

func newZoneKey(t testing.TB, apex string) *zoneKey {
	t.Helper()
	k := &dns.DNSKEY{Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600}, Flags: 257, Protocol: 3, Algorithm: dns.ECDSAP256SHA256}
	private, err := k.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	return &zoneKey{k, private.(crypto.Signer)}
}

// anchor is the digest of the root's key.
func (s *signed) anchor(t testing.TB) dnssec.Anchor {
	t.Helper()
	a, err := dnssec.ParseAnchor(s.keys["."].ToDS(dns.SHA256).String())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// options are those of a resolver that trusts the root of s.
func (s *signed) options(t testing.TB, mode resolve.Mode) resolve.Options {
	t.Helper()
	return resolve.Options{DNSSEC: resolve.DNSSEC{Mode: mode, Anchors: []dnssec.Anchor{s.anchor(t)}}}
}

// change lets every reply from now on be changed before it is sent.
func (s *signed) change(f func(q dns.Question, m *dns.Msg)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tamper = f
}

// answer is the handler. Who asks without DO gets no signatures.
func (s *signed) answer(_ context.Context, query *dnstest.Query) dnstest.Reply {
	var asked, m dns.Msg
	if err := asked.Unpack(query.Raw); err != nil {
		panic(err)
	}
	m.SetReply(&asked)
	m.RecursionAvailable, m.AuthenticatedData = true, true // whatever is true of it
	q := m.Question[0]
	q.Name = strings.ToLower(q.Name)
	for range 8 {
		set := s.set(q.Name, q.Qtype)
		if len(set) > 0 {
			m.Answer = append(m.Answer, s.sign(set)...)
			break
		}
		link := s.set(q.Name, dns.TypeCNAME)
		if len(link) == 0 {
			m.Ns = append(m.Ns, s.deny(q)...)
			break
		}
		m.Answer = append(m.Answer, s.sign(link)...)
		q.Name = link[0].(*dns.CNAME).Target
	}
	if opt := asked.IsEdns0(); opt != nil && opt.Do() {
		m.SetEdns0(1232, true)
	} else {
		unsign(m.Question[0], &m)
	}
	s.mu.Lock()
	if s.tamper != nil {
		s.tamper(m.Question[0], &m)
	}
	s.mu.Unlock()
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return dnstest.Reply{Wire: b}
}

// set gives the records of a name and type.
func (s *signed) set(owner string, typ uint16) (set []dns.RR) {
	for _, rr := range s.records {
		if h := rr.Header(); h.Name == owner && h.Rrtype == typ {
			set = append(set, dns.Copy(rr))
		}
	}
	return set
}

// zoneOf gives the zone that is asked about a name: for a DS record the one above.
func zoneOf(owner string, typ uint16) string {
	if typ == dns.TypeDS && owner != "." {
		_, owner, _ = strings.Cut(owner, ".")
	}
	for owner != "" {
		if _, ok := signedZones[owner]; ok {
			return owner
		}
		_, owner, _ = strings.Cut(owner, ".")
	}
	return "."
}

// sign appends the signature of a set, where its zone signs.
func (s *signed) sign(set []dns.RR) []dns.RR {
	h := set[0].Header()
	apex := zoneOf(h.Name, h.Rrtype)
	if h.Rrtype == dns.TypeNSEC && h.Ttl == parentTTL {
		apex = zoneOf(h.Name, dns.TypeDS)
	}
	s.mu.Lock()
	k := s.keys[apex]
	s.mu.Unlock()
	if k == nil {
		return set
	}
	return append(slices.Clone(set), s.signature(k, apex, set))
}

func (s *signed) signature(k *zoneKey, apex string, set []dns.RR) *dns.RRSIG {
	now := time.Now()
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: set[0].Header().Ttl}, Algorithm: k.Algorithm, KeyTag: k.KeyTag(), SignerName: apex,
		Inception: uint32(now.Add(-time.Hour).Unix()), Expiration: uint32(now.Add(s.valid).Unix()),
	}
	if err := sig.Sign(k.signer, set); err != nil {
		panic(err)
	}
	return sig
}

// parentTTL marks a denial of the zone above a cut.
const parentTTL = 301

// deny says that there is nothing of the type.
func (s *signed) deny(q dns.Question) []dns.RR {
	apex := zoneOf(q.Name, q.Qtype)
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: apex, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 300}, Ns: "ns.example.", Mbox: "admin.example.", Minttl: 300}
	out := s.sign([]dns.RR{soa})
	if s.keys[apex] == nil {
		return out
	}
	bits := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	ttl := uint32(300)
	for _, rr := range s.records {
		if h := rr.Header(); h.Name == q.Name && h.Rrtype != dns.TypeDS {
			bits = append(bits, h.Rrtype)
		}
	}
	if _, cut := signedZones[q.Name]; cut && q.Qtype == dns.TypeDS {
		bits, ttl = []uint16{dns.TypeNS, dns.TypeRRSIG, dns.TypeNSEC}, parentTTL
	}
	slices.Sort(bits)
	nsec := &dns.NSEC{
		Hdr:        dns.RR_Header{Name: q.Name, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
		NextDomain: `\000.` + strings.TrimPrefix(q.Name, "."), TypeBitMap: slices.Compact(bits),
	}
	return append(out, s.sign([]dns.RR{nsec})...)
}

// unsign takes signatures and proofs out of a reply.
func unsign(_ dns.Question, m *dns.Msg) {
	of := func(rr dns.RR) bool { t := rr.Header().Rrtype; return t == dns.TypeRRSIG || t == dns.TypeNSEC }
	m.Answer, m.Ns = slices.DeleteFunc(m.Answer, of), slices.DeleteFunc(m.Ns, of)
}

// forge changes every address.
func forge(_ dns.Question, m *dns.Msg) {
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			a.A[len(a.A)-1] ^= 1
		}
	}
}

// signedOne is a resolver over one upstream that serves signed zones.
func signedOne(t testing.TB, s *signed, o resolve.Options) (*rig, *dnstest.Server, *resolve.Resolver) {
	t.Helper()
	g := newRig(t)
	server := g.Serve(upstream.DoT, first, s.answer)
	return g, server, g.resolver(t, o, g.Upstream(upstream.DoT, first))
}
