package dnssec

import (
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// maxDS bounds the DS records of one delegation that are compared with keys.
const maxDS = 16

// walk follows the chain of trust from the root towards target, label by label, and gives the place where it ends: the
// deepest zone at or above target, the point where the chain is proven to end, or where it is broken. DS records are
// asked at every name on the way and judged with the keys of the zone above: the parent's side of each cut (RFC 4035,
// sections 3.1.4.1 and 5.2).
func (w *work) walk(target name) node {
	at := w.v.nodes.find(w, root, w.rootKeys)
	if at.kind != cut {
		return at
	}
	depth := target.labels()
	for i := 1; i <= depth; i++ {
		n, above := target.last(i), at.zone
		next := w.v.nodes.find(w, n, func() node { return w.delegation(above, n) })
		ttl := min(at.ttl, next.ttl)
		switch next.kind {
		case cut:
			at = next
		case inside:
		case nothing:
			at.ttl = ttl
			return at
		default:
			return next
		}
		at.ttl = ttl
	}
	return at
}

// rootKeys proves the keys of the root with the trust anchors.
func (w *work) rootKeys() node {
	w.v.mu.Lock()
	anchors := w.v.anchors
	w.v.mu.Unlock()
	return w.keys(root, func(k zoneKey) bool {
		for _, a := range anchors {
			if a.is(k) {
				return true
			}
		}
		return false
	}, "a trust anchor", maxTTL)
}

// delegation finds out whether a zone begins at n, a name in the zone above it.
func (w *work) delegation(above *zone, n name) node {
	m, failed := w.lookup(n, dnswire.DS)
	if m == nil {
		return node{verdict: failed}
	}
	if set := m.answer.get(n, dns.TypeDS); set != nil && m.rcode == dnswire.NoError {
		return w.signedDelegation(above, n, set)
	}
	if m.answer.get(n, dns.TypeCNAME) != nil {
		return w.alias(above, n, m)
	}
	p := w.proofsOf(m, above)
	if m.rcode == dnswire.NXDomain {
		d := p.noName(n)
		return node{kind: d.kind(nothing), verdict: d.verdict}
	}
	d := p.noData(n, dns.TypeDS)
	switch {
	case d.state != Secure:
		return node{kind: d.kind(broken), verdict: d.verdict}
	case has(d.bits, dns.TypeNS):
		return node{kind: ends, verdict: insecure(EDENone, d.ttl, "%s is delegated without a DS record, and %s proves it", n.text(), above.apex.text())}
	}
	return node{kind: inside, verdict: d.verdict}
}

// signedDelegation goes from the DS records of n, signed by the zone above, to the keys of n.
func (w *work) signedDelegation(above *zone, n name, set *rrset) node {
	p := w.verify(set, above.apex, above.keys)
	if p.state != Secure {
		return node{verdict: p.verdict}
	}
	if p.labels != n.signed() {
		return node{verdict: bogus(EDEBogus, "the DS of %s comes from a wildcard", n.text())}
	}
	var all []*dns.DS
	for _, rr := range set.rrs {
		if ds, ok := rr.(*dns.DS); ok {
			all = append(all, ds)
		}
	}
	usable, ede := chooseDS(all)
	if len(usable) == 0 {
		return node{kind: ends, verdict: insecure(ede, p.ttl, "%s is signed with algorithms that cannot be checked here", n.text())}
	}
	usable = usable[:min(len(usable), maxDS)]
	return w.keys(n, func(k zoneKey) bool {
		for _, ds := range usable {
			if digests(ds, k) {
				return true
			}
		}
		return false
	}, "a DS record", p.ttl)
}

// alias looks at the case that n has a CNAME record, or lies under a DNAME record, of the zone above: then no zone
// begins there.
func (w *work) alias(above *zone, n name, m *message) node {
	cname := m.answer.get(n, dns.TypeCNAME)
	if len(cname.sigs) == 0 {
		if dname := dnameOver(m, n); dname != nil {
			p := w.verify(dname, above.apex, above.keys)
			if p.state == Secure && p.labels != dname.owner.signed() {
				p.verdict = bogus(EDEBogus, "%s comes from a wildcard", dname.text())
			}
			return node{kind: p.kind(nothing), verdict: p.verdict}
		}
	}
	p := w.verify(cname, above.apex, above.keys)
	if p.state == Secure && p.labels != n.signed() { // n itself is not there: a wildcard answers for it
		v := p.verdict.and(w.proofsOf(m, above).noCloser(n, n.last(p.labels)))
		return node{kind: v.kind(nothing), verdict: v}
	}
	return node{kind: p.kind(inside), verdict: p.verdict}
}

// kind is good for a Secure verdict, ends for an Insecure one, else broken.
func (v verdict) kind(good kind) kind {
	switch v.state {
	case Secure:
		return good
	case Insecure:
		return ends
	}
	return broken
}

// keys asks for the keys of n and proves them: a key that trusted points at signed them all (RFC 4035, section 5.2).
// The name of what trusted looks at is for people.
func (w *work) keys(n name, trusted func(zoneKey) bool, by string, ttl time.Duration) node {
	m, failed := w.lookup(n, dnswire.DNSKEY)
	if m == nil {
		return node{verdict: failed}
	}
	set := m.answer.get(n, dns.TypeDNSKEY)
	if set == nil || m.rcode != dnswire.NoError {
		return node{verdict: bogus(EDEKeyMissing, "%s has no DNSKEY, and %s asks for one", n.text(), by)}
	}
	all := zoneKeys(set)
	var entry []zoneKey
	fail := bogus(EDEKeyMissing, "no DNSKEY of %s is the one that %s asks for", n.text(), by)
	perTag := map[uint16]int{}
	for _, k := range all {
		if perTag[k.tag]++; perTag[k.tag] > maxPerTag {
			continue
		}
		switch {
		case !trusted(k):
		case k.signs():
			entry = append(entry, k)
		case k.Flags&dns.ZONE == 0:
			fail = bogus(EDENoZoneKeyBit, "DNSKEY %d of %s is not a zone key", k.tag, n.text())
		default:
			fail = bogus(EDEKeyMissing, "DNSKEY %d of %s may not sign: it is revoked or of another protocol", k.tag, n.text())
		}
	}
	if len(entry) == 0 {
		return node{verdict: fail}
	}
	p := w.verify(set, n, entry)
	if p.state == Secure && p.labels != n.signed() {
		p.verdict = bogus(EDEBogus, "the DNSKEY of %s comes from a wildcard", n.text())
	}
	p.ttl = min(p.ttl, ttl)
	return node{kind: p.kind(cut), verdict: p.verdict, zone: &zone{apex: n, keys: signingKeys(all)}}
}
