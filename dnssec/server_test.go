package dnssec

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// world is every zone there is, and a resolver over them that does not validate: it answers as one does that is asked
// with DO and CD.
type world struct {
	zones map[string]*testZone
	// tamper changes what the resolver says to one question before it is sent, if set.
	tamper func(q dnswire.Question, m *dns.Msg)

	mu    sync.Mutex
	asked []dnswire.Question
}

// link puts DS records of every signed zone into its parent, and signs from the leaves up.
func (w *world) link(t testing.TB) {
	t.Helper()
	for apex, z := range w.zones {
		if parent := w.parent(apex); parent != nil {
			if len(parent.sets[apex][dns.TypeNS]) == 0 {
				parent.add(rr(t, apex+" NS ns."+apex))
			}
			if z.ksk != nil && parent.zsk != nil && len(parent.sets[apex][dns.TypeDS]) == 0 {
				parent.add(z.ds(dns.SHA256))
			}
		}
	}
	for _, z := range w.zones {
		z.sign(t)
	}
}

func rr(t testing.TB, text string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

func (w *world) parent(apex string) *testZone {
	for n := mustName(apex); n != root; {
		n = n.parent()
		if z := w.zones[n.fqdn()]; z != nil {
			return z
		}
	}
	return nil
}

// zoneOf gives the zone that answers q: for DS the one above the cut.
func (w *world) zoneOf(owner string, typ uint16) *testZone {
	if z := w.zones[owner]; z != nil && (typ != dns.TypeDS || owner == ".") {
		return z
	}
	return w.parent(owner)
}

// reply gives the whole answer to q, following CNAME records from zone to zone.
func (w *world) reply(q dnswire.Question) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, RecursionDesired: true, RecursionAvailable: true, CheckingDisabled: true}}
	m.Question = []dns.Question{{Name: dns.Fqdn(q.Name), Qtype: uint16(q.Type), Qclass: dns.ClassINET}}
	owner := dns.Fqdn(strings.ToLower(q.Name))
	for range 20 {
		z := w.zoneOf(owner, uint16(q.Type))
		next := z.answer(m, owner, uint16(q.Type))
		if next == "" {
			break
		}
		owner = strings.ToLower(next)
	}
	return m.Copy() // the caller may change it
}

func (w *world) ask(_ context.Context, q dnswire.Question) ([]byte, error) {
	w.mu.Lock()
	w.asked = append(w.asked, q)
	w.mu.Unlock()
	m := w.reply(q)
	if w.tamper != nil {
		w.tamper(q, m)
	}
	if m.Rcode == dns.RcodeServerFailure {
		return nil, errors.New("no answer")
	}
	return m.Pack()
}

// answer adds what the zone says of owner, and gives the name that it leads on to.
func (z *testZone) answer(m *dns.Msg, owner string, typ uint16) (next string) {
	for n := mustName(owner); n.below(mustName(z.apex)); {
		n = n.parent()
		above := n.fqdn()
		if d := z.sets[above][dns.TypeDNAME]; len(d) > 0 {
			z.put(&m.Answer, above, dns.TypeDNAME, "")
			target := strings.TrimSuffix(owner, above) + d[0].(*dns.DNAME).Target
			m.Answer = append(m.Answer, &dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: 1, Ttl: 60}, Target: target})
			return target
		}
	}
	if z.exists(owner) {
		if next, found := z.records(m, owner, owner, typ); found {
			return next
		}
		z.deny(m, owner, z.match(owner))
		return ""
	}
	encloser := mustName(owner)
	for !z.exists(encloser.fqdn()) {
		encloser = encloser.parent()
	}
	closer, wild := mustName(owner).last(encloser.labels()+1).fqdn(), encloser.wildcard().fqdn()
	if z.hashed && z.exists(wild) || !z.hashed {
		if next, found := z.records(m, wild, owner, typ); found {
			z.prove(m, z.cover(owner, closer))
			return next
		}
	}
	proof := []dns.RR{z.cover(owner, closer)}
	if z.hashed {
		proof = append(proof, z.match(encloser.fqdn()))
	}
	if z.exists(wild) {
		z.deny(m, owner, append(proof, z.match(wild))...)
		return ""
	}
	m.Rcode = dns.RcodeNameError
	z.deny(m, owner, append(proof, z.cover(wild, wild))...)
	return ""
}

// records puts the records at from into the answer, as those of owner.
func (z *testZone) records(m *dns.Msg, from, owner string, typ uint16) (next string, found bool) {
	if typ == dns.TypeANY {
		for t := range z.sets[from] {
			z.put(&m.Answer, from, t, owner)
		}
		return "", len(z.sets[from]) > 0
	}
	if len(z.sets[from][typ]) > 0 {
		z.put(&m.Answer, from, typ, owner)
		return "", true
	}
	if c := z.sets[from][dns.TypeCNAME]; len(c) > 0 {
		z.put(&m.Answer, from, dns.TypeCNAME, owner)
		return c[0].(*dns.CNAME).Target, true
	}
	return "", false
}

// put adds an RRset and its signatures, renamed where it comes from a wildcard.
func (z *testZone) put(to *[]dns.RR, from string, typ uint16, owner string) {
	for _, rr := range append(slices.Clone(z.sets[from][typ]), z.sigs[from][typ]...) {
		rr = dns.Copy(rr)
		if owner != "" {
			rr.Header().Name = owner
		}
		*to = append(*to, rr)
	}
}

// exists says whether there is a name: with records, or with names below it.
func (z *testZone) exists(owner string) bool {
	for have := range z.sets {
		if mustName(have).under(mustName(owner)) {
			return true
		}
	}
	return false
}

// deny ends a negative answer: SOA and proof.
func (z *testZone) deny(m *dns.Msg, owner string, proof ...dns.RR) {
	z.put(&m.Ns, z.apex, dns.TypeSOA, "")
	for i, rr := range proof {
		if rr == nil { // no record is at the name: the one before it, or those of opt-out, tell of it
			if !z.hashed {
				proof[i] = z.cover(owner, owner)
				continue
			}
			encloser := mustName(owner)
			for z.match(encloser.fqdn()) == nil {
				encloser = encloser.parent()
			}
			closer := mustName(owner).last(encloser.labels() + 1).fqdn()
			proof = append(proof, z.match(encloser.fqdn()), z.cover(closer, closer))
		}
	}
	z.prove(m, proof...)
}

func (z *testZone) prove(m *dns.Msg, proof ...dns.RR) {
	for _, rr := range proof {
		if rr == nil || slices.Contains(m.Ns, rr) {
			continue
		}
		m.Ns = append(m.Ns, rr)
		m.Ns = append(m.Ns, z.sigs[strings.ToLower(rr.Header().Name)][rr.Header().Rrtype]...)
	}
}

// match gives the NSEC or NSEC3 record at a name, or nil.
func (z *testZone) match(owner string) dns.RR {
	for _, rr := range z.denials {
		switch rr := rr.(type) {
		case *dns.NSEC:
			if rr.Hdr.Name == owner {
				return rr
			}
		case *dns.NSEC3:
			if rr.Match(owner) {
				return rr
			}
		}
	}
	return nil
}

// cover gives the NSEC record over owner, or the NSEC3 record over closer.
func (z *testZone) cover(owner, closer string) dns.RR {
	var last dns.RR
	for _, rr := range z.denials {
		switch rr := rr.(type) {
		case *dns.NSEC:
			if compare(mustName(rr.Hdr.Name), mustName(owner)) < 0 {
				last = rr
			}
		case *dns.NSEC3:
			if rr.Cover(closer) {
				return rr
			}
		}
	}
	return last
}
