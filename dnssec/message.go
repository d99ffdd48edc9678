package dnssec

import (
	"fmt"

	"github.com/miekg/dns"

	"watertight/dnswire"
)

// rrset is the records of one name and type, with the signatures that claim to be over them.
type rrset struct {
	owner name
	typ   uint16
	rrs   []dns.RR
	sigs  []signature
}

// signature is an RRSIG record with its signer's name.
type signature struct {
	*dns.RRSIG
	signer name
}

// key is what an RRset is found by.
type setKey struct {
	owner name
	typ   uint16
}

// section is the RRsets of one section of a message, in the order in which their first records came.
type section struct {
	list []*rrset
	by   map[setKey]*rrset
}

// get gives the RRset, or nil. An RRset with signatures and no records is none.
func (s section) get(owner name, typ uint16) *rrset {
	if set := s.by[setKey{owner, typ}]; set != nil && len(set.rrs) > 0 {
		return set
	}
	return nil
}

// message is a reply taken apart.
type message struct {
	rcode     int
	answer    section
	authority section
	proofs    map[name]*proofs // of the authority section, by zone
}

// readMessage checks that wire is a reply to q and sorts its records.
func readMessage(wire []byte, q dnswire.Question) (*message, error) {
	m, err := dnswire.Message(wire, q)
	if err != nil {
		return nil, err
	}
	out := &message{rcode: m.Rcode}
	if out.answer, err = sortSection(m.Answer); err != nil {
		return nil, err
	}
	if out.authority, err = sortSection(m.Ns); err != nil {
		return nil, err
	}
	return out, nil
}

// sortSection makes RRsets of the records of class IN. It puts owner names into canonical form.
func sortSection(rrs []dns.RR) (section, error) {
	s := section{by: map[setKey]*rrset{}}
	for _, rr := range rrs {
		h := rr.Header()
		if h.Class != dns.ClassINET {
			continue
		}
		owner, ok := parseName(h.Name)
		if !ok {
			return s, fmt.Errorf("%w: an owner name that cannot be", dnswire.ErrMalformed)
		}
		h.Name = owner.fqdn()
		sig, isSig := rr.(*dns.RRSIG)
		if !isSig {
			set := s.at(owner, h.Rrtype)
			set.rrs = append(set.rrs, rr)
			continue
		}
		signer, ok := parseName(sig.SignerName)
		if !ok {
			return s, fmt.Errorf("%w: a signer's name that cannot be", dnswire.ErrMalformed)
		}
		sig.SignerName = signer.fqdn()
		set := s.at(owner, sig.TypeCovered)
		set.sigs = append(set.sigs, signature{sig, signer})
	}
	return s, nil
}

func (s *section) at(owner name, typ uint16) *rrset {
	k := setKey{owner, typ}
	set := s.by[k]
	if set == nil {
		set = &rrset{owner: owner, typ: typ}
		s.by[k] = set
		s.list = append(s.list, set)
	}
	return set
}

// text names the RRset for people.
func (s *rrset) text() string { return dnswire.Type(s.typ).String() + " of " + s.owner.text() }

// signers gives the names of the zones that claim to have signed the RRset and may have: those that hold its owner,
// the deepest first, at most maxSigners. The signature over a DS RRset is the parent's (RFC 4035, section 2.4).
func (s *rrset) signers() []name {
	return signersOf(s.sigs, s.owner, s.typ == dns.TypeDS && s.owner != root)
}

func signersOf(sigs []signature, owner name, fromAbove bool) []name {
	var list []name
	for _, sig := range sigs {
		if !owner.under(sig.signer) || fromAbove && owner == sig.signer {
			continue
		}
		at := 0
		for at < len(list) && list[at].labels() > sig.signer.labels() {
			at++
		}
		if at < len(list) && list[at] == sig.signer { // of one depth there is one name above the owner
			continue
		}
		list = append(list[:at], append([]name{sig.signer}, list[at:]...)...)
	}
	return list[:min(len(list), maxSigners)]
}
