package dnswire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/miekg/dns"
)

// Kept is an answer in few octets, for those who keep many: its message without the additional section, where nothing
// is but what served the way here, padding above all, and what cannot be read from that message. The zero Kept is none.
type Kept struct {
	wire  []byte
	rcode int
	ttl   time.Duration
	age   time.Duration
	ede   []EDE
	ad    bool
}

// Keep gives the answer in few octets. It shares nothing with a.
func (a *Answer) Keep() (Kept, error) {
	end, err := endOfAuthority(a.Wire)
	if err != nil {
		return Kept{}, err
	}
	wire := slices.Clone(a.Wire[:end])
	binary.BigEndian.PutUint16(wire[10:], 0) // the count of the additional section
	return Kept{wire: slices.Clip(wire), rcode: a.RCode, ttl: a.TTL, age: a.age, ede: slices.Clone(a.EDE), ad: a.AD}, nil
}

// endOfAuthority finds where the additional section of a message begins. Nothing before it points into it: a pointer
// leads backward only (RFC 1035, section 4.1.4).
func endOfAuthority(b []byte) (int, error) {
	if len(b) < headerLen {
		return 0, fmt.Errorf("%w: %d octets are less than a header", ErrMalformed, len(b))
	}
	at := headerLen
	for section := range 3 {
		for range binary.BigEndian.Uint16(b[4+2*section:]) {
			if at = skipName(b, at); at == 0 {
				return 0, fmt.Errorf("%w: a name without end", ErrMalformed)
			}
			length := 4 // of a question: type and class
			if section > 0 {
				if length = 10; len(b) >= at+length {
					length += int(binary.BigEndian.Uint16(b[at+8:]))
				}
			}
			if at += length; at > len(b) {
				return 0, fmt.Errorf("%w: a record without end", ErrMalformed)
			}
		}
	}
	return at, nil
}

// RCode is the answer's response code.
func (k *Kept) RCode() int { return k.rcode }

// Octets is what k holds in memory, itself not counted.
func (k *Kept) Octets() int {
	n := cap(k.wire) + cap(k.ede)*int(unsafe.Sizeof(EDE{}))
	for _, e := range k.ede {
		n += len(e.Text)
	}
	return n
}

// Answer gives the answer that was kept, to the question that it answered. Where it is to be kept for less than its
// records say, no record says more.
func (k *Kept) Answer(q Question) (*Answer, error) {
	if len(k.wire) < headerLen {
		return nil, fmt.Errorf("%w: nothing was kept", ErrMalformed)
	}
	a, err := ParseAnswer(k.wire, q, binary.BigEndian.Uint16(k.wire))
	if err != nil {
		return nil, err
	}
	a = a.Aged(k.age)
	if k.ttl < a.TTL {
		for i := range a.Records {
			a.Records[i].TTL = min(a.Records[i].TTL, uint32(k.ttl/time.Second))
		}
	}
	a.RCode, a.TTL, a.EDE, a.AD = k.rcode, k.ttl, slices.Clone(k.ede), k.ad
	return a, nil
}

// Octets is about what the answer holds in memory beside its message, which may be another's. A form for clients counts,
// whether or not it was made yet.
func (a *Answer) Octets() int {
	const data = 96 // octets, about a record's data with the header that the library puts before it
	n := int(unsafe.Sizeof(*a)) + len(a.Name) + cap(a.EDE)*int(unsafe.Sizeof(EDE{}))
	n += int(unsafe.Sizeof(forms{})+unsafe.Sizeof(form{})) + len(a.Wire) + (len(a.Records)+1)*int(unsafe.Sizeof(cut{})+8)
	for _, r := range a.Records {
		n += int(unsafe.Sizeof(r)) + data + 2*len(r.Name) + len(r.Host)
		if r.rr != nil {
			n += int(dns.Len(r.rr))
		}
	}
	return n
}

// Stale gives a as an answer that has expired and is given all the same: every TTL is ttl, an Extended DNS Error
// says what it is (RFC 8914, sections 4.4 and 4.20), and nobody vouches for it, since its signatures may have expired
// too.
func (a *Answer) Stale(ttl time.Duration) (*Answer, error) {
	m, err := Message(a.Wire, a.Question)
	if err != nil {
		return nil, err
	}
	m.Extra, m.AuthenticatedData, m.Compress = nil, false, true
	most := uint32(ttl / time.Second)
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			rr.Header().Ttl = most
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("an answer that cannot be packed again: %w", err)
	}
	s, err := ParseAnswer(b, a.Question, m.Id)
	if err != nil {
		return nil, err
	}
	said := EDE{Code: dns.ExtendedErrorCodeStaleAnswer}
	if a.RCode == NXDomain {
		said.Code = dns.ExtendedErrorCodeStaleNXDOMAINAnswer
	}
	s.RCode, s.TTL = a.RCode, min(s.TTL, ttl)
	s.EDE = append(slices.Clone(a.EDE), said)
	return s, nil
}
