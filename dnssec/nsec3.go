package dnssec

import (
	"crypto/sha1" // the only hash that NSEC3 has (RFC 5155, section 11); it hides names and proves nothing
	"encoding/base32"
	"encoding/hex"
	"strings"

	"github.com/miekg/dns"
)

// Iterations of the hash that are followed (RFC 9276, section 3.2). Above the first the answer is Insecure, once the
// signature is verified: the owner did sign it, and nobody should pay for its hashes. Above the second, far beyond what
// any use explains, it is Bogus. Both carry EDE 27.
const (
	maxIterations    = 100
	absurdIterations = 500
)

// nsec3 is a verified NSEC3 record: between the hashes owner and next there is no hash of a name.
type nsec3 struct {
	owner, next string // 20 octets
	bits        []uint16
	optOut      bool // unsigned delegations may lie between (RFC 5155, section 6)
}

// nsec3s is the NSEC3 records of one zone that share their parameters, which a zone's records in one reply do (RFC
// 5155, section 7.2). Others are dropped.
type nsec3s struct {
	list       []nsec3
	salt       string
	iterations uint16
	known      map[name]string // hashes
}

var base32hex = base32.HexEncoding.WithPadding(base32.NoPadding)

func (s *nsec3s) add(owner, apex name, rr *dns.NSEC3) {
	if rr.Hash != dns.SHA1 || rr.Flags&^1 != 0 || owner == root || owner.parent() != apex { // RFC 5155, sections 8.1, 8.2
		return
	}
	own, err1 := base32hex.DecodeString(strings.ToUpper(string(owner[1 : 1+int(owner[0])])))
	next, err2 := base32hex.DecodeString(strings.ToUpper(rr.NextDomain))
	salt, err3 := hex.DecodeString(rr.Salt)
	if err1 != nil || err2 != nil || err3 != nil || len(own) != sha1.Size || len(next) != sha1.Size {
		return
	}
	if len(s.list) == 0 {
		s.salt, s.iterations, s.known = string(salt), rr.Iterations, map[name]string{}
	}
	if s.salt != string(salt) || s.iterations != rr.Iterations {
		return
	}
	s.list = append(s.list, nsec3{string(own), string(next), rr.TypeBitMap, rr.Flags&1 != 0})
}

// hash gives the hash of n (RFC 5155, section 5); it is empty where there is nothing to compare it with, and where no
// more hashes may be spent.
func (p *proofs) hash(n name) string {
	if len(p.hashed.list) == 0 {
		return ""
	}
	if h, ok := p.hashed.known[n]; ok {
		return h
	}
	if !p.w.spend(&p.w.hashes, 1) {
		return ""
	}
	sum := sha1.Sum(append([]byte(n), p.hashed.salt...))
	for range p.hashed.iterations {
		sum = sha1.Sum(append(sum[:], p.hashed.salt...))
	}
	h := string(sum[:])
	p.hashed.known[n] = h
	return h
}

// at gives the record whose owner is the hash of n.
func (p *proofs) at(n name) *nsec3 {
	h := p.hash(n)
	for i, r := range p.hashed.list {
		if h != "" && r.owner == h {
			return &p.hashed.list[i]
		}
	}
	return nil
}

// over gives the record that covers the hash of n. The last record's next hash is the first.
func (p *proofs) over(n name) *nsec3 {
	h := p.hash(n)
	for i, r := range p.hashed.list {
		if h == "" {
			break
		}
		if r.owner < h && h < r.next || r.owner >= r.next && (h > r.owner || h < r.next) {
			return &p.hashed.list[i]
		}
	}
	return nil
}

// closest gives the closest name at or above n that is there, and proves it; where that is not n, a record also covers
// the next closer name (RFC 5155, section 8.3).
func (p *proofs) closest(n name) (encloser name, at, next *nsec3) {
	for c := n; c.under(p.apex); c = c.parent() {
		if at = p.at(c); at != nil {
			if c == n {
				return c, at, nil
			}
			if handsDown(at.bits) {
				return "", nil, nil
			}
			if next = p.over(n.last(c.labels() + 1)); next == nil {
				return "", nil, nil
			}
			return c, at, next
		}
		if c == root {
			break
		}
	}
	return "", nil, nil
}

// tooMany is the verdict on records whose hash is iterated too often; ok says whether there is one.
func (p *proofs) tooMany() (v verdict, ok bool) {
	switch n := p.hashed.iterations; {
	case len(p.hashed.list) == 0 || n <= maxIterations:
		return verdict{}, false
	case n > absurdIterations:
		return bogus(EDEUnsupportedIterations, "the NSEC3 records of %s are hashed %d times", p.apex.text(), n), true
	default:
		return insecure(EDEUnsupportedIterations, p.ttl.ttl, "the NSEC3 records of %s are hashed %d times", p.apex.text(), n), true
	}
}

// optedOut is the verdict of a proof in which next covers the next closer name: with opt-out an unsigned delegation may
// be there, so that the proof is none and the answer Insecure (RFC 5155, section 9.2).
func (p *proofs) optedOut(next *nsec3) verdict {
	if next.optOut {
		return insecure(EDENone, p.ttl.ttl, "%s leaves its unsigned delegations out of its proofs (opt-out)", p.apex.text())
	}
	return p.ttl
}

func (p *proofs) nsec3NoName(n name) (denial, bool) {
	if v, ok := p.tooMany(); ok {
		return denial{verdict: v}, true
	}
	encloser, _, next := p.closest(n)
	if next == nil || p.over(encloser.wildcard()) == nil {
		return denial{}, false
	}
	return denial{verdict: p.optedOut(next)}, true
}

func (p *proofs) nsec3NoData(n name, typ uint16) (denial, bool) {
	if v, ok := p.tooMany(); ok {
		return denial{verdict: v}, true
	}
	encloser, at, next := p.closest(n)
	switch {
	case at == nil:
		return denial{}, false
	case next == nil:
		return denial{verdict: p.ttl, bits: at.bits}, notAt(at.bits, typ, n == root)
	}
	if wild := p.at(encloser.wildcard()); wild != nil {
		ok := notAt(wild.bits, typ, false) && !has(wild.bits, dns.TypeNS)
		return denial{verdict: p.optedOut(next)}, ok
	}
	return denial{verdict: p.optedOut(next)}, next.optOut
}

func (p *proofs) nsec3NoCloser(n, encloser name) (verdict, bool) {
	if v, ok := p.tooMany(); ok {
		return v, true
	}
	next := p.over(n.last(encloser.labels() + 1))
	if next == nil {
		return verdict{}, false
	}
	return p.optedOut(next), true
}
