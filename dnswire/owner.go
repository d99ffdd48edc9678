package dnswire

import (
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Spelled gives the name of the question as it was asked, in its case and without a dot at its end; empty for the root.
func (q *Asked) Spelled() string {
	var out []byte
	for at := 0; at < len(q.question) && q.question[at] != 0; {
		n := int(q.question[at])
		if len(out) > 0 {
			out = append(out, '.')
		}
		for _, c := range q.question[at+1 : at+1+n] {
			if c >= 'A' && c <= 'Z' {
				out = append(out, c)
			} else {
				out = appendOctet(out, c)
			}
		}
		at += 1 + n
	}
	return string(out)
}

// Families of addresses in a client-subnet option (RFC 7871, section 6).
const (
	familyIPv4 = 1
	familyIPv6 = 2
)

// ParseSubnet reads the data of a client-subnet option in a query (RFC 7871, sections 6 and 7.1.2): as many octets of
// the address as the prefix needs, nothing set behind it, and no scope. A prefix of no length is that of who wants none
// told.
func ParseSubnet(b []byte) (netip.Prefix, error) {
	if len(b) < 4 {
		return netip.Prefix{}, fmt.Errorf("%w: a client subnet of %d octets", ErrMalformed, len(b))
	}
	var full [16]byte
	size, length := 4, int(b[2])
	switch {
	case b[0] == 0 && b[1] == familyIPv4:
	case b[0] == 0 && b[1] == familyIPv6:
		size = 16
	default:
		return netip.Prefix{}, fmt.Errorf("%w: a client subnet of an unknown family", ErrMalformed)
	}
	if length > 8*size || b[3] != 0 || len(b)-4 != (length+7)/8 {
		return netip.Prefix{}, fmt.Errorf("%w: a client subnet that is not of its length", ErrMalformed)
	}
	copy(full[:], b[4:])
	addr, _ := netip.AddrFromSlice(full[:size])
	p := netip.PrefixFrom(addr, length)
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%w: a client subnet with more than its prefix", ErrMalformed)
	}
	return p, nil
}

// TXTRecord makes a TXT record of strings of at most 255 octets.
func TXTRecord(owner string, ttl uint32, texts ...string) Record {
	return newRecord(&dns.TXT{Hdr: dns.RR_Header{Name: fqdn(owner), Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}, Txt: texts})
}

// NSECRecord makes an NSEC record (RFC 4034, section 4). The types are in the order of their numbers.
func NSECRecord(owner string, ttl uint32, next string, types ...Type) Record {
	list := make([]uint16, len(types))
	for i, t := range types {
		list[i] = uint16(t)
	}
	hdr := dns.RR_Header{Name: fqdn(owner), Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl}
	return newRecord(&dns.NSEC{Hdr: hdr, NextDomain: fqdn(next), TypeBitMap: list})
}

// Named gives the record with another owner and TTL.
func (r Record) Named(owner string, ttl uint32) Record {
	if r.rr == nil {
		return Record{}
	}
	rr := dns.Copy(r.rr)
	rr.Header().Name, rr.Header().Ttl = fqdn(owner), ttl
	return newRecord(rr)
}

// RR gives a copy of the record for package dnssec, which signs it; nil for the zero Record. RecordOf is the way back.
func (r Record) RR() dns.RR {
	if r.rr == nil {
		return nil
	}
	rr := dns.Copy(r.rr)
	rr.Header().Ttl = r.TTL
	return rr
}

// RecordOf makes a record of class IN of what package dnssec made.
func RecordOf(rr dns.RR) Record { return newRecord(rr) }
