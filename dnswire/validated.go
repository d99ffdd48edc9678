package dnswire

import (
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Validated gives a as it is once a validator here has judged it (package dnssec): AD says whether it is secure,
// whatever the resolver said, and no record may be kept for longer than ttl (RFC 4035, section 5.3.3). Signatures and
// proofs stay in its message, for clients that want them.
func (a *Answer) Validated(secure bool, ttl time.Duration) (*Answer, error) {
	m, err := Message(a.Wire, a.Question)
	if err != nil {
		return nil, err
	}
	v := *a
	v.AD, v.TTL = secure, min(a.TTL, ttl)
	most := uint32(min((max(0, ttl)+a.age)/time.Second, MaxTTL/time.Second)) // TTLs are those that Wire came with
	if !limit(m, most) {
		return &v, nil
	}
	m.Extra, m.Compress = nil, true
	b, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("an answer that cannot be packed again: %w", err)
	}
	shorter, err := ParseAnswer(b, a.Question, m.Id)
	if err != nil {
		return nil, err
	}
	shorter = shorter.Aged(a.age)
	shorter.RCode, shorter.EDE, shorter.AD, shorter.TTL = a.RCode, a.EDE, secure, v.TTL
	return shorter, nil
}

// limit lets no TTL of answer and authority be more than most, in seconds, and says whether one was.
func limit(m *dns.Msg, most uint32) (changed bool) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns} {
		for _, rr := range section {
			h := rr.Header()
			if ttl := min(plainTTL(h.Ttl), most); ttl != h.Ttl {
				h.Ttl, changed = ttl, true
			}
		}
	}
	return changed
}
