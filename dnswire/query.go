package dnswire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/miekg/dns"
)

// What a query says of itself.
const (
	ednsSize     = 1232 // octets, the size that fits any path (DNS Flag Day 2020)
	optionHeader = 4    // octets before an option's data (RFC 6891, section 6.1.2)

	// PadQuery and PadReply are the block lengths of RFC 8467, section 4.1.
	PadQuery = 128
	PadReply = 468
)

// ErrName is returned for a name that does not fit into a message.
var ErrName = errors.New("the name does not fit into a DNS message")

// Query builds the message that asks q: recursion desired, EDNS with a size of 1232 octets, a client subnet of
// length zero, by which the client forbids the resolver to tell its address onward (RFC 7871, section 7.1.2), and
// padding to a multiple of padTo octets (RFC 8467). A padTo of 0 means no padding.
func Query(q Question, id uint16, padTo int) ([]byte, error) {
	return QueryWith(q, id, QueryOptions{PadTo: padTo})
}

// QueryOptions says what a query asks for beside its question.
type QueryOptions struct {
	PadTo int // octets; the query's length is a multiple of it. 0 means no padding
	// DNSSEC sets DO, so that signatures and proofs come with the answer (RFC 4035, section 3.2.1), and CD, so that
	// the resolver passes on what it holds for bogus: whoever sets it validates (RFC 6840, section 5.9).
	DNSSEC bool
}

// QueryWith is [Query] with options.
func QueryWith(q Question, id uint16, o QueryOptions) ([]byte, error) {
	if !q.Type.Askable() {
		return nil, fmt.Errorf("%v: %w", q.Type, ErrType)
	}
	if o.PadTo < 0 || o.PadTo > MaxMessage {
		o.PadTo = 0
	}
	flags := uint16(rdBit)
	var do byte
	if o.DNSSEC {
		flags |= cdBit
		do = doBit >> 8
	}
	be := binary.BigEndian
	b := make([]byte, headerLen, max(o.PadTo, minQuery))
	be.PutUint16(b, id)
	be.PutUint16(b[2:], flags)
	b[5], b[11] = 1, 1 // a question, and an OPT record
	b, err := appendName(b, q.Name)
	if err != nil {
		return nil, err
	}
	b = be.AppendUint16(b, uint16(q.Type))
	b = be.AppendUint16(b, ClassIN)
	begin := len(b)
	b = append(b, 0, 0, typeOPT, ednsSize>>8, ednsSize&0xFF, 0, 0, do, 0, 0, 0)
	b = append(b, 0, optionSubnet, 0, 4, 0, 1, 0, 0) // IPv4, and no octets of an address
	if o.PadTo > 0 {
		b = appendPadding(b, 0, Said{PadTo: o.PadTo, Limit: MaxMessage})
	}
	be.PutUint16(b[begin+optLen-2:], uint16(len(b)-begin-optLen))
	return b, nil
}

// minQuery is the room that a query without padding gets at first.
const minQuery = 128

// appendName appends a name in canonical form, as it is on the wire (RFC 1035, section 3.1). It knows the escapes of
// presentation form. The error is ErrName.
func appendName(dst []byte, name string) ([]byte, error) {
	start := len(dst)
	for rest := name; rest != ""; {
		label := len(dst)
		dst = append(dst, 0)
		for rest != "" && rest[0] != '.' {
			c, n := unescaped(rest)
			if n == 0 {
				return nil, ErrName
			}
			dst, rest = append(dst, c), rest[n:]
		}
		n := len(dst) - label - 1
		if n == 0 || n > maxLabel || len(dst)-start > maxNameOctets-1 {
			return nil, ErrName
		}
		dst[label] = byte(n)
		if rest != "" {
			if rest = rest[1:]; rest == "" { // a dot at the end, and nothing behind it
				return nil, ErrName
			}
		}
	}
	return append(dst, 0), nil
}

// unescaped gives the first octet of a text in presentation form and how many octets say it, or 0.
func unescaped(s string) (c byte, n int) {
	if s[0] != '\\' {
		return s[0], 1
	}
	if len(s) < 2 {
		return 0, 0
	}
	if len(s) < 4 || !isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[3]) {
		return s[1], 2
	}
	value := int(s[1]-'0')*100 + int(s[2]-'0')*10 + int(s[3]-'0')
	if value > 255 {
		return 0, 0
	}
	return byte(value), 4
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func newOPT(size uint16) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(size)
	return opt
}

// packPadded packs m with a padding option in opt (RFC 7830, section 3), so that the length is a multiple of block.
func packPadded(m *dns.Msg, opt *dns.OPT, block int) ([]byte, error) {
	if block <= 0 {
		return m.Pack()
	}
	padding := &dns.EDNS0_PADDING{}
	opt.Option = append(opt.Option, padding)
	bare, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if over := len(bare) % block; over != 0 {
		padding.Padding = make([]byte, block-over)
		if len(bare)+block-over > MaxMessage {
			padding.Padding = make([]byte, MaxMessage-len(bare))
		}
		return m.Pack()
	}
	return bare, nil
}
