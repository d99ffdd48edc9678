package dnswire

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// form is an answer as it is said to clients: what was reached by following the question and what proves or bounds it,
// compressed, behind a question in lower case. It is made once, and then copied for every client.
type form struct {
	b    []byte
	name int   // octets of the question's name
	ttls []int // where the records' TTLs are
	cuts []cut // where the message may end, from the question to its end
}

// cut is a place between two sets of records.
type cut struct {
	end               int // octets
	answer, authority uint16
}

// forms are the two forms of an answer, shared by all its aged copies: without signatures and proofs, and with them.
type forms struct {
	once [2]sync.Once
	form [2]*form
	err  [2]error
}

// form gives the answer's form. It is made of Wire: what was changed in Records is not in it.
func (a *Answer) form(dnssec bool) (*form, error) {
	if a.forms == nil {
		return a.makeForm(dnssec)
	}
	i := 0
	if dnssec {
		i = 1
	}
	f := a.forms
	f.once[i].Do(func() { f.form[i], f.err[i] = a.makeForm(dnssec) })
	return f.form[i], f.err[i]
}

func (a *Answer) makeForm(dnssec bool) (*form, error) {
	if len(a.Wire) >= headerLen {
		if p, ok := readPlain(a.Wire, a.Question); ok {
			return p.form(a.Question)
		}
	}
	return a.packForm(dnssec)
}

// packForm makes the form of an answer of any kind.
func (a *Answer) packForm(dnssec bool) (*form, error) {
	m, err := Message(a.Wire, a.Question)
	if err != nil {
		return nil, fmt.Errorf("an answer without its message: %w", err)
	}
	s := selection{dnssec: dnssec}
	s.addAnswer(a, m.Answer)
	s.addAuthority(a, m.Ns)
	out := dns.Msg{
		Question: []dns.Question{{Name: fqdn(a.Name), Qtype: uint16(a.Type), Qclass: dns.ClassINET}},
		Compress: true,
		Answer:   s.answer,
		Ns:       s.authority,
	}
	b, err := out.Pack()
	if err != nil {
		return nil, fmt.Errorf("an answer that cannot be packed: %w", err)
	}
	// The library reads records that end too early, and writes them as what nobody can read.
	if err := new(dns.Msg).Unpack(b); err != nil {
		return nil, fmt.Errorf("%w: a record without all of its data", ErrMalformed)
	}
	return newForm(b, s)
}

// newForm finds where the records are in a message that was packed of them.
func newForm(b []byte, s selection) (*form, error) {
	f := &form{b: b}
	end := skipName(b, headerLen)
	f.name = end - headerLen
	end += 4
	f.cuts = append(f.cuts, cut{end: end})
	for i, section := range [][]dns.RR{s.answer, s.authority} {
		for j, rr := range section {
			end = skipName(b, end)
			if end == 0 || len(b) < end+10 {
				return nil, fmt.Errorf("%w: a record that is not where it was packed", ErrMalformed)
			}
			f.ttls = append(f.ttls, end+4)
			end += 10 + int(binary.BigEndian.Uint16(b[end+8:]))
			if j+1 < len(section) && sameSet(rr.Header(), section[j+1].Header()) {
				continue
			}
			c := cut{end: end, answer: uint16(j + 1)}
			if i == 1 {
				c.answer, c.authority = uint16(len(s.answer)), uint16(j+1)
			}
			f.cuts = append(f.cuts, c)
		}
	}
	if end != len(b) || len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: records that do not fill the message", ErrMalformed)
	}
	return f, nil
}

func sameSet(a, b *dns.RR_Header) bool { return a.Rrtype == b.Rrtype && a.Name == b.Name }

// selection is what of a reply is passed on.
type selection struct {
	dnssec            bool
	answer, authority []dns.RR
}

// keep copies a record, its name in canonical form, so that it is compressed against the question.
func keep(list []dns.RR, rr dns.RR) []dns.RR {
	c := dns.Copy(rr)
	h := c.Header()
	h.Name = fqdn(CanonicalName(h.Name))
	h.Ttl = min(plainTTL(h.Ttl), uint32(MaxTTL/time.Second)) // nobody is to keep it for longer than we may
	return append(list, c)
}

// addAnswer takes the chain and the records at its end, the DNAME records that links of the chain come from (RFC 6672,
// section 3.1), and the signatures of all these.
func (s *selection) addAnswer(a *Answer, section []dns.RR) {
	for i, r := range a.Records {
		if r.rr == nil {
			continue
		}
		if r.Type == CNAME {
			s.addDNAME(r.Name, section)
		}
		s.answer = keep(s.answer, r.rr)
		if i+1 == len(a.Records) || a.Records[i+1].Type != r.Type || a.Records[i+1].Name != r.Name {
			s.answer = s.signatures(s.answer, r.Name, uint16(r.Type), section)
		}
	}
}

func (s *selection) addDNAME(link string, section []dns.RR) {
	for _, rr := range section {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Rrtype != dns.TypeDNAME {
			continue
		}
		owner := CanonicalName(h.Name)
		if owner != link && isUnder(link, owner) {
			s.answer = keep(s.answer, rr)
			s.answer = s.signatures(s.answer, owner, dns.TypeDNAME, section)
			return
		}
	}
}

// signatures appends those of a set, if they are wanted.
func (s *selection) signatures(list []dns.RR, owner string, covered uint16, section []dns.RR) []dns.RR {
	if !s.dnssec || covered == dns.TypeRRSIG {
		return list
	}
	for _, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		if ok && sig.TypeCovered == covered && sig.Hdr.Class == dns.ClassINET && CanonicalName(sig.Hdr.Name) == owner {
			list = keep(list, sig)
		}
	}
	return list
}

// addAuthority takes the SOA record that bounds a negative answer, with the TTL of RFC 2308, section 5, and the proofs
// that something does not exist. Name servers are nobody's business here.
func (s *selection) addAuthority(a *Answer, section []dns.RR) {
	for _, rr := range section {
		h := rr.Header()
		owner := CanonicalName(h.Name)
		if h.Class != dns.ClassINET {
			continue
		}
		switch rr := rr.(type) {
		case *dns.SOA:
			if len(s.authority) > 0 && s.authority[0].Header().Rrtype == dns.TypeSOA || !a.Negative() || !isUnder(a.Canonical, owner) {
				continue
			}
			soa := keep(nil, rr)
			soa[0].Header().Ttl = min(soa[0].Header().Ttl, plainTTL(rr.Minttl), uint32(MaxNegativeTTL/time.Second))
			s.authority = append(s.signatures(soa, owner, h.Rrtype, section), s.authority...)
		case *dns.NSEC, *dns.NSEC3:
			if s.dnssec {
				s.authority = s.signatures(keep(s.authority, rr), owner, h.Rrtype, section)
			}
		}
	}
}
