package dnssec

import (
	"github.com/miekg/dns"
)

// cname judges a CNAME record on the way to the answer, and gives the name that it leads to. One without a signature
// is a DNAME record's shadow, made by the server: the DNAME is judged in its place, and the CNAME must be what it makes
// (RFC 6672, section 5.3.1).
func (w *work) cname(m *message, set *rrset) (verdict, name) {
	target, ok := target(set)
	if !ok {
		return bogus(EDEBogus, "%s has more than one CNAME", set.owner.text()), ""
	}
	if w.v.isNegative(set.owner) {
		return exempt(set.owner, setTTL(set)), target
	}
	dname := dnameOver(m, set.owner)
	if len(set.sigs) > 0 || dname == nil {
		return w.positive(m, set), target
	}
	v := w.positive(m, dname).and(secure(setTTL(set)))
	if v.state != Secure {
		return v, target
	}
	d, ok := dname.rrs[0].(*dns.DNAME)
	if !ok || len(dname.rrs) != 1 {
		return bogus(EDEBogus, "%s has more than one DNAME", dname.owner.text()), ""
	}
	made, ok := substitute(set.owner, dname.owner, d.Target)
	if !ok || made != target {
		return bogus(EDEBogus, "the CNAME of %s is not what %s makes of it", set.owner.text(), dname.text()), ""
	}
	return v, target
}

// target gives the one name that a CNAME RRset leads to.
func target(set *rrset) (name, bool) {
	if len(set.rrs) != 1 {
		return "", false
	}
	c, ok := set.rrs[0].(*dns.CNAME)
	if !ok {
		return "", false
	}
	return parseName(c.Target)
}

// dnameOver gives the DNAME RRset of the answer that redirects n: the one closest to it among those above.
func dnameOver(m *message, n name) *rrset {
	for at := n; at != root; {
		at = at.parent()
		if set := m.answer.get(at, dns.TypeDNAME); set != nil {
			return set
		}
	}
	return nil
}

// substitute puts target in the place of owner at the end of n (RFC 6672, section 2.2). The result may be too long.
func substitute(n, owner name, target string) (name, bool) {
	t, ok := parseName(target)
	if !ok {
		return "", false
	}
	made := n[:len(n)-len(owner)] + t
	return made, len(made) <= 255
}
