package dnswire

import (
	"errors"
	"fmt"
	"net"

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
	if _, ok := dns.IsDomainName(fqdn(q.Name)); !ok || len(q.Name) > 4*255 {
		return nil, ErrName
	}
	m := dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: id, RecursionDesired: true, CheckingDisabled: o.DNSSEC},
		Question: []dns.Question{{Name: fqdn(q.Name), Qtype: uint16(q.Type), Qclass: dns.ClassINET}},
	}
	opt := newOPT(ednsSize)
	if o.DNSSEC {
		opt.SetDo()
	}
	opt.Option = append(opt.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, Address: net.IPv4zero})
	m.Extra = []dns.RR{opt}
	b, err := packPadded(&m, opt, o.PadTo)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrName, err)
	}
	return b, nil
}

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
