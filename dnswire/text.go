package dnswire

import "github.com/miekg/dns"

// Strings gives the data of a TXT record: its strings, joined (RFC 1035, section 3.3.14). It says false for a record of
// another type, and for one that is malformed.
func (r Record) Strings() ([]byte, bool) {
	txt, ok := r.rr.(*dns.TXT)
	if !ok {
		return nil, false
	}
	const head = 1 + 10 // the root, and what every record has before its data
	rr := *txt
	rr.Hdr.Name = "."
	packed := make([]byte, MaxMessage)
	n, err := dns.PackRR(&rr, packed, 0, nil, false)
	if err != nil || n < head {
		return nil, false
	}
	var data []byte
	for rest := packed[head:n]; len(rest) > 0; {
		size := int(rest[0])
		if size > len(rest)-1 {
			return nil, false
		}
		data = append(data, rest[1:1+size]...)
		rest = rest[1+size:]
	}
	return data, true
}
