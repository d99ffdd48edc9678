package dnswire

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// reading is what a reply says, worked out from what the message library makes of it and from nothing of ours.
type reading struct {
	refused string // why it is no answer to the question; all that we refuse and the library does not is named here
	chain   []dns.RR
	end     string
	ttl     time.Duration
}

// readAs reads b as the reply to q with this ID.
func readAs(b []byte, q Question, id uint16) (r reading) {
	var m dns.Msg
	err := m.Unpack(b)
	switch {
	case len(b) > MaxMessage:
		r.refused = "it is too long"
	case err != nil:
		r.refused = "the library refuses it"
	case !m.Response, m.Id != id, m.Opcode != dns.OpcodeQuery:
		r.refused = "it is no reply, or one to another query"
	case m.Truncated:
		r.refused = "it is truncated, where nothing is too long"
	case !counted(b, &m):
		r.refused = "it ends before it holds as many records as it says"
	case len(m.Question) != 1 || m.Question[0].Qclass != dns.ClassINET || m.Question[0].Qtype != uint16(q.Type) || !strings.EqualFold(m.Question[0].Name, q.Name+"."):
		r.refused = "it is about another question"
	}
	if r.refused != "" {
		return r
	}
	// A compressed name leads to one before it (RFC 1035, section 4.1.4), so that the additional section, and the count of
	// it in the header, decide nothing of the others.
	cut, ok := alone(b)
	rcode := m.Rcode
	if !ok || m.Unpack(cut) != nil || !counted(cut, &m) {
		r.refused = "a name in it leads into the additional section"
		return r
	}
	m.Rcode = rcode
	if r.walk(m.Answer, q); r.refused == "" {
		r.live(&m, q)
	}
	return r
}

func counted(b []byte, m *dns.Msg) bool {
	for i, n := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if int(binary.BigEndian.Uint16(b[4+2*i:])) != n {
			return false
		}
	}
	return true
}

// walk follows the chain from the question.
func (r *reading) walk(section []dns.RR, q Question) {
	r.end = q.Name + "."
	owners := []string{}
	for {
		var link *dns.CNAME
		found := false
		for _, rr := range section {
			h := rr.Header()
			if h.Class != dns.ClassINET || !strings.EqualFold(h.Name, r.end) {
				continue
			}
			if h.Rrtype == uint16(q.Type) || q.Type == ANY {
				r.chain, found = append(r.chain, rr), true
			} else if c, ok := rr.(*dns.CNAME); ok && link == nil {
				link = c
			}
		}
		if found || link == nil {
			return
		}
		if link.Target == "" {
			r.refused = "a CNAME record ends before its name, which the library forgives"
			return
		}
		owners = append(owners, r.end)
		r.chain, r.end = append(r.chain, link), link.Target
		for _, o := range owners {
			if strings.EqualFold(o, r.end) {
				r.refused = "its CNAME records form a loop"
				return
			}
		}
		if len(owners) > MaxChain {
			r.refused = "its chain is too long"
			return
		}
	}
}

// live works out for how long the answer may be kept.
func (r *reading) live(m *dns.Msg, q Question) {
	ttl := uint32(MaxTTL / time.Second)
	has := false
	for _, rr := range r.chain {
		has = has || rr.Header().Rrtype == uint16(q.Type) || q.Type == ANY
		ttl = min(ttl, honest(rr.Header().Ttl))
	}
	if m.Rcode == dns.RcodeNameError || m.Rcode == dns.RcodeSuccess && !has {
		bound := uint32(0)
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok && soa.Hdr.Class == dns.ClassINET && dns.IsSubDomain(soa.Hdr.Name, r.end) {
				bound = min(honest(soa.Hdr.Ttl), honest(soa.Minttl), uint32(MaxNegativeTTL/time.Second))
				break
			}
		}
		ttl = min(ttl, bound)
	}
	r.ttl = time.Duration(ttl) * time.Second
}

func honest(ttl uint32) uint32 {
	if ttl>>31 == 1 {
		return 0
	}
	return ttl
}

// alone gives b without its additional section, as it is kept.
func alone(b []byte) ([]byte, bool) {
	end, err := endOfAuthority(b)
	if err != nil {
		return nil, false
	}
	cut := append([]byte(nil), b[:end]...)
	cut[10], cut[11] = 0, 0
	return cut, true
}

// FuzzAgreement holds that an answer is what the message library makes of the same octets, or that both refuse it; that it
// stays so when it is kept; and that clients are told it.
func FuzzAgreement(f *testing.F) {
	ask := Question{Name: "www.shop.example", Type: A}
	for _, lines := range [][]string{
		{"www.shop.example. 60 CNAME a.example.", "a.example. 30 A 192.0.2.1", "a.example. 4294967295 A 192.0.2.2"},
		{"--", "example. 60 SOA a.example. b.example. 1 2 3 4 5"},
		{"www.shop.example. 60 CNAME b.example.", "b.example. 60 CNAME www.shop.example."},
		{`www.shop.example. 60 CNAME a\.b\000\255.example.`, `a\.b\000\255.example. 60 A 192.0.2.1`},
	} {
		for _, rcode := range []int{NoError, NXDomain, ServFail} {
			f.Add(reply(f, ask, rcode, lines...), uint8(A))
		}
	}
	f.Add(reply(f, Question{ask.Name, HTTPS}, 0, "www.shop.example. 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1 key500=x"), uint8(HTTPS))
	f.Add(reply(f, Question{ask.Name, ANY}, 0, "www.shop.example. 60 TXT x", "www.shop.example. 60 MX 1 a.example."), uint8(ANY))
	f.Fuzz(func(t *testing.T, b []byte, typ uint8) {
		if intoHeader(b) {
			return // the library reads names there, and here the counts in it are another's
		}
		q := Question{ask.Name, Type(typ)}
		want := readAs(b, q, 7)
		a, err := ParseAnswer(b, q, 7)
		if (err != nil) != (want.refused != "") {
			t.Fatalf("%x: %v, and to the library: %q", b, err, want.refused)
		}
		if err != nil {
			return
		}
		same(t, a, want)
		kept, err := a.Keep()
		if err != nil {
			t.Fatalf("%x cannot be kept: %v", b, err)
		}
		again, err := kept.Answer(q)
		if err != nil {
			t.Fatalf("%x cannot be read again: %v", b, err)
		}
		same(t, again, want)
		told(t, again)
	})
}

// intoHeader says whether a pointer may lead into the header.
func intoHeader(b []byte) bool {
	for i := headerLen; i+1 < len(b); i++ {
		if b[i] == 0xC0 && b[i+1] < headerLen {
			return true
		}
	}
	return false
}

func same(t *testing.T, a *Answer, want reading) {
	t.Helper()
	if a.TTL != want.ttl || len(a.Records) != len(want.chain) || !strings.EqualFold(a.Canonical+".", want.end) {
		t.Fatalf("%+v, want %+v", a, want)
	}
	for i, r := range a.Records {
		if rr := want.chain[i]; r.rr.String() != rr.String() || r.TTL != honest(rr.Header().Ttl) {
			t.Fatalf("record %d is %v for %d s, want %v", i, r.rr, r.TTL, rr)
		}
	}
}

// told wants the answer to be said to a client with all its records, or to be refused as one that cannot be packed.
func told(t *testing.T, a *Answer) {
	t.Helper()
	b, err := Query(a.Question, 9, 0)
	if err != nil {
		return // a type that nobody may ask for
	}
	var asked Asked
	if rcode, err := asked.Read(b); rcode != NoError || err != nil {
		t.Fatal(rcode, err)
	}
	out, err := asked.AppendReply(nil, a, Said{RCode: a.RCode})
	if err != nil {
		return // the library reads what it does not write
	}
	var m dns.Msg
	if err := m.Unpack(out); err != nil {
		t.Fatalf("%x cannot be read: %v", out, err)
	}
	n := 0
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != dns.TypeDNAME || a.Type == Type(dns.TypeDNAME) || a.Type == ANY {
			n++
		}
	}
	if !m.Truncated && n != len(a.Records) && a.Type != ANY {
		t.Fatalf("of %d records a client is told %v", len(a.Records), m.Answer)
	}
}
