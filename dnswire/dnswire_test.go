package dnswire

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var question = Question{Name: "www.shop.example", Type: A}

// reply builds a reply to q from records in presentation form: answer, then a line "--", then authority.
func reply(t testing.TB, q Question, rcode int, lines ...string) []byte {
	t.Helper()
	p := Reply{RCode: rcode}
	list := &p.Answer
	for _, l := range lines {
		if l == "--" {
			list = &p.Authority
			continue
		}
		r, err := ParseRecord(l)
		if err != nil {
			t.Fatal(err)
		}
		*list = append(*list, r)
	}
	r := Request{Question: q, ID: 7, EDNS: true, Padding: -1}
	b, err := r.Pack(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTypesAreReadInAnyCaseAndByNumber(t *testing.T) {
	for s, want := range map[string]Type{"a": A, "AAAA": AAAA, "Https": HTTPS, "TYPE65": HTTPS, "type65280": 65280, "any": ANY, "ptr": PTR} {
		if got, err := ParseType(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "TYPE", "TYPE0", "TYPE41", "OPT", "AXFR", "IXFR", "TSIG", "TYPE65536", "TYPE-1", "TYPE+1", strings.Repeat("A", 100)} {
		if got, err := ParseType(s); !errors.Is(err, ErrType) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if got := HTTPS.String() + Type(65280).String() + A.String() + RCodeText(3) + RCodeText(4000); got != "HTTPSTYPE65280ANXDOMAINRCODE4000" {
		t.Error(got)
	}
}

func TestAQueryHasNoSubnetNoTellingLengthAndTheIDGiven(t *testing.T) {
	for _, name := range []string{"", "a", "www.shop.example", strings.Repeat("abcdefghi.", 24) + "example"} {
		for _, block := range []int{0, 128, 468} {
			b, err := Query(Question{name, AAAA}, 4711, block)
			if err != nil {
				t.Fatal(err)
			}
			if block > 0 && len(b)%block != 0 {
				t.Errorf("%q: %d octets are no multiple of %d", name, len(b), block)
			}
			r, err := ParseRequest(b)
			if err != nil {
				t.Fatal(err)
			}
			if r.Name != name || r.Type != AAAA || r.ID != 4711 || !r.RecursionDesired || r.UDPSize != 1232 ||
				r.Subnet != netip.MustParsePrefix("0.0.0.0/0") || (r.Padding >= 0) != (block > 0) {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestAQueryThatDoesNotFitIsRefused(t *testing.T) {
	for _, name := range []string{"a..b", ".", strings.Repeat("a", 64) + ".example", strings.Repeat("abcdefghi.", 26) + "example", `a\`} {
		if _, err := Query(Question{name, A}, 0, 128); !errors.Is(err, ErrName) {
			t.Errorf("%.30q: %v", name, err)
		}
	}
	if _, err := Query(Question{"a.example", 41}, 0, 0); !errors.Is(err, ErrType) {
		t.Errorf("OPT: %v", err)
	}
}

func TestNamesAreComparedWithoutCaseAndWithoutTheRootDot(t *testing.T) {
	for in, want := range map[string]string{"WWW.Shop.Example.": "www.shop.example", ".": "", "": "", "plain": "plain", `a\.`: `a\.`, "É.example": "É.example"} {
		if got := CanonicalName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	b := reply(t, Question{"WWW.sHOP.Example", A}, 0, "www.SHOP.example. 60 A 192.0.2.1")
	if a, err := ParseAnswer(b, question, 7); err != nil || len(a.Addrs()) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestTheChainIsFollowedInAnyOrderAndNothingElseIsKept(t *testing.T) {
	b := reply(t, question, 0,
		"end.shop.example. 300 A 192.0.2.1",
		"evil.example. 300 A 192.0.2.66",
		"www.shop.example. 60 CNAME Mid.shop.example.",
		"end.shop.example. 200 A 192.0.2.2",
		"end.shop.example. 5 TXT not-asked",
		"mid.shop.example. 90 CNAME end.shop.example.",
		"mid.shop.example. 5 CNAME evil.example.",
	)
	a, err := ParseAnswer(b, question, 7)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(a.Addrs()); got != "[192.0.2.1 192.0.2.2]" || a.Canonical != "end.shop.example" || len(a.Records) != 4 {
		t.Errorf("%s %+v", got, a)
	}
	if a.TTL != 60*time.Second || len(a.Final()) != 2 {
		t.Errorf("TTL %v, final %v", a.TTL, a.Final())
	}
}

func TestAChainIsBounded(t *testing.T) {
	chain := func(n int) []string {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("n%d.example. 60 CNAME n%d.example.", i, i+1))
		}
		return append(lines, fmt.Sprintf("n%d.example. 60 A 192.0.2.1", n))
	}
	q := Question{"n0.example", A}
	if a, err := ParseAnswer(reply(t, q, 0, chain(MaxChain)...), q, 7); err != nil || len(a.Addrs()) != 1 {
		t.Errorf("%d links: %v", MaxChain, err)
	}
	if _, err := ParseAnswer(reply(t, q, 0, chain(MaxChain+1)...), q, 7); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d links: %v", MaxChain+1, err)
	}
	for _, loop := range [][]string{
		{"n0.example. 60 CNAME n0.example."},
		{"n0.example. 60 CNAME n1.example.", "n1.example. 60 CNAME n0.example."},
	} {
		if _, err := ParseAnswer(reply(t, q, 0, loop...), q, 7); err == nil || !strings.Contains(err.Error(), "loop") {
			t.Errorf("loop: %v", err)
		}
	}
}

func TestAQuestionForCNAMEIsNotFollowed(t *testing.T) {
	q := Question{"www.shop.example", CNAME}
	a, err := ParseAnswer(reply(t, q, 0, "www.shop.example. 60 CNAME api.shop.example.", "api.shop.example. 9 A 192.0.2.1"), q, 7)
	if err != nil || len(a.Records) != 1 || a.Records[0].Host != "api.shop.example" || a.Negative() {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestTTLs(t *testing.T) {
	soa := func(owner string, ttl, minimum uint32) string {
		return fmt.Sprintf("%s %d SOA a.example. b.example. 1 2 3 4 %d", owner, ttl, minimum)
	}
	for _, c := range []struct {
		name  string
		rcode int
		lines []string
		want  time.Duration
	}{
		{"smallest", 0, []string{"www.shop.example. 60 A 192.0.2.1", "www.shop.example. 30 A 192.0.2.2"}, 30 * time.Second},
		{"zero", 0, []string{"www.shop.example. 0 A 192.0.2.1"}, 0},
		{"largest", 0, []string{"www.shop.example. 2147483647 A 192.0.2.1"}, MaxTTL},
		{"top bit", 0, []string{"www.shop.example. 2147483648 A 192.0.2.1"}, 0},
		{"NXDOMAIN by MINIMUM", 3, []string{"--", soa("shop.example.", 3600, 45)}, 45 * time.Second},
		{"NXDOMAIN by the SOA's TTL", 3, []string{"--", soa("shop.example.", 20, 45)}, 20 * time.Second},
		{"NXDOMAIN at the chain's end", 3, []string{"www.shop.example. 10 CNAME x.other.", "--", soa("other.", 20, 45)}, 10 * time.Second},
		{"NODATA", 0, []string{"--", soa(".", 3600, 45)}, 45 * time.Second},
		{"negative at most", 3, []string{"--", soa("example.", 86400, 86400)}, MaxNegativeTTL},
		{"no SOA", 3, nil, 0},
		{"SOA of another zone", 3, []string{"--", soa("other.example.", 3600, 45)}, 0},
		{"SOA below the name", 3, []string{"--", soa("x.www.shop.example.", 3600, 45)}, 0},
		{"SOA with a top bit", 3, []string{"--", soa("example.", 3600, 1<<31)}, 0},
	} {
		a, err := ParseAnswer(reply(t, question, c.rcode, c.lines...), question, 7)
		if err != nil || a.TTL != c.want {
			t.Errorf("%s: %v, %v; want %v", c.name, a, err, c.want)
		}
	}
}

func TestWhatIsNoAnswerIsRefusedAndTheErrorSaysWhy(t *testing.T) {
	good := reply(t, question, 0, "www.shop.example. 60 A 192.0.2.1")
	change := func(f func([]byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	for want, b := range map[string][]byte{
		"less than a header": good[:11],
		"more than 65535":    append(slices.Clone(good), make([]byte, 65536)...),
		"not a reply":        change(func(b []byte) { b[2] &^= 0x80 }),
		"wrong ID":           change(func(b []byte) { b[1]++ }),
		"wrong opcode":       change(func(b []byte) { b[2] |= 4 << 3 }),
		"truncated":          change(func(b []byte) { b[2] |= 2 }),
		"0 questions":        append(slices.Clone(good[:4]), 0, 0, 0, 0, 0, 0, 0, 0),
		"header says 9":      change(func(b []byte) { b[11] = 9 }),
		"overflow":           good[:len(good)-3],
		"another question":   reply(t, Question{"other.example", A}, 0),
	} {
		_, err := ParseAnswer(b, question, 7)
		if !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := ParseAnswer(reply(t, Question{question.Name, AAAA}, 0), question, 7); err == nil {
		t.Error("another type is taken for an answer")
	}
	class := dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Response: true}, Question: []dns.Question{{Name: "www.shop.example.", Qtype: 1, Qclass: dns.ClassCHAOS}}}
	b, _ := class.Pack()
	if _, err := ParseAnswer(b, question, 7); err == nil {
		t.Error("another class is taken for an answer")
	}
	class.Question = append(class.Question, class.Question[0])
	b, _ = class.Pack()
	if _, err := ParseAnswer(b, question, 7); err == nil {
		t.Error("two questions are taken for one")
	}
	if _, err := ParseAnswer(good, question, 7); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestRecordsOfAnotherClassAreNotUsed(t *testing.T) {
	m := dns.Msg{MsgHdr: dns.MsgHdr{Id: 7, Response: true}, Question: []dns.Question{{Name: "www.shop.example.", Qtype: 1, Qclass: 1}}}
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "www.shop.example.", Rrtype: 1, Class: dns.ClassCHAOS, Ttl: 9}, A: []byte{192, 0, 2, 1}}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ParseAnswer(b, question, 7); err != nil || len(a.Addrs()) != 0 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestExtendedErrorsAreReadAndBounded(t *testing.T) {
	r := Request{Question: question, ID: 7, EDNS: true, Padding: 0}
	p := Reply{RCode: ServFail, AD: true}
	for range 6 {
		p.EDE = append(p.EDE, EDE{Code: 22, Text: strings.Repeat("x", 300)})
	}
	b, err := r.Pack(p)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ParseAnswer(b, question, 7)
	if err != nil || len(a.EDE) != 4 || len(a.EDE[0].Text) != 256 || a.EDE[0].Name() != "No Reachable Authority" || !a.AD || a.RCode != ServFail {
		t.Errorf("%+v, %v", a, err)
	}
	if len(b)%PadReply != 0 {
		t.Errorf("%d octets: a padded query gets a padded reply", len(b))
	}
	if name := (EDE{Code: 4000}).Name(); name != "EDE 4000" {
		t.Error(name)
	}
}

func TestAnErrorHasNoAddresses(t *testing.T) {
	for _, rcode := range []int{ServFail, NXDomain, Refused} {
		a, err := ParseAnswer(reply(t, question, rcode, "www.shop.example. 60 A 192.0.2.1"), question, 7)
		if err != nil || len(a.Addrs()) != 0 {
			t.Errorf("%d: %+v, %v", rcode, a, err)
		}
	}
}

func TestAnOlderAnswerHasSmallerTTLsAndTheFirstIsUntouched(t *testing.T) {
	a, err := ParseAnswer(reply(t, question, 0, "www.shop.example. 60 A 192.0.2.1"), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	for by, want := range map[time.Duration]uint32{10 * time.Second: 50, 70 * time.Second: 0, 1 << 62: 0, -time.Second: 60} {
		if got := a.Aged(by); got.Records[0].TTL != want {
			t.Errorf("%v: %+v", by, got)
		}
	}
	if a.Records[0].TTL != 60 || a.TTL != time.Minute {
		t.Errorf("the first: %+v", a)
	}
}

func TestReverseNamesGoBothWays(t *testing.T) {
	for addr, name := range map[string]string{
		"192.0.2.1":       "1.2.0.192.in-addr.arpa",
		"::ffff:10.0.0.1": "1.0.0.10.in-addr.arpa",
		"2001:db8::1":     "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		a := netip.MustParseAddr(addr)
		if got := ReverseName(a); got != name {
			t.Errorf("%s: %s", addr, got)
		}
		if p, ok := ParseReverse(name); !ok || !p.IsSingleIP() || p.Addr() != a.Unmap() {
			t.Errorf("%s: %v, %v", name, p, ok)
		}
	}
	for name, want := range map[string]string{"16.172.in-addr.arpa": "172.16.0.0/16", "8.e.f.ip6.arpa": "fe80::/12"} {
		if p, ok := ParseReverse(name); !ok || p.String() != want {
			t.Errorf("%s: %v, %v", name, p, ok)
		}
	}
	for _, name := range []string{"in-addr.arpa", "x.in-addr.arpa", "256.in-addr.arpa", "01.in-addr.arpa", "1.2.3.4.5.in-addr.arpa", "10.ip6.arpa", "g.ip6.arpa", ".in-addr.arpa", "+1.in-addr.arpa", "1.example"} {
		if p, ok := ParseReverse(name); ok {
			t.Errorf("%s: %v", name, p)
		}
	}
}

func TestARecordKeepsItsText(t *testing.T) {
	for line, want := range map[string]string{
		"a.example. 60 MX 10 mx.example.":                 "10 mx.example.",
		"a.example. 60 HTTPS 1 . alpn=h2 ech=AEX+DQBB":    `1 . alpn="h2" ech="AEX+DQBB"`,
		"1.2.0.192.in-addr.arpa. PTR host.example.":       "host.example.",
		"a.example. 60 IN AAAA 2001:db8::1":               "2001:db8::1",
		"a.example. 60 TYPE65280 \\# 2 abcd":              `\# 2 abcd`,
		"a.example. 60 TXT \"two words\" \"and another\"": `"two words" "and another"`,
	} {
		r, err := ParseRecord(line)
		if err != nil || r.Text() != want {
			t.Errorf("%s: %q, %v", line, r.Text(), err)
		}
	}
	for _, line := range []string{"", "x", "a.example. 60 CH A 192.0.2.1", "$INCLUDE /etc/passwd", "a.example. A 1\nb.example. A 2", "; comment"} {
		if r, err := ParseRecord(line); err == nil {
			t.Errorf("%q: %+v", line, r)
		}
	}
	if (Record{}).Text() != "" {
		t.Error("a record of nothing has a text")
	}
}

func TestALocalAnswerIsAnAnswer(t *testing.T) {
	q := Question{"localhost", AAAA}
	a, err := Local(q, Reply{Answer: []Record{AddrRecord("localhost", 300, netip.IPv6Loopback())}, EDE: []EDE{{Code: 29, Text: "here"}}})
	if err != nil || fmt.Sprint(a.Addrs()) != "[::1]" || a.TTL != 5*time.Minute || a.EDE[0].Name() != "Synthesized" {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestARequestThatIsNoQueryIsRefused(t *testing.T) {
	good, err := Query(question, 7, 128)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"short": good[:5], "reply": reply(t, question, 0), "cut": good[:20],
		"notify": append([]byte{0, 7, 4 << 3, 0}, good[4:]...),
		"none":   append(slices.Clone(good[:4]), 0, 0, 0, 0, 0, 0, 0, 0),
	} {
		if _, err := ParseRequest(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAQueryForDNSSECSetsDOAndCD(t *testing.T) {
	for _, want := range []bool{false, true} {
		b, err := QueryWith(question, 7, QueryOptions{PadTo: PadQuery, DNSSEC: want})
		if err != nil {
			t.Fatal(err)
		}
		var m dns.Msg
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		if m.IsEdns0().Do() != want || m.CheckingDisabled != want || len(b)%PadQuery != 0 {
			t.Errorf("DNSSEC %v: DO %v, CD %v, %d octets", want, m.IsEdns0().Do(), m.CheckingDisabled, len(b))
		}
	}
}

func TestAMessageIsReadWithTheChecksOfAnAnswer(t *testing.T) {
	good := reply(t, question, 0, "www.shop.example. 60 A 192.0.2.1")
	if m, err := Message(good, question); err != nil || len(m.Answer) != 1 {
		t.Errorf("%v, %v", m, err)
	}
	query, _ := Query(question, 7, 0)
	for name, b := range map[string][]byte{"short": good[:5], "cut off": good[:len(good)-3], "a query": query, "nothing": nil} {
		if _, err := Message(b, question); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Message(good, Question{"other.example", A}); !errors.Is(err, ErrMalformed) {
		t.Errorf("another question: %v", err)
	}
}
