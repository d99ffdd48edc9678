package dnswire

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// ErrForm is returned where an answer cannot be said in reply to a query.
var ErrForm = errors.New("the answer does not fit the query")

// Said is what a reply holds beside an answer's records.
type Said struct {
	RCode     int // a code above 15 is said only to who speaks EDNS (RFC 6891, section 6.1.3)
	EDE       []EDE
	AD        bool
	Truncated bool   // TC, and no records
	Cookie    []byte // the cookie option's data; nil means no such option
	// KeepAlive is for how long an idle connection stays open, in units of 100 ms (RFC 7828, section 3.1). It is said
	// where HasKeepAlive is set.
	KeepAlive    uint16
	HasKeepAlive bool
	PadTo        int // octets; the reply's length is a multiple of it. 0 means no padding

	Owner         bool   // it is said by an authoritative server: RA is not set
	Authoritative bool   // AA
	Subnet        []byte // the client-subnet option's data (RFC 7871, section 7.2.1); nil means no such option
	Limit         int    // octets that the reply may have; 0 means MaxMessage
}

// AppendReply appends the reply to q: the records of a, aged, or none where a is nil, and what s says. The case of the
// question is the client's, RD and CD are as they came, RA is set unless the owner of the zone says it. Signatures and proofs are there only if the client
// wants them (RFC 4035, section 3.2.1).
//
// What does not fit into s.Limit is left out: first the texts of EDE options, then these (RFC 8914, section 3), then
// whole sets of records from the end; TC says so. The question and the OPT record stay in any case.
func (q *Asked) AppendReply(dst []byte, a *Answer, s Said) ([]byte, error) {
	var f *form
	if a != nil && !s.Truncated {
		var err error
		if f, err = a.form(q.DNSSEC || isProof(q.Type)); err != nil {
			return dst, err
		}
		if q.Class != ClassIN || len(q.question) != f.name+4 {
			return dst, ErrForm
		}
	}
	var age time.Duration
	if a != nil {
		age = a.age
	}
	return q.appendForm(dst, f, age, s), nil
}

// appendForm appends a reply with the records of f, or with none where f is nil.
func (q *Asked) appendForm(dst []byte, f *form, age time.Duration, s Said) []byte {
	if s.Limit <= 0 || s.Limit > MaxMessage {
		s.Limit = MaxMessage
	}
	if !q.EDNS {
		s.EDE = nil
		if s.RCode > 15 {
			s.RCode = ServFail
		}
	}
	to, cutOff := q.fit(f, &s)
	start := len(dst)
	if f != nil {
		dst = append(dst, f.b[:to.end]...)
		b := dst[start:]
		copy(b[headerLen:], q.question)
		f.age(b, age)
	} else {
		dst = append(dst, make([]byte, headerLen)...)
		dst = append(dst, q.question...)
	}
	q.putHeader(dst[start:], to, s, cutOff || s.Truncated)
	if q.EDNS {
		dst = q.appendOPT(dst, start, s)
	}
	return dst
}

// AppendRecord appends the reply to q that holds one record, named and classed as the question is: what a server says of
// itself. data is the record's data as it is on the wire. The rest is as in [Asked.AppendReply].
func (q *Asked) AppendRecord(dst []byte, t Type, ttl uint32, data []byte, s Said) ([]byte, error) {
	const behindName = 12 // a pointer to the question's name, type, class, TTL, length
	b := append(make([]byte, headerLen, headerLen+len(q.question)+behindName+len(data)), q.question...)
	bare := cut{end: len(b)}
	b = append(b, 0xC0, headerLen)
	b = binary.BigEndian.AppendUint16(b, uint16(t))
	b = binary.BigEndian.AppendUint16(b, q.Class)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	b = append(b, data...)
	if len(q.question) == 0 || len(data) > math.MaxUint16 {
		return dst, ErrForm
	}
	f := &form{b: b, cuts: []cut{bare, {end: len(b), answer: 1}}}
	return q.appendForm(dst, f, 0, s), nil
}

// isProof says that a type is asked for which else is said only to those who want proofs.
func isProof(t Type) bool { return t == 46 || t == 47 || t == 50 } // RRSIG, NSEC, NSEC3

// fit finds how much of the records there is room for, and takes from s what there is not.
func (q *Asked) fit(f *form, s *Said) (to cut, cutOff bool) {
	whole := headerLen + len(q.question)
	if f != nil {
		whole = len(f.b)
	}
	if whole+q.optLength(*s) > s.Limit && len(s.EDE) > 0 {
		bare := make([]EDE, len(s.EDE))
		for i, e := range s.EDE {
			bare[i].Code = e.Code
		}
		s.EDE = bare
		if whole+q.optLength(*s) > s.Limit {
			s.EDE, cutOff = nil, true
		}
	}
	if f == nil {
		return cut{}, cutOff
	}
	room := s.Limit - q.optLength(*s)
	last := len(f.cuts) - 1
	for last > 0 && f.cuts[last].end > room {
		last--
		cutOff = true
	}
	return f.cuts[last], cutOff
}

// optLength is what the OPT record takes, without padding.
func (q *Asked) optLength(s Said) int {
	if !q.EDNS {
		return 0
	}
	n := optLen
	for _, e := range s.EDE {
		n += optionHeader + 2 + min(len(e.Text), maxEDEText)
	}
	if s.Cookie != nil {
		n += optionHeader + len(s.Cookie)
	}
	if s.HasKeepAlive {
		n += optionHeader + 2
	}
	if s.Subnet != nil {
		n += optionHeader + len(s.Subnet)
	}
	return n
}

// optLen is the length of an OPT record without options (RFC 6891, section 6.1.2).
const optLen = 11

// putHeader writes the header of a reply, and the counts of its sections.
func (q *Asked) putHeader(b []byte, to cut, s Said, truncated bool) {
	flags := qrBit | q.opcode<<11 | uint16(s.RCode&0xF)
	for _, bit := range []struct {
		set  bool
		flag uint16
	}{{!s.Owner, raBit}, {s.Authoritative, aaBit}, {truncated, tcBit}, {q.RecursionDesired, rdBit}, {s.AD, adBit}, {q.CheckingDisabled, cdBit}} {
		if bit.set {
			flags |= bit.flag
		}
	}
	clear(b[:headerLen])
	binary.BigEndian.PutUint16(b, q.ID)
	binary.BigEndian.PutUint16(b[2:], flags)
	if len(q.question) > 0 {
		b[5] = 1
	}
	binary.BigEndian.PutUint16(b[6:], to.answer)
	binary.BigEndian.PutUint16(b[8:], to.authority)
	if q.EDNS {
		b[11] = 1
	}
}

// appendOPT appends the OPT record of a reply that begins at start.
func (q *Asked) appendOPT(dst []byte, start int, s Said) []byte {
	begin := len(dst)
	var do byte
	if q.DNSSEC {
		do = doBit >> 8
	}
	dst = append(dst, 0, 0, typeOPT, ednsSize>>8, ednsSize&0xFF, byte(s.RCode>>4), 0, do, 0, 0, 0)
	be := binary.BigEndian
	for _, e := range s.EDE {
		text := e.Text[:min(len(e.Text), maxEDEText)]
		dst = be.AppendUint16(dst, optionEDE)
		dst = be.AppendUint16(dst, uint16(2+len(text)))
		dst = be.AppendUint16(dst, e.Code)
		dst = append(dst, text...)
	}
	if s.Cookie != nil {
		dst = be.AppendUint16(dst, optionCookie)
		dst = be.AppendUint16(dst, uint16(len(s.Cookie)))
		dst = append(dst, s.Cookie...)
	}
	if s.HasKeepAlive {
		dst = append(dst, 0, optionKeepAlive, 0, 2)
		dst = be.AppendUint16(dst, s.KeepAlive)
	}
	if s.Subnet != nil {
		dst = be.AppendUint16(dst, optionSubnet)
		dst = be.AppendUint16(dst, uint16(len(s.Subnet)))
		dst = append(dst, s.Subnet...)
	}
	if s.PadTo > 0 {
		dst = appendPadding(dst, start, s)
	}
	be.PutUint16(dst[begin+optLen-2:], uint16(len(dst)-begin-optLen))
	return dst
}

// appendPadding appends a padding option (RFC 7830, section 3), of no octets where the length is right with it.
func appendPadding(dst []byte, start int, s Said) []byte {
	length := len(dst) - start + optionHeader
	if length > s.Limit {
		return dst
	}
	n := 0
	if over := length % s.PadTo; over != 0 {
		n = min(s.PadTo-over, s.Limit-length)
	}
	dst = append(dst, 0, optionPadding)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	return append(dst, make([]byte, n)...)
}

// age takes the time that the answer was kept off every TTL in b, which may be cut short.
func (f *form) age(b []byte, by time.Duration) {
	seconds := uint32(min(max(0, by/time.Second), math.MaxUint32))
	if seconds == 0 {
		return
	}
	for _, at := range f.ttls {
		if at >= len(b) {
			return
		}
		ttl := binary.BigEndian.Uint32(b[at:])
		binary.BigEndian.PutUint32(b[at:], ttl-min(seconds, ttl))
	}
}
