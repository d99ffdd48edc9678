package dnswire

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Request is a query as a server reads it.
type Request struct {
	Question
	ID               uint16
	RecursionDesired bool
	Size             int          // octets of the whole message
	EDNS             bool         // there is an OPT record
	UDPSize          uint16       // as the OPT record says
	Subnet           netip.Prefix // of the client-subnet option; not valid where there is none, and 0.0.0.0/0 for "tell nobody"
	Padding          int          // octets of padding, without the option's header; -1 where there is no such option
}

// ParseRequest reads a query: one question of class IN, opcode QUERY.
func ParseRequest(b []byte) (*Request, error) {
	if len(b) < headerLen || len(b) > MaxMessage {
		return nil, fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	if flags := binary.BigEndian.Uint16(b[2:]); flags&(1<<15) != 0 || flags>>11&0xF != dns.OpcodeQuery {
		return nil, fmt.Errorf("%w: not a query", ErrMalformed)
	}
	m, err := unpack(b)
	if err != nil {
		return nil, err
	}
	if len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET {
		return nil, fmt.Errorf("%w: not one question of class IN", ErrMalformed)
	}
	r := &Request{
		Question:         Question{CanonicalName(m.Question[0].Name), Type(m.Question[0].Qtype)},
		ID:               m.Id,
		RecursionDesired: m.RecursionDesired,
		Size:             len(b),
		Padding:          -1,
	}
	if opt := m.IsEdns0(); opt != nil {
		r.readOPT(opt)
	}
	return r, nil
}

func (r *Request) readOPT(opt *dns.OPT) {
	r.EDNS, r.UDPSize = true, opt.UDPSize()
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_PADDING:
			r.Padding = len(o.Padding)
		case *dns.EDNS0_SUBNET:
			addr, ok := netip.AddrFromSlice(o.Address)
			if o.Family == 1 {
				addr = addr.Unmap()
			}
			if ok && int(o.SourceNetmask) <= addr.BitLen() {
				r.Subnet = netip.PrefixFrom(addr, int(o.SourceNetmask))
			}
		}
	}
}

// Reply is what a server says to a request.
type Reply struct {
	RCode     int
	Answer    []Record
	Authority []Record
	EDE       []EDE
	AD        bool
}

// Pack builds the reply to r: recursion available, padded to 468 octets if the request was padded (RFC 8467, section
// 4.1; RFC 7830, section 4).
func (r *Request) Pack(p Reply) ([]byte, error) {
	m := dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: r.ID, Response: true, RecursionDesired: r.RecursionDesired, RecursionAvailable: true,
			AuthenticatedData: p.AD, Rcode: p.RCode,
		},
		Question: []dns.Question{{Name: fqdn(r.Name), Qtype: uint16(r.Type), Qclass: dns.ClassINET}},
		Compress: true,
		Answer:   rrs(p.Answer),
		Ns:       rrs(p.Authority),
	}
	if !r.EDNS {
		return m.Pack()
	}
	opt := newOPT(ednsSize)
	for _, e := range p.EDE {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: e.Code, ExtraText: e.Text})
	}
	m.Extra = []dns.RR{opt}
	block := 0
	if r.Padding >= 0 {
		block = PadReply
	}
	return packPadded(&m, opt, block)
}

func rrs(list []Record) []dns.RR {
	out := make([]dns.RR, 0, len(list))
	for _, r := range list {
		if r.rr == nil {
			continue
		}
		rr := dns.Copy(r.rr)
		rr.Header().Ttl = r.TTL
		out = append(out, rr)
	}
	return out
}

// Local makes an answer that no server gave: what the program itself knows of q.
func Local(q Question, p Reply) (*Answer, error) {
	r := Request{Question: q, RecursionDesired: true, EDNS: true, Padding: -1}
	b, err := r.Pack(p)
	if err != nil {
		return nil, err
	}
	return ParseAnswer(b, q, 0)
}
