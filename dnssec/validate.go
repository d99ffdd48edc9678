package dnssec

import (
	"context"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// Validate judges the raw reply to q, asked with DO and CD set. It walks through the reply as
// [dnswire.ParseAnswer] does: the records asked for, or a chain of CNAME records and what is at its end, each link in
// the zone that it is in; where the end has nothing, the proof of that. The worst of the parts is the judgement of
// the whole.
//
// An answer to ANY holds what its server chose to send (RFC 8482): every RRset in it is judged, and one that is left
// out is not missed. RRSIG records are not signed themselves: asked for by name in a signed zone, they are
// Indeterminate.
//
// The error is for what is no reply to q at all (it wraps [dnswire.ErrMalformed]) and for a context that ended. A
// look-up of the chain that fails is not an error but Indeterminate.
func (v *Validator) Validate(ctx context.Context, q dnswire.Question, wire []byte) (Result, error) {
	q.Name = dnswire.CanonicalName(q.Name)
	n, ok := parseName(q.Name)
	if !ok {
		return Result{}, fmt.Errorf("%w: the question's name cannot be", dnswire.ErrMalformed)
	}
	m, err := readMessage(wire, q)
	if err != nil {
		return Result{}, err
	}
	w := v.newWork(ctx)
	verdict := w.judge(m, n, uint16(q.Type))
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("validation given up: %w", err)
	}
	return verdict.result(), nil
}

// judge follows the answer from n.
func (w *work) judge(m *message, n name, typ uint16) verdict {
	if m.rcode != dnswire.NoError && m.rcode != dnswire.NXDomain {
		return indeterminate("the answer is %s", dnswire.RCodeText(m.rcode))
	}
	total := secure(maxTTL)
	for range dnswire.MaxChain + 1 {
		v, next := w.link(m, n, typ)
		total = total.and(v)
		if next == "" || !total.usable() {
			return total
		}
		n = next
	}
	return bogus(EDEBogus, "a chain of more than %d CNAME records", dnswire.MaxChain)
}

// link judges what the reply says of one name, and gives the name that a CNAME leads on to; empty at the end.
func (w *work) link(m *message, n name, typ uint16) (v verdict, next name) {
	switch typ {
	case dns.TypeRRSIG:
		return w.bare(n), ""
	case dns.TypeANY:
		if sets := m.answer.owned(n); len(sets) > 0 {
			v = secure(maxTTL)
			for _, set := range sets {
				v = v.and(w.data(m, set))
			}
			return v, ""
		}
	default:
		if set := m.answer.get(n, typ); set != nil {
			return w.data(m, set), ""
		}
	}
	if set := m.answer.get(n, dns.TypeCNAME); set != nil && typ != dns.TypeANY {
		return w.cname(m, set)
	}
	return w.absent(m, n, typ), ""
}

// owned gives the RRsets of one name.
func (s section) owned(n name) []*rrset {
	var list []*rrset
	for _, set := range s.list {
		if set.owner == n && len(set.rrs) > 0 {
			list = append(list, set)
		}
	}
	return list
}

// data judges the RRset at the end of the chain.
func (w *work) data(m *message, set *rrset) verdict {
	v := w.positive(m, set)
	if v.state == Secure && m.rcode == dnswire.NXDomain {
		return bogus(EDEBogus, "the answer says that %s is not there, and holds its signed %v", set.owner.text(), dnswire.Type(set.typ))
	}
	return v
}

// positive judges an RRset (RFC 4035, section 5.3).
func (w *work) positive(m *message, set *rrset) verdict {
	if w.v.isNegative(set.owner) {
		return exempt(set.owner, setTTL(set))
	}
	signers := set.signers()
	if len(signers) == 0 {
		v := w.unsigned(set.owner, set.typ, bogus(EDESignaturesMissing, "%s is not signed", set.text()))
		v.ttl = min(v.ttl, setTTL(set))
		return v
	}
	var v verdict
	for _, signer := range signers {
		if v = w.signedBy(m, set, signer); v.usable() {
			return v
		}
	}
	return v
}

// signedBy judges an RRset by the signatures of one zone.
func (w *work) signedBy(m *message, set *rrset, signer name) verdict {
	at := w.walk(signer)
	switch {
	case at.state == Insecure:
		at.ttl = min(at.ttl, setTTL(set))
		return at.verdict
	case at.state != Secure:
		return at.verdict
	case at.zone.apex != signer:
		return bogus(EDESignaturesMissing, "%s is signed by %s, which is not a zone", set.text(), signer.text())
	}
	p := w.verify(set, signer, at.zone.keys)
	if p.state != Secure {
		return p.verdict
	}
	v := p.verdict.and(secure(at.ttl))
	switch {
	case p.labels == set.owner.signed():
		return v
	case set.typ == dns.TypeDNAME: // it would redirect names that have none (RFC 6672, section 3.3)
		return bogus(EDEBogus, "%s comes from a wildcard", set.text())
	}
	return v.and(w.proofsOf(m, at.zone).noCloser(set.owner, set.owner.last(p.labels)))
}

// unsigned judges something at n that has no signature: Insecure where the chain is proven to end above it, and else
// what is given. A DS is the parent's.
func (w *work) unsigned(n name, typ uint16, otherwise verdict) verdict {
	if typ == dns.TypeDS {
		n = n.parent()
	}
	at := w.walk(n)
	if at.state != Secure {
		return at.verdict
	}
	otherwise.reason += ", and its zone " + at.zone.apex.text() + " is"
	return otherwise
}

// bare judges a question for the signatures themselves.
func (w *work) bare(n name) verdict {
	if w.v.isNegative(n) {
		return exempt(n, maxTTL)
	}
	return w.unsigned(n, dns.TypeRRSIG, indeterminate("an RRSIG of %s is not signed itself", n.text()))
}

// absent judges the claim that there is nothing of the type at n, or nothing at all.
func (w *work) absent(m *message, n name, typ uint16) verdict {
	if w.v.isNegative(n) {
		return exempt(n, maxTTL)
	}
	var sigs []signature
	missing := bogus(EDENSECMissing, "nothing proves that %s has no %v", n.text(), dnswire.Type(typ))
	for _, set := range m.authority.list {
		if set.typ == dns.TypeNSEC || set.typ == dns.TypeNSEC3 || set.typ == dns.TypeSOA {
			sigs = append(sigs, set.sigs...)
			if len(set.sigs) == 0 {
				missing = bogus(EDESignaturesMissing, "what should prove that %s has no %v is not signed", n.text(), dnswire.Type(typ))
			}
		}
	}
	signers := signersOf(sigs, n, typ == dns.TypeDS && n != root)
	if len(signers) == 0 {
		return w.unsigned(n, typ, missing)
	}
	var v verdict
	for _, signer := range signers {
		if v = w.deniedBy(m, n, typ, signer); v.usable() {
			return v
		}
	}
	return v
}

// deniedBy judges a claim of absence by the proofs of one zone.
func (w *work) deniedBy(m *message, n name, typ uint16, signer name) verdict {
	at := w.walk(signer)
	switch {
	case at.state != Secure:
		return at.verdict
	case at.zone.apex != signer:
		return bogus(EDENSECMissing, "the proof about %s is signed by %s, which is not a zone", n.text(), signer.text())
	}
	p := w.proofsOf(m, at.zone)
	var d denial
	if m.rcode == dnswire.NXDomain {
		d = p.noName(n)
	} else {
		d = p.noData(n, typ)
	}
	return d.verdict.and(secure(at.ttl)).and(w.soa(m, n, at.zone))
}

// soa judges the SOA record of a negative answer, whose numbers say how long it may be kept (RFC 2308, section 5).
func (w *work) soa(m *message, n name, z *zone) verdict {
	v := secure(maxTTL)
	for _, set := range m.authority.list {
		if set.typ != dns.TypeSOA || len(set.rrs) == 0 || !n.under(set.owner) {
			continue
		}
		if set.owner != z.apex {
			return bogus(EDEBogus, "%s comes with a proof of %s", set.text(), z.apex.text())
		}
		v = v.and(w.verify(set, z.apex, z.keys).verdict)
	}
	return v
}

// exempt is the verdict on a name that a negative trust anchor holds.
func exempt(n name, ttl time.Duration) verdict {
	return insecure(EDENone, ttl, "%s is under a negative trust anchor", n.text())
}
