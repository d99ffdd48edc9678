package dnswire

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestTheNameOfAQuestionIsSpelledAsItWasAsked(t *testing.T) {
	for asked, want := range map[string]string{
		"WwW.Example.COM.": "WwW.Example.COM", ".": "", `A\.b.c.`: `A\.b.c`, `\000X.c.`: `\000X.c`,
	} {
		b, err := new(dns.Msg).SetQuestion(asked, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		var q Asked
		if _, err := q.Read(b); err != nil || q.Spelled() != want || CanonicalName(q.Spelled()) != q.Name {
			t.Errorf("%s: %q %q %v", asked, q.Spelled(), q.Name, err)
		}
	}
}

func TestAClientSubnetIsReadStrictly(t *testing.T) {
	for text, want := range map[string]string{
		"\x00\x01\x18\x00\xcb\x00\x71":         "203.0.113.0/24",
		"\x00\x01\x00\x00":                     "0.0.0.0/0",
		"\x00\x02\x20\x00\x20\x01\x0d\xb8":     "2001:db8::/32",
		"\x00\x01\x11\x00\xcb\x00\x80":         "203.0.128.0/17",
		"":                                     "",
		"\x00\x01\x18":                         "",
		"\x00\x01\x18\x18\xcb\x00\x71":         "", // a scope
		"\x00\x01\x18\x00\xcb\x00\x71\x01":     "", // an octet more
		"\x00\x01\x18\x00\xcb\x00":             "", // and one less
		"\x00\x01\x17\x00\xcb\x00\x71":         "", // a bit more
		"\x00\x01\x21\x00\x01\x02\x03\x04\x05": "",
		"\x00\x03\x00\x00":                     "",
		"\x01\x01\x00\x00":                     "",
	} {
		got, err := ParseSubnet([]byte(text))
		if (err == nil) != (want != "") || err == nil && got != netip.MustParsePrefix(want) {
			t.Errorf("%x: %v %v", text, got, err)
		}
	}
}

// FuzzSubnet reads whatever there is: what is a subnet is one that its own octets make.
func FuzzSubnet(f *testing.F) {
	f.Add([]byte("\x00\x01\x18\x00\xcb\x00\x71"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseSubnet(b)
		if err == nil && (!p.IsValid() || p != p.Masked() || p.Addr().Is4In6() && b[1] == 1) {
			t.Errorf("%x: %v", b, p)
		}
	})
}

func TestTheOwnerOfAZoneSpeaksWithAuthority(t *testing.T) {
	b, err := new(dns.Msg).SetQuestion("example.com.", dns.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		t.Fatal(err)
	}
	var q Asked
	if _, err := q.Read(b); err != nil {
		t.Fatal(err)
	}
	subnet := []byte{0, 1, 8, 8, 10}
	out, err := q.AppendReply(nil, nil, Said{Owner: true, Authoritative: true, Subnet: subnet})
	var m dns.Msg
	if err != nil || m.Unpack(out) != nil || m.RecursionAvailable || !m.Authoritative {
		t.Errorf("%v %v", err, &m)
	}
	if o, ok := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET); !ok || o.SourceScope != 8 {
		t.Errorf("%v", &m)
	}
	out, _ = q.AppendReply(nil, nil, Said{})
	if m.Unpack(out) != nil || !m.RecursionAvailable || m.Authoritative || len(m.IsEdns0().Option) != 0 {
		t.Errorf("%v", &m)
	}
}

func TestRecordsAreMadeWithAnyOwner(t *testing.T) {
	const owner = `a\.b $x.example`
	for _, r := range []Record{
		TXTRecord(owner, 5, "one", strings.Repeat("x", 255)), NSECRecord(owner, 5, `\000.`+owner, A, TXT, 128),
		AddrRecord("other.example", 9, netip.MustParseAddr("192.0.2.1")).Named(owner, 5),
	} {
		var m dns.Msg
		m.Answer = []dns.RR{r.RR()}
		b, err := m.Pack()
		if err != nil || m.Unpack(b) != nil || r.Name != owner || m.Answer[0].Header().Ttl != 5 || RecordOf(m.Answer[0]).Text() != r.Text() {
			t.Errorf("%v %v %v", r, err, &m)
		}
	}
	if (Record{}).RR() != nil || (Record{}).Named("x", 1) != (Record{}) {
		t.Error("something was made of nothing")
	}
}
