package dnssec

import (
	"github.com/miekg/dns"

	"watertight/dnswire"
)

// typeNXNAME stands in the bitmap of a name that is not there (RFC 9824, section 2).
const typeNXNAME = 128

// maxProofs bounds the NSEC and NSEC3 RRsets of one message that are verified for one zone. A proof takes three at most
// (RFC 5155, section 7.2.2), and a chain of CNAME records adds one for each link.
const maxProofs = 24

// denial is the verdict on the claim that something is not there.
type denial struct {
	verdict
	bits []uint16 // the types at the name, where a record of the proof is at the name itself
}

// proofs is the NSEC and NSEC3 records of one zone in one message, verified.
type proofs struct {
	w      *work
	apex   name
	ttl    verdict // Secure with the smallest TTL of the records
	failed verdict // why the last record that was dropped does not count; Secure where none was
	nsecs  []nsec
	hashed nsec3s
}

// proofsOf collects the records of a zone from the authority section. Those that were made from a wildcard are dropped:
// an NSEC is at its owner or nowhere (RFC 4035, section 5.4).
func (w *work) proofsOf(m *message, z *zone) *proofs {
	if p := m.proofs[z.apex]; p != nil {
		return p
	}
	p := &proofs{w: w, apex: z.apex, ttl: secure(maxTTL), failed: verdict{state: Secure}}
	left := maxProofs
	for _, set := range m.authority.list {
		if len(set.rrs) == 0 || set.typ != dns.TypeNSEC && set.typ != dns.TypeNSEC3 || !set.owner.under(z.apex) {
			continue
		}
		if left--; left < 0 {
			break
		}
		v := w.verify(set, z.apex, z.keys)
		if v.state == Secure && v.labels != set.owner.signed() {
			v.verdict = bogus(EDEBogus, "%s comes from a wildcard", set.text())
		}
		if v.state != Secure {
			p.failed = v.verdict
			continue
		}
		p.ttl = p.ttl.and(v.verdict)
		for _, rr := range set.rrs {
			p.add(set.owner, rr)
		}
	}
	if m.proofs == nil {
		m.proofs = map[name]*proofs{}
	}
	m.proofs[z.apex] = p
	return p
}

func (p *proofs) add(owner name, rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.NSEC:
		if next, ok := parseName(rr.NextDomain); ok && next.under(p.apex) {
			p.nsecs = append(p.nsecs, nsec{owner, next, rr.TypeBitMap})
		}
	case *dns.NSEC3:
		p.hashed.add(owner, p.apex, rr)
	}
}

// noName judges the claim that nothing is at n (RFC 4035, section 5.4; RFC 5155, section 8.4).
func (p *proofs) noName(n name) denial {
	if p.nsecNoName(n) {
		return denial{verdict: p.ttl}
	}
	if d, ok := p.nsec3NoName(n); ok {
		return d
	}
	return denial{verdict: p.missing("%s is not there", n.text())}
}

// noData judges the claim that the name n has nothing of the type (RFC 4035, section 5.4; RFC 5155, sections 8.5 to
// 8.7).
func (p *proofs) noData(n name, typ uint16) denial {
	if d, ok := p.nsecNoData(n, typ); ok {
		return d
	}
	if d, ok := p.nsec3NoData(n, typ); ok {
		return d
	}
	return denial{verdict: p.missing("%s has no %v", n.text(), dnswire.Type(typ))}
}

// noCloser judges the claim that n could only be answered from the wildcard below encloser: the name one label longer
// than encloser on the way to n is not there (RFC 4035, section 5.3.4; RFC 5155, section 8.8).
func (p *proofs) noCloser(n, encloser name) verdict {
	if p.nsecNoCloser(n, encloser) {
		return p.ttl
	}
	if v, ok := p.nsec3NoCloser(n, encloser); ok {
		return v
	}
	return p.missing("%s is not there, and a wildcard answers for it", n.text())
}

// missing is the verdict where no record proves the claim.
func (p *proofs) missing(claim string, args ...any) verdict {
	switch {
	case p.w.hashes < 0:
		return indeterminate("more than %d NSEC3 hashes for one answer of %s", p.w.v.limits.Hashes, p.apex.text())
	case p.failed.state != Secure:
		return p.failed
	}
	v := bogus(EDENSECMissing, claim, args...)
	v.reason = "nothing of " + p.apex.text() + " proves that " + v.reason
	return v
}

// has says whether a bitmap has a type.
func has(bits []uint16, typ uint16) bool {
	for _, b := range bits {
		if b == typ {
			return true
		}
	}
	return false
}

// notAt says whether the bitmap of the record at a name denies a type there. It is no witness for a name with a CNAME
// record, which answers every type; nor from the wrong side of a zone cut: the parent knows nothing but the DS, and the
// child nothing of the DS (RFC 4035, section 5.2; RFC 6840, section 4.4).
func notAt(bits []uint16, typ uint16, atRoot bool) bool {
	if has(bits, typ) || has(bits, dns.TypeCNAME) {
		return false
	}
	if typ == dns.TypeANY {
		for _, b := range bits {
			if b != dns.TypeNSEC && b != dns.TypeRRSIG && b != typeNXNAME {
				return false
			}
		}
	}
	if typ == dns.TypeDS && !atRoot {
		return !has(bits, dns.TypeSOA)
	}
	return !has(bits, dns.TypeNS) || has(bits, dns.TypeSOA)
}

// handsDown says whether the bitmap is of a name that has nothing to say of names below it: a delegation, seen from the
// parent, or a DNAME (RFC 6840, section 4.1; RFC 5155, section 8.3).
func handsDown(bits []uint16) bool {
	return has(bits, dns.TypeDNAME) || has(bits, dns.TypeNS) && !has(bits, dns.TypeSOA)
}
