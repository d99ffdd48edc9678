package dnswire

import (
	"encoding/binary"
	"fmt"
)

// Limits of a name on the wire (RFC 1035, section 2.3.4).
const (
	maxNameOctets = 255
	maxLabel      = 63
)

// maxBeside bounds the records that a query may carry beside its question: an OPT record, and a few that are ignored.
const maxBeside = 8

// Numbers that a server has to know.
const (
	opcodeQuery = 0
	typeOPT     = 41
	qrBit       = 1 << 15
	aaBit       = 1 << 10
	tcBit       = 1 << 9
	rdBit       = 1 << 8
	raBit       = 1 << 7
	adBit       = 1 << 5
	cdBit       = 1 << 4
	doBit       = 1 << 15 // of the OPT record's TTL field, low half (RFC 3225, section 3)
	coBit       = 1 << 14 // of the same (RFC 9824, section 5.1)
)

// Classes (RFC 6895, section 3.2).
const (
	ClassIN  = 1
	ClassCH  = 3
	ClassANY = 255
)

// BadVers and BadCookie are response codes that need an OPT record (RFC 6891, section 9; RFC 7873, section 8).
const (
	BadVers   = 16
	BadCookie = 23
)

// EDNS options (RFC 6891, section 9, and its registry).
const (
	optionSubnet    = 8
	optionCookie    = 10
	optionKeepAlive = 11
	optionPadding   = 12
	optionEDE       = 15
)

// Asked is a query as a server reads it off the wire, for those who answer many. It is a view into the message: it
// holds as long as the message's octets do. The zero value is ready for [Asked.Read].
type Asked struct {
	Question
	ID    uint16
	Class uint16

	RecursionDesired bool
	Authentic        bool // AD: the client wants to know whether the answer was validated (RFC 6840, section 5.7)
	CheckingDisabled bool
	DNSSEC           bool // DO: signatures and proofs are wanted (RFC 3225)

	EDNS      bool   // there is an OPT record
	UDPSize   uint16 // octets that the client takes in a datagram: at least 512, and 512 without EDNS
	Padded    bool   // there is a padding option
	KeepAlive bool   // there is an edns-tcp-keepalive option (RFC 7828)
	Compact   bool   // CO: a name that does not exist may be told by its response code and a compact proof (RFC 9824)
	Cookie    []byte // the cookie option's data, as it came; nil where there is none
	Subnet    []byte // the client-subnet option's data, as it came (RFC 7871); nil where there is none

	Empty bool // there is no question, only a cookie: a query for a server's cookie (RFC 7873, section 5.4)

	opcode   uint16
	question []byte // name, type and class, as they came
}

// Read reads a query. The response code is [NoError] if it can be answered, and otherwise what is to be said about it:
// FORMERR, NOTIMP or BADVERS. The error, which wraps [ErrMalformed], is for what must not be answered at all: what has
// no header, and replies. Class and type are not judged. A compressed question, more than one OPT record, records in the
// sections for answers and octets after the message are FORMERR.
func (q *Asked) Read(b []byte) (rcode int, err error) {
	*q = Asked{UDPSize: minUDP}
	if len(b) < headerLen || len(b) > MaxMessage {
		return 0, fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	flags := binary.BigEndian.Uint16(b[2:])
	if flags&qrBit != 0 {
		return 0, fmt.Errorf("%w: a reply", ErrMalformed)
	}
	q.ID = binary.BigEndian.Uint16(b)
	q.opcode = flags >> 11 & 0xF
	q.RecursionDesired = flags&rdBit != 0
	q.Authentic = flags&adBit != 0
	q.CheckingDisabled = flags&cdBit != 0
	if q.opcode != opcodeQuery {
		return NotImp, nil
	}
	questions := binary.BigEndian.Uint16(b[4:])
	beside := binary.BigEndian.Uint16(b[10:])
	if questions > 1 || binary.BigEndian.Uint32(b[6:]) != 0 || beside > maxBeside {
		return FormErr, nil
	}
	off := headerLen
	if questions == 1 {
		if off = q.readQuestion(b); off == 0 {
			return FormErr, nil
		}
	}
	rcode = NoError
	for range beside {
		var code int
		if off, code = q.readBeside(b, off); off == 0 {
			return FormErr, nil
		}
		rcode = max(rcode, code)
	}
	if off != len(b) {
		return FormErr, nil
	}
	if questions == 0 {
		q.Empty = true
		if q.Cookie == nil && rcode == NoError {
			return FormErr, nil
		}
	}
	return rcode, nil
}

// minUDP is the length in octets that every client takes in a datagram (RFC 1035, section 4.2.1).
const minUDP = 512

// readQuestion gives the offset behind the question, or 0.
func (q *Asked) readQuestion(b []byte) int {
	text, end := nameText(b, headerLen)
	if end == 0 || len(b) < end+4 {
		return 0
	}
	q.Question = Question{text, Type(binary.BigEndian.Uint16(b[end:]))}
	q.Class = binary.BigEndian.Uint16(b[end+2:])
	q.question = b[headerLen : end+4]
	return end + 4
}

// readBeside reads a record of the additional section and gives the offset behind it, or 0.
func (q *Asked) readBeside(b []byte, off int) (next, rcode int) {
	end := skipName(b, off)
	if end == 0 || len(b) < end+10 {
		return 0, 0
	}
	data := end + 10
	next = data + int(binary.BigEndian.Uint16(b[end+8:]))
	if next > len(b) {
		return 0, 0
	}
	if binary.BigEndian.Uint16(b[end:]) != typeOPT {
		return next, NoError
	}
	if q.EDNS || b[off] != 0 { // one, at the root (RFC 6891, section 6.1)
		return 0, 0
	}
	q.EDNS = true
	q.UDPSize = max(minUDP, binary.BigEndian.Uint16(b[end+2:]))
	q.DNSSEC = binary.BigEndian.Uint16(b[end+6:])&doBit != 0
	q.Compact = binary.BigEndian.Uint16(b[end+6:])&coBit != 0
	if b[end+5] != 0 { // the version; what another one's options mean is unknown
		return next, BadVers
	}
	if !q.readOptions(b[data:next]) {
		return 0, 0
	}
	return next, NoError
}

// readOptions says false where the options do not fill the record's data.
func (q *Asked) readOptions(b []byte) bool {
	for len(b) > 0 {
		if len(b) < optionHeader {
			return false
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		b = b[optionHeader:]
		if n > len(b) {
			return false
		}
		switch code {
		case optionCookie:
			if q.Cookie == nil { // of several, the first (RFC 7873, section 5.2)
				q.Cookie = b[:n:n]
			}
		case optionSubnet:
			if q.Subnet == nil {
				q.Subnet = b[:n:n]
			}
		case optionKeepAlive:
			q.KeepAlive = true
		case optionPadding:
			q.Padded = true
		}
		b = b[n:]
	}
	return true
}

// maxNameText is the most octets that a name takes in presentation form: four for each on the wire.
const maxNameText = 4 * maxNameOctets

// nameText reads an uncompressed name in canonical form, and gives the offset behind it, or 0.
func nameText(b []byte, off int) (text string, end int) {
	var room [maxNameOctets]byte
	out, end := nameOctets(room[:0], b, off)
	return string(out), end
}

// nameOctets is nameText into out.
func nameOctets(out, b []byte, off int) (text []byte, end int) {
	for start := off; ; {
		if off >= len(b) {
			return nil, 0
		}
		n := int(b[off])
		off++
		if n == 0 {
			return out, off
		}
		if n > maxLabel || off+n > len(b) || off+n-start > maxNameOctets-1 {
			return nil, 0
		}
		if len(out) > 0 {
			out = append(out, '.')
		}
		for _, c := range b[off : off+n] {
			out = appendOctet(out, c)
		}
		off += n
	}
}

// appendOctet writes an octet of a label in presentation form (RFC 1035, section 5.1), as the message library does: that
// makes two spellings of one name the same text.
func appendOctet(out []byte, c byte) []byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return append(out, c+'a'-'A')
	case c == '.' || c == ' ' || c == '\'' || c == '@' || c == ';' || c == '(' || c == ')' || c == '"' || c == '\\':
		return append(out, '\\', c)
	case c < ' ' || c > '~':
		return append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
	}
	return append(out, c)
}

// skipName gives the offset behind a name, compressed or not, or 0. Where a pointer leads is not looked at, unless it is into the
// header.
func skipName(b []byte, off int) int {
	for start := off; off < len(b) && off-start < maxNameOctets; {
		n := int(b[off])
		switch {
		case n == 0:
			return off + 1
		case n >= 0xC0:
			if off+2 > len(b) || n == 0xC0 && b[off+1] < headerLen { // no name is in the header
				return 0
			}
			return off + 2
		case n > maxLabel:
			return 0
		}
		off += 1 + n
	}
	return 0
}
