package dnswire

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// plain is where the records are in a reply of the most frequent form: addresses of the question's own name, and nothing
// beside them but an OPT record. Such a reply is read, and said to clients, without the message library. All else, and
// all that is not quite in order, is the library's.
type plain struct {
	b       []byte
	answers int // octets before the first record
	end     int // octets before what follows the last one
	size    int // octets of each
	ede     []EDE
}

// recordHead is what a record has before its data whose name is a pointer to the question's.
const recordHead = 12

// readPlain reads a reply to q whose header is good, and says false where it has another form.
func readPlain(b []byte, q Question) (p plain, ok bool) {
	size := 0
	switch q.Type {
	case A:
		size = recordHead + 4
	case AAAA:
		size = recordHead + 16
	}
	be := binary.BigEndian
	records := int(be.Uint16(b[6:]))
	if size == 0 || b[3]&0xF != NoError || be.Uint16(b[4:]) != 1 || records == 0 || be.Uint16(b[8:]) != 0 || be.Uint16(b[10:]) > 1 {
		return p, false
	}
	var room [maxNameText]byte
	text, end := nameOctets(room[:0], b, headerLen)
	if end == 0 || string(text) != q.Name || len(b) < end+4+records*size || be.Uint16(b[end:]) != uint16(q.Type) || be.Uint16(b[end+2:]) != ClassIN {
		return p, false
	}
	p = plain{b: b, answers: end + 4, end: end + 4 + records*size, size: size}
	for at := p.answers; at < p.end; at += size {
		if b[at] != 0xC0 || b[at+1] != headerLen || be.Uint16(b[at+2:]) != uint16(q.Type) || be.Uint16(b[at+4:]) != ClassIN || int(be.Uint16(b[at+10:])) != size-recordHead {
			return p, false
		}
	}
	rest := b[p.end:]
	if be.Uint16(b[10:]) == 0 {
		return p, len(rest) == 0
	}
	return p, p.readOPT(rest)
}

// readOPT reads the one record behind the answers, which is the message's last: an OPT record (RFC 6891, section 6.1.2)
// with padding and errors at most.
func (p *plain) readOPT(b []byte) bool {
	be := binary.BigEndian
	if len(b) < optLen || b[0] != 0 || be.Uint16(b[1:]) != typeOPT || b[5] != 0 || int(be.Uint16(b[9:])) != len(b)-optLen {
		return false
	}
	for b = b[optLen:]; len(b) > 0; {
		if len(b) < optionHeader {
			return false
		}
		code, n := be.Uint16(b), int(be.Uint16(b[2:]))
		if b = b[optionHeader:]; n > len(b) {
			return false
		}
		switch {
		case code == optionPadding:
		case code == optionEDE && n >= 2 && len(p.ede) < maxEDE:
			p.ede = append(p.ede, EDE{Code: be.Uint16(b), Text: string(b[2:min(n, 2+maxEDEText)])})
		default:
			return false
		}
		b = b[n:]
	}
	return true
}

// records gives the records.
func (p *plain) records(q Question) []Record {
	list := make([]Record, 0, (p.end-p.answers)/p.size)
	owner := fqdn(q.Name)
	for at := p.answers; at < p.end; at += p.size {
		data := p.b[at+recordHead : at+p.size : at+p.size]
		h := dns.RR_Header{
			Name: owner, Rrtype: uint16(q.Type), Class: ClassIN,
			Ttl: binary.BigEndian.Uint32(p.b[at+6:]), Rdlength: uint16(len(data)),
		}
		r := Record{Name: q.Name, Type: q.Type, TTL: plainTTL(h.Ttl)}
		if q.Type == A {
			r.Addr, r.rr = netip.AddrFrom4([4]byte(data)), &dns.A{Hdr: h, A: net.IP(data)}
		} else {
			r.Addr, r.rr = netip.AddrFrom16([16]byte(data)), &dns.AAAA{Hdr: h, AAAA: net.IP(data)}
		}
		list = append(list, r)
	}
	return list
}

// form gives the reply as it is said to clients: the records as they came, behind the question in lower case.
func (p *plain) form(q Question) (*form, error) {
	b := make([]byte, headerLen, p.end)
	copy(b[4:], p.b[4:8]) // how many questions and answers there are
	b, err := appendName(b, q.Name)
	if err != nil {
		return nil, err
	}
	f := &form{name: len(b) - headerLen}
	b = append(b, p.b[p.answers-4:p.end]...)
	f.cuts = []cut{{end: p.answers}, {end: p.end, answer: uint16((p.end - p.answers) / p.size)}}
	for at := p.answers; at < p.end; at += p.size {
		ttl := binary.BigEndian.Uint32(b[at+6:])
		binary.BigEndian.PutUint32(b[at+6:], min(plainTTL(ttl), uint32(MaxTTL/time.Second)))
		f.ttls = append(f.ttls, at+6)
	}
	f.b = b
	return f, nil
}
