package contained

import (
	"context"
	"net/netip"
	"strings"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/front/dns"
	"watertight/name"
	"watertight/synthetic"
)

// ttl is for how long a program may keep an address that stands for a name, in seconds. The address stands for as long as the
// program runs; but once the name is known not to exist, the program is to hear it.
const ttl = 60

// Extended DNS Error of an answer that was made here (RFC 8914 registry).
const edeSynthesized = 29

// names answers a program's questions: with addresses that stand for names, and with the names that they stand for.
type names struct {
	board  Board
	book   *synthetic.Book
	noIPv6 bool
}

// Exchange answers a question.
func (n *names) Exchange(ctx context.Context, c dns.Client, q dns.Query) (*dnswire.Answer, error) {
	if addr, ok := n.reverse(q.Name); ok {
		return n.pointer(q.Question, addr)
	}
	switch q.Type {
	case dnswire.A, dnswire.AAAA:
		return n.board.StandIn(c.Addr, q.Question, func(h name.Host) (*dnswire.Answer, error) { return n.address(q.Question, h) })
	default:
		return n.board.ExchangeBare(ctx, c.Addr, q.Question)
	}
}

// address gives the address that stands for a name.
func (n *names) address(q dnswire.Question, h name.Host) (*dnswire.Answer, error) {
	v4, v6, err := n.book.Addrs(h)
	if err != nil {
		return nil, err
	}
	addr := v4
	if q.Type == dnswire.AAAA {
		addr = v6
	}
	if q.Type == dnswire.AAAA && n.noIPv6 {
		return local(q, dnswire.NoError, "the program has no IPv6")
	}
	return local(q, dnswire.NoError, "the address stands for the name", dnswire.AddrRecord(q.Name, ttl, addr))
}

// reverse says whether a name is one of the reverse zones of the book's networks, and gives the address that it is of; not valid
// for a name above or below those of addresses. Such a zone is answered for as a whole.
func (n *names) reverse(qname string) (netip.Addr, bool) {
	below := false
	for {
		if p, ok := dnswire.ParseReverse(qname); ok {
			for _, network := range n.book.Networks() {
				if network.Bits() <= p.Bits() && network.Contains(p.Addr()) {
					if p.IsSingleIP() && !below {
						return p.Addr(), true
					}
					return netip.Addr{}, true
				}
			}
			return netip.Addr{}, false
		}
		_, rest, more := strings.Cut(qname, ".")
		if !more {
			return netip.Addr{}, false
		}
		qname, below = rest, true
	}
}

// pointer gives the name that an address stands for.
func (n *names) pointer(q dnswire.Question, addr netip.Addr) (*dnswire.Answer, error) {
	h, _ := n.book.Name(addr)
	switch {
	case !h.IsValid():
		return local(q, dnswire.NXDomain, "the address stands for no name")
	case q.Type != dnswire.PTR:
		return local(q, dnswire.NoError, "the address stands for a name, and has no other records")
	}
	return local(q, dnswire.NoError, "the address stands for the name", dnswire.PTRRecord(q.Name, ttl, h.String()))
}

// local makes an answer that no server gave.
func local(q dnswire.Question, rcode int, why string, records ...dnswire.Record) (*dnswire.Answer, error) {
	a, err := dnswire.Local(q, dnswire.Reply{RCode: rcode, Answer: records, EDE: []dnswire.EDE{{Code: edeSynthesized, Text: why}}})
	if err != nil {
		return nil, fault.New(fault.BadRequest, "the question cannot be answered", err)
	}
	return a, nil
}
