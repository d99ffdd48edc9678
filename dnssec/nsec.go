package dnssec

import "github.com/miekg/dns"

// nsec is a verified NSEC record: between owner and next there is no name (RFC 4034, section 4).
type nsec struct {
	owner, next name
	bits        []uint16
}

// covers says whether n lies strictly between owner and next. The next name of the last record is the apex.
func (r nsec) covers(n, apex name) bool {
	return compare(r.owner, n) < 0 && (r.next == apex || compare(n, r.next) < 0)
}

// denies says whether the record proves that n is not there: it covers n, no name below n follows (then n would be
// there without records), and its owner is not one that hands n down to another zone or name.
func (r nsec) denies(n, apex name) bool {
	return r.covers(n, apex) && !r.next.under(n) && !(n.below(r.owner) && handsDown(r.bits))
}

// encloser gives the closest name above n that is there, by a record that denies n: a name above both n and one of the
// record's names exists (RFC 4592, section 3.3.1).
func (r nsec) encloser(n name) name {
	a, b := common(n, r.owner), common(n, r.next)
	if a.labels() > b.labels() {
		return a
	}
	return b
}

// nsecNoName proves that nothing is at n, and no wildcard that would answer for it.
func (p *proofs) nsecNoName(n name) bool {
	for _, r := range p.nsecs {
		if r.denies(n, p.apex) && p.nsecDenied(r.encloser(n).wildcard()) {
			return true
		}
	}
	return false
}

func (p *proofs) nsecDenied(n name) bool {
	for _, r := range p.nsecs {
		if r.denies(n, p.apex) {
			return true
		}
	}
	return false
}

// nsecNoData proves that n has nothing of the type: a record is at n; or n is there only because names below it are;
// or n is not there, and the wildcard that answers for it has nothing of the type.
func (p *proofs) nsecNoData(n name, typ uint16) (denial, bool) {
	for _, r := range p.nsecs {
		switch {
		case r.owner == n:
			return denial{verdict: p.ttl, bits: r.bits}, notAt(r.bits, typ, n == root)
		case r.covers(n, p.apex) && r.next.below(n) && !(n.below(r.owner) && handsDown(r.bits)):
			return denial{verdict: p.ttl}, true
		}
	}
	for _, r := range p.nsecs {
		if !r.denies(n, p.apex) {
			continue
		}
		wildcard := r.encloser(n).wildcard()
		for _, at := range p.nsecs {
			if at.owner == wildcard && notAt(at.bits, typ, false) && !has(at.bits, dns.TypeNS) {
				return denial{verdict: p.ttl}, true
			}
		}
	}
	return denial{}, false
}

// nsecNoCloser proves that encloser is the closest name above n that is there.
func (p *proofs) nsecNoCloser(n, encloser name) bool {
	for _, r := range p.nsecs {
		if r.denies(n, p.apex) && r.encloser(n) == encloser {
			return true
		}
	}
	return false
}
