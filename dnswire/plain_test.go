package dnswire

import (
	"bytes"
	"encoding/binary"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// plainReplies are replies of the form that is read without the library, to question.
func plainReplies(t testing.TB) map[string][]byte {
	opt := func(options ...dns.EDNS0) func(*dns.Msg) {
		return func(m *dns.Msg) {
			o := newOPT(1232)
			o.Option = options
			m.Extra = []dns.RR{o}
		}
	}
	make := func(change func(*dns.Msg), lines ...string) []byte {
		var m dns.Msg
		if err := m.Unpack(reply(t, question, 0, lines...)); err != nil {
			t.Fatal(err)
		}
		m.Compress, m.Extra = true, nil
		if change != nil {
			change(&m)
		}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const one, two = "www.shop.example. 60 A 192.0.2.1", "www.shop.example. 30 A 192.0.2.2"
	upper := make(nil, one)
	copy(upper[headerLen:], "\x03wWw\x04SHOP")
	long := make(nil, one)
	binary.BigEndian.PutUint32(long[len(long)-10:], 1<<31)
	return map[string][]byte{
		"one":          make(nil, one),
		"two":          make(nil, one, two),
		"a long TTL":   make(nil, "www.shop.example. 900000 A 192.0.2.1"),
		"no TTL":       long,
		"capitals":     upper,
		"EDNS":         make(opt(), one),
		"padding":      make(opt(&dns.EDNS0_PADDING{Padding: []byte{0, 0, 0}}), one),
		"errors":       make(opt(&dns.EDNS0_EDE{InfoCode: 4, ExtraText: "x"}, &dns.EDNS0_EDE{InfoCode: 3}), one),
		"a long error": make(opt(&dns.EDNS0_EDE{InfoCode: 4, ExtraText: strings.Repeat("x", 300)}), one),
		"validated":    make(func(m *dns.Msg) { m.AuthenticatedData = true }, one),
	}
}

func TestAPlainReplyIsReadAndSaidAsTheLibraryDoes(t *testing.T) {
	for what, b := range plainReplies(t) {
		if _, ok := readPlain(b, question); !ok {
			t.Errorf("%s: it is not taken for plain", what)
		}
		comparePlain(t, what, b, question)
	}
	six := Question{"www.shop.example", AAAA}
	var m dns.Msg
	if err := m.Unpack(reply(t, six, 0, "www.shop.example. 60 AAAA 2001:db8::1", "www.shop.example. 60 AAAA ::ffff:192.0.2.1")); err != nil {
		t.Fatal(err)
	}
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := readPlain(b, six); !ok {
		t.Error("AAAA: it is not taken for plain")
	}
	comparePlain(t, "AAAA", b, six)
}

func TestWhatIsNotQuitePlainIsLeftToTheLibrary(t *testing.T) {
	good := plainReplies(t)["padding"]
	for what, b := range map[string][]byte{
		"a chain":                reply(t, question, 0, "www.shop.example. 60 CNAME a.example.", "a.example. 60 A 192.0.2.1"),
		"no such name":           reply(t, question, 3, "--", "example. 60 SOA a.example. b.example. 1 2 3 4 5"),
		"no record":              reply(t, question, 0),
		"a record beside":        reply(t, question, 0, "www.shop.example. 60 A 192.0.2.1", "--", "example. 60 NS a.example."),
		"octets behind":          append(bytes.Clone(good), 0),
		"an octet missing":       good[:len(good)-1],
		"more than there is":     change(good, 7, 2),
		"two questions":          change(good, 5, 2),
		"another class":          change(good, len("\x03www\x04shop\x07example\x00")+headerLen+4+5, 3),
		"another type":           change(good, len("\x03www\x04shop\x07example\x00")+headerLen+4+3, 2),
		"another data length":    change(good, len("\x03www\x04shop\x07example\x00")+headerLen+4+11, 5),
		"a pointer to elsewhere": change(good, len("\x03www\x04shop\x07example\x00")+headerLen+4+1, 16),
		"an extended code":       change(good, len(good)-7-6, 1),
		"another option":         change(good, len(good)-6, 10),
		"an option too long":     change(good, len(good)-4, 4),
	} {
		if p, ok := readPlain(b, question); ok {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if _, ok := readPlain(good, Question{"www.shop.example", AAAA}); ok {
		t.Error("a reply to another question")
	}
	if _, ok := readPlain(good, Question{"ww.shop.example", A}); ok {
		t.Error("a reply to another name")
	}
}

func change(b []byte, at int, to byte) []byte {
	b = bytes.Clone(b)
	b[at] = to
	return b
}

// comparePlain says where the two ways to read b, and to say it, differ.
func comparePlain(t *testing.T, what string, b []byte, q Question) {
	t.Helper()
	p, ok := readPlain(b, q)
	if !ok {
		return
	}
	a, err := ParseAnswer(b, q, binary.BigEndian.Uint16(b))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	want, err := parseAnswer(b, q)
	if err != nil {
		t.Errorf("%s: the library refuses it: %v", what, err)
		return
	}
	for _, form := range []bool{false, true} {
		ours, err := p.form(q)
		theirs, failed := want.packForm(form)
		if err != nil || failed != nil || !bytes.Equal(ours.b[4:], theirs.b[4:]) || ours.name != theirs.name || !reflect.DeepEqual(ours.ttls, theirs.ttls) || !reflect.DeepEqual(ours.cuts, theirs.cuts) {
			t.Errorf("%s: said as\n%+v, %v\nand by the library as\n%+v, %v", what, ours, err, theirs, failed)
		}
	}
	for i := range want.Records {
		h := want.Records[i].rr.Header()
		h.Name = fqdn(CanonicalName(h.Name)) // case is nobody's business
	}
	a.forms, want.forms = nil, nil
	if !reflect.DeepEqual(a, want) {
		t.Errorf("%s: read as\n%+v\nand by the library as\n%+v", what, a, want)
	}
}

func FuzzPlainRepliesAreReadAlike(f *testing.F) {
	for _, b := range plainReplies(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerLen || checkHeader(b, binary.BigEndian.Uint16(b)) != nil {
			return
		}
		comparePlain(t, "fuzz", b, question)
	})
}

// libraryQuery is QueryWith by the library.
func libraryQuery(q Question, id uint16, o QueryOptions) ([]byte, error) {
	if _, ok := dns.IsDomainName(fqdn(q.Name)); !ok {
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
	return packPadded(&m, opt, o.PadTo)
}

func FuzzQueriesAreThoseOfTheLibrary(f *testing.F) {
	for _, s := range []string{"", "www.example", `a\.b`, `\255\000.example`, `\999`, `\9.x`, "a..b", "a.", ".", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a", strings.Repeat("a.", 128) + "a", `a\`} {
		f.Add(s, true, uint8(128))
		f.Add(s, false, uint8(0))
	}
	f.Fuzz(func(t *testing.T, s string, dnssec bool, pad uint8) {
		q, o := Question{CanonicalName(s), A}, QueryOptions{PadTo: int(pad), DNSSEC: dnssec}
		got, err := QueryWith(q, 4711, o)
		want, failed := libraryQuery(q, 4711, o)
		if err != nil && failed == nil && (strings.Contains(s, `\`) || len(s) > maxNameOctets-2) {
			return // the library takes numbers for octets that are none, and names of a few octets more than may be
		}
		if (err != nil) != (failed != nil) || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v; the library says %x, %v", s, got, err, want, failed)
		}
	})
}

func BenchmarkQuery(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Query(question, 7, PadQuery); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAnswerOfAMiss reads a reply and says it to the client who asked.
func BenchmarkAnswerOfAMiss(b *testing.B) {
	wire := plainReplies(b)["padding"]
	asked := Asked{}
	q, err := Query(question, 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := asked.Read(q); err != nil {
		b.Fatal(err)
	}
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		a, err := ParseAnswer(wire, question, binary.BigEndian.Uint16(wire))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := asked.AppendReply(out, a, Said{}); err != nil {
			b.Fatal(err)
		}
	}
}
