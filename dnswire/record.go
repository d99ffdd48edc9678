package dnswire

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Record is one resource record of class IN.
type Record struct {
	Name string // canonical
	Type Type
	TTL  uint32     // seconds, as it came but 0 where its top bit was set (RFC 2181, section 8)
	Addr netip.Addr // of A and AAAA
	Host string     // canonical; of CNAME, NS and PTR

	rr dns.RR
}

// Text gives the record's data in presentation form (RFC 1035, section 5.1).
func (r Record) Text() string {
	if r.rr == nil {
		return ""
	}
	if unknown, ok := r.rr.(*dns.RFC3597); ok { // its String names class and type in its own way (RFC 3597, section 5)
		return fmt.Sprintf(`\# %d %s`, len(unknown.Rdata)/2, unknown.Rdata)
	}
	return strings.TrimPrefix(r.rr.String(), r.rr.Header().String())
}

// ParseRecord reads one record in presentation form with an absolute name: `www.example.com. 60 IN A 192.0.2.1`.
// TTL and class may be left out; the TTL is then an hour.
func ParseRecord(s string) (Record, error) {
	if len(s) > MaxMessage || strings.ContainsAny(s, "\n\r$") {
		return Record{}, fmt.Errorf("%.40q is not one record", s)
	}
	rr, err := dns.NewRR(s)
	if err != nil {
		return Record{}, fmt.Errorf("%.40q is not a record: %w", s, err)
	}
	if rr == nil || rr.Header().Class != dns.ClassINET {
		return Record{}, fmt.Errorf("%.40q is not a record of class IN", s)
	}
	return newRecord(rr), nil
}

// AddrRecord makes an A or AAAA record.
func AddrRecord(owner string, ttl uint32, addr netip.Addr) Record {
	addr = addr.Unmap()
	hdr := dns.RR_Header{Name: fqdn(owner), Class: dns.ClassINET, Ttl: ttl, Rrtype: dns.TypeAAAA}
	if addr.Is4() {
		hdr.Rrtype = dns.TypeA
		return newRecord(&dns.A{Hdr: hdr, A: addr.AsSlice()})
	}
	return newRecord(&dns.AAAA{Hdr: hdr, AAAA: addr.AsSlice()})
}

// PTRRecord makes a PTR record.
func PTRRecord(owner string, ttl uint32, host string) Record {
	hdr := dns.RR_Header{Name: fqdn(owner), Class: dns.ClassINET, Ttl: ttl, Rrtype: dns.TypePTR}
	return newRecord(&dns.PTR{Hdr: hdr, Ptr: fqdn(host)})
}

func newRecord(rr dns.RR) Record {
	h := rr.Header()
	r := Record{Name: CanonicalName(h.Name), Type: Type(h.Rrtype), TTL: plainTTL(h.Ttl), rr: rr}
	switch v := rr.(type) {
	case *dns.A:
		if a, ok := netip.AddrFromSlice(v.A.To4()); ok {
			r.Addr = a
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(v.AAAA.To16()); ok {
			r.Addr = a
		}
	case *dns.CNAME:
		r.Host = CanonicalName(v.Target)
	case *dns.NS:
		r.Host = CanonicalName(v.Ns)
	case *dns.PTR:
		r.Host = CanonicalName(v.Ptr)
	}
	return r
}

// plainTTL treats a TTL whose top bit is set as zero (RFC 2181, section 8).
func plainTTL(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}
