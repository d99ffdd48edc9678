package dnswire

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// WithoutHints gives a without the addresses that its HTTPS or SVCB records hint at (RFC 9460, section 7.3), and a itself where
// there are none: for clients that are to get their addresses elsewhere. All else stays, `ech` above all (RFC 9848). A record
// that was changed is no longer what its zone has signed: it goes without signatures, and the answer without AD.
func (a *Answer) WithoutHints() (*Answer, error) {
	if a.Type != SVCB && a.Type != HTTPS {
		return a, nil
	}
	m, err := Message(a.Wire, a.Question)
	if err != nil {
		return nil, err
	}
	changed := false
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			switch rr := rr.(type) {
			case *dns.SVCB:
				changed = stripHints(rr) || changed
			case *dns.HTTPS:
				changed = stripHints(&rr.SVCB) || changed
			}
		}
	}
	if !changed {
		return a, nil
	}
	m.Answer = slices.DeleteFunc(m.Answer, coversService)
	m.Ns = slices.DeleteFunc(m.Ns, coversService)
	m.Extra, m.Compress, m.AuthenticatedData = nil, true, false
	b, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("an answer that cannot be packed again: %w", err)
	}
	bare, err := ParseAnswer(b, a.Question, m.Id)
	if err != nil {
		return nil, err
	}
	bare = bare.Aged(a.age)
	bare.RCode, bare.EDE, bare.TTL = a.RCode, a.EDE, min(a.TTL, bare.TTL)
	return bare, nil
}

// coversService says whether a record is a signature of HTTPS or SVCB records.
func coversService(rr dns.RR) bool {
	sig, ok := rr.(*dns.RRSIG)
	return ok && (sig.TypeCovered == dns.TypeSVCB || sig.TypeCovered == dns.TypeHTTPS)
}

// stripHints takes the hints out of a record, and says whether there were any. What is no longer there is not mandatory either:
// a client refuses a record that lacks what it says is mandatory (RFC 9460, section 8).
func stripHints(rr *dns.SVCB) bool {
	before := len(rr.Value)
	rr.Value = slices.DeleteFunc(rr.Value, func(p dns.SVCBKeyValue) bool { return isHint(p.Key()) })
	if len(rr.Value) == before {
		return false
	}
	rr.Value = slices.DeleteFunc(rr.Value, func(p dns.SVCBKeyValue) bool {
		m, ok := p.(*dns.SVCBMandatory)
		if ok {
			m.Code = slices.DeleteFunc(m.Code, isHint)
		}
		return ok && len(m.Code) == 0
	})
	return true
}

func isHint(k dns.SVCBKey) bool { return k == dns.SVCB_IPV4HINT || k == dns.SVCB_IPV6HINT }
