package dnswire

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/miekg/dns"
)

// MaxServices is how many SVCB or HTTPS records of an answer are looked at.
const MaxServices = 16

// Service is one SVCB or HTTPS record in ServiceMode (RFC 9460, section 2.4.3), as far as it is used here.
type Service struct {
	Priority  uint16
	Target    string   // canonical; the record's owner where it is "."
	ALPN      []string // identifications of protocols, at most as many as a record holds
	NoDefault bool     // the default protocol of the scheme is not among them (section 7.1.1)
	Port      uint16   // 0 where there is none
	ECH       []byte   // an ECHConfigList (RFC 9848), unchecked; nil where there is none
}

// Services gives the SVCB or HTTPS records of an answer, the preferred first: those in ServiceMode of which every
// mandatory parameter is known here (RFC 9460, section 8). The records in AliasMode lead to other names, and are left out.
func (a *Answer) Services() []Service {
	if a.RCode != NoError {
		return nil
	}
	var list []Service
	for _, r := range a.Final() {
		if len(list) == MaxServices {
			break
		}
		var rr *dns.SVCB
		switch v := r.rr.(type) {
		case *dns.HTTPS:
			rr = &v.SVCB
		case *dns.SVCB:
			rr = v
		}
		if rr == nil || rr.Priority == 0 {
			continue
		}
		if s, ok := newService(rr); ok {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b Service) int { return cmp.Compare(a.Priority, b.Priority) })
	return list
}

// Alias gives the name to which the records of an answer lead in AliasMode (RFC 9460, section 2.4.2), canonical, and says
// whether there is one: then the records in ServiceMode beside it mean nothing. It is empty where the record says that the
// service is not there.
func (a *Answer) Alias() (target string, ok bool) {
	if a.RCode != NoError {
		return "", false
	}
	for i, r := range a.Final() {
		if i == MaxServices {
			break
		}
		switch v := r.rr.(type) {
		case *dns.HTTPS:
			if v.Priority == 0 {
				return CanonicalName(v.Target), true
			}
		case *dns.SVCB:
			if v.Priority == 0 {
				return CanonicalName(v.Target), true
			}
		}
	}
	return "", false
}

// newService reads a record; false where something mandatory in it is not known here.
func newService(rr *dns.SVCB) (Service, bool) {
	s := Service{Priority: rr.Priority, Target: CanonicalName(rr.Target)}
	if s.Target == "" {
		s.Target = CanonicalName(rr.Hdr.Name)
	}
	for _, p := range rr.Value {
		switch v := p.(type) {
		case *dns.SVCBMandatory:
			if slices.ContainsFunc(v.Code, func(k dns.SVCBKey) bool { return k > dns.SVCB_IPV6HINT }) {
				return Service{}, false
			}
		case *dns.SVCBAlpn:
			s.ALPN = slices.Clone(v.Alpn)
		case *dns.SVCBNoDefaultAlpn:
			s.NoDefault = true
		case *dns.SVCBPort:
			s.Port = v.Port
		case *dns.SVCBECHConfig:
			s.ECH = bytes.Clone(v.ECH)
		}
	}
	return s, true
}
