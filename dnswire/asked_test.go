package dnswire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// packed gives the octets of a query that change has been at.
func packed(t testing.TB, change func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion("WwW.shop.example.", dns.TypeA)
	m.Id = 77
	if change != nil {
		change(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAQueryIsReadWithAllThatItSaysOfItsClient(t *testing.T) {
	b := packed(t, func(m *dns.Msg) {
		m.AuthenticatedData, m.CheckingDisabled = true, true
		m.SetEdns0(1400, true)
		opt := m.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
			&dns.EDNS0_LOCAL{Code: 65001, Data: []byte("?")}, &dns.EDNS0_PADDING{Padding: make([]byte, 3)})
	})
	var q Asked
	if rcode, err := q.Read(b); rcode != NoError || err != nil {
		t.Fatal(rcode, err)
	}
	if q.Question != (Question{"www.shop.example", A}) || q.ID != 77 || q.Class != ClassIN || !q.RecursionDesired || !q.Authentic ||
		!q.CheckingDisabled || !q.DNSSEC || !q.EDNS || q.UDPSize != 1400 || !q.Padded || q.KeepAlive || len(q.Cookie) != 8 {
		t.Errorf("%+v", q)
	}
}

func TestWhatIsNoSoundQueryGetsTheCodeForIt(t *testing.T) {
	sound := packed(t, nil)
	with := func(change func([]byte)) []byte {
		b := bytes.Clone(sound)
		change(b)
		return b
	}
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	beside := func(records ...[]byte) []byte {
		b := bytes.Clone(sound)
		b[11] = byte(len(records))
		return append(b, bytes.Join(records, nil)...)
	}
	for name, c := range map[string]struct {
		b    []byte
		want int
	}{
		"status, not a query":      {with(func(b []byte) { b[2] |= 2 << 3 }), NotImp},
		"no question":              {with(func(b []byte) { b[5] = 0 }), FormErr},
		"two questions":            {with(func(b []byte) { b[5] = 2 }), FormErr},
		"an answer":                {with(func(b []byte) { b[7] = 1 }), FormErr},
		"a name server":            {with(func(b []byte) { b[9] = 1 }), FormErr},
		"a record that is missing": {with(func(b []byte) { b[11] = 1 }), FormErr},
		"octets behind":            {append(bytes.Clone(sound), 0), FormErr},
		"a question cut short":     {sound[:len(sound)-1], FormErr},
		"a pointer in the name":    {with(func(b []byte) { b[12], b[13] = 0xC0, 12 }), FormErr},
		"an unknown kind of label": {with(func(b []byte) { b[12] = 0x41 }), FormErr},
		"two OPT records":          {beside(opt, opt), FormErr},
		"OPT not at the root":      {beside(append([]byte{1, 'a'}, opt...)), FormErr},
		"EDNS version 1":           {beside([]byte{0, 0, 41, 4, 208, 0, 1, 0, 0, 0, 0}), BadVers},
		"an option cut short":      {beside([]byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 8}), FormErr},
		"too many records":         {beside(opt, nil, nil, nil, nil, nil, nil, nil, nil), FormErr},
		"one that is well":         {beside(opt), NoError},
	} {
		var q Asked
		if got, err := q.Read(c.b); got != c.want || err != nil {
			t.Errorf("%s: %s, %v; want %s", name, RCodeText(got), err, RCodeText(c.want))
		}
	}
	for name, b := range map[string][]byte{"a header cut short": sound[:11], "a reply": with(func(b []byte) { b[2] |= 0x80 })} {
		var q Asked
		if _, err := q.Read(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s is to be answered: %v", name, err)
		}
	}
}

// signed is a reply with all that a validating server sends, and with what has no business there.
func signed(t testing.TB) *Answer {
	t.Helper()
	sig := func(owner, covered string) string {
		return owner + " 60 RRSIG " + covered + " 13 3 60 20300101000000 20200101000000 1 example. AAAA"
	}
	a, err := ParseAnswer(reply(t, question, 0,
		"WWW.shop.example. 60 CNAME a.example.", sig("www.shop.example.", "CNAME"),
		"a.example. 30 A 192.0.2.1", "a.example. 30 A 192.0.2.2", sig("a.example.", "A"),
		"stranger.example. 30 A 192.0.2.66", "--",
		"example. 60 NS ns.example.", "b.example. 60 NSEC c.example. A", sig("b.example.", "NSEC")), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func said(t testing.TB, a *Answer, s Said, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	var q Asked
	if rcode, err := q.Read(packed(t, change)); rcode != NoError || err != nil {
		t.Fatal(rcode, err)
	}
	b, err := q.AppendReply([]byte("xx"), a, s)
	if err != nil {
		t.Fatal(err)
	}
	if s.Limit > 0 && len(b)-2 > s.Limit {
		t.Errorf("%d octets, and %d are allowed", len(b)-2, s.Limit)
	}
	m, err := unpack(b[2:])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAReplyHoldsWhatWasReachedAndTheCaseOfTheQuestion(t *testing.T) {
	m := said(t, signed(t), Said{AD: true}, nil)
	if m.Question[0].Name != "WwW.shop.example." || m.Id != 77 || !m.Response || !m.RecursionAvailable || !m.RecursionDesired || !m.AuthenticatedData {
		t.Errorf("%v", m)
	}
	if len(m.Answer) != 3 || len(m.Ns) != 0 || len(m.Extra) != 0 {
		t.Errorf("signatures, strangers or EDNS to one who asked for none:\n%v", m)
	}
	m = said(t, signed(t), Said{}, func(m *dns.Msg) { m.SetEdns0(1232, true) })
	if len(m.Answer) != 5 || len(m.Ns) != 2 || m.IsEdns0() == nil || !m.IsEdns0().Do() {
		t.Errorf("no signatures for one who wants them:\n%v", m)
	}
}

func TestAReplyToOneWhoWaitsHasTheTTLsOfTheTimeItIsSaid(t *testing.T) {
	a := signed(t).Aged(20 * time.Second).Aged(15 * time.Second)
	m := said(t, a, Said{}, nil)
	if m.Answer[0].Header().Ttl != 25 || m.Answer[1].Header().Ttl != 0 {
		t.Errorf("%v", m.Answer)
	}
}

func TestAReplyIsKeptForNoLongerThanWeKeepTheAnswer(t *testing.T) {
	a, err := ParseAnswer(reply(t, question, 0, "www.shop.example. 2147483647 A 192.0.2.1"), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	if m := said(t, a, Said{}, nil); m.Answer[0].Header().Ttl != uint32(MaxTTL/time.Second) {
		t.Errorf("%v", m.Answer)
	}
	a, err = ParseAnswer(reply(t, question, 3, "--", "example. 2147483647 SOA a.example. b.example. 1 2 3 4 2147483647"), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	if m := said(t, a, Said{}, nil); m.Ns[0].Header().Ttl != uint32(MaxNegativeTTL/time.Second) || a.TTL != MaxNegativeTTL {
		t.Errorf("%v, %v", m.Ns, a.TTL)
	}
}

func TestANegativeReplyBringsTheSOARecordWithTheTTLItMayBeKept(t *testing.T) {
	a, err := ParseAnswer(reply(t, question, 3, "--", "example. 600 SOA a.example. b.example. 1 2 3 4 40", "other. 5 SOA a. b. 1 2 3 4 5"), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	m := said(t, a.Aged(10*time.Second), Said{RCode: a.RCode}, nil)
	if m.Rcode != NXDomain || len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 30 {
		t.Errorf("%v", m)
	}
}

func TestAReplyThatIsTooLongLosesWholeSetsAndSaysSo(t *testing.T) {
	list := []string{"www.shop.example. 60 CNAME a.example."}
	for i := range 30 {
		list = append(list, fmt.Sprintf("a.example. 60 A 192.0.2.%d", i))
	}
	a, err := ParseAnswer(reply(t, question, 0, list...), question, 7)
	if err != nil {
		t.Fatal(err)
	}
	edns := func(m *dns.Msg) { m.SetEdns0(512, false) }
	m := said(t, a, Said{Limit: 300}, edns)
	if !m.Truncated || len(m.Answer) != 1 || len(m.Question) != 1 || m.IsEdns0() == nil {
		t.Errorf("%v", m)
	}
	if m = said(t, a, Said{Limit: 4096}, edns); m.Truncated || len(m.Answer) != len(list) {
		t.Errorf("%v", m)
	}
	if m = said(t, a, Said{Limit: 4096, Truncated: true}, edns); !m.Truncated || len(m.Answer) != 0 {
		t.Errorf("%v", m)
	}
}

func TestTheTextsOfErrorsGoBeforeTheErrorsAndTheseBeforeTheRecords(t *testing.T) {
	a := signed(t)
	edns := func(m *dns.Msg) { m.SetEdns0(512, false) }
	whole := Said{EDE: []EDE{{Code: 6, Text: strings.Repeat("t", 100)}}}
	size := func(s Said) int {
		var q Asked
		_, _ = q.Read(packed(t, edns))
		b, err := q.AppendReply(nil, a, s)
		if err != nil {
			t.Fatal(err)
		}
		return len(b)
	}
	full, none := size(whole), size(Said{})
	for _, c := range []struct {
		limit   int
		ede     bool
		text    int
		answers int
		tc      bool
	}{{full, true, 100, 3, false}, {full - 1, true, 0, 3, false}, {none, false, 0, 3, true}, {none - 1, false, 0, 1, true}} {
		s := whole
		s.Limit = c.limit
		m := said(t, a, s, edns)
		list := readEDE(m.IsEdns0())
		if (len(list) == 1) != c.ede || c.ede && len(list[0].Text) != c.text || len(m.Answer) != c.answers || m.Truncated != c.tc {
			t.Errorf("in %d octets: %v", c.limit, m)
		}
	}
}

func TestAReplyIsPaddedToTheBlockWhateverItHolds(t *testing.T) {
	a := signed(t)
	for n := range 600 {
		var q Asked
		_, _ = q.Read(packed(t, func(m *dns.Msg) { m.SetEdns0(512, false) }))
		b, err := q.AppendReply(nil, a, Said{PadTo: PadReply, Cookie: make([]byte, n)})
		if err != nil || len(b)%PadReply != 0 {
			t.Fatalf("%d octets of cookie: %d octets, %v", n, len(b), err)
		}
		if _, err := unpack(b); err != nil && n <= 40 {
			t.Fatal(err)
		}
	}
}

func TestOneRecordOfTheServersOwnIsSaidInTheClassOfTheQuestion(t *testing.T) {
	var q Asked
	_, _ = q.Read(packed(t, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }))
	b, err := q.AppendRecord(nil, TXT, 5, []byte("\x02hi"), Said{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := unpack(b)
	if err != nil || len(m.Answer) != 1 || m.Answer[0].String() != "WwW.shop.example.\t5\tCH\tTXT\t\"hi\"" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := q.AppendReply(nil, signed(t), Said{}); !errors.Is(err, ErrForm) {
		t.Errorf("records of class IN are said in another: %v", err)
	}
}

func TestWhatIsSaidWithoutRecordsNamesTheQuestion(t *testing.T) {
	m := said(t, nil, Said{RCode: BadVers, EDE: []EDE{{Code: 22}}}, func(m *dns.Msg) { m.SetEdns0(512, true) })
	if m.Rcode != BadVers || len(m.Question) != 1 || len(readEDE(m.IsEdns0())) != 1 {
		t.Errorf("%v", m)
	}
	if m = said(t, nil, Said{RCode: BadVers}, nil); m.Rcode != ServFail {
		t.Errorf("an extended code to one without EDNS: %v", m)
	}
}

func TestTheLastDotOfANameIsTakenOffUnlessItIsEscaped(t *testing.T) {
	for s, want := range map[string]string{`A.b.`: `a.b`, `a\.`: `a\.`, `a\\.`: `a\\`, `a\\\.`: `a\\\.`, `.`: ``} {
		if got := CanonicalName(s); got != want {
			t.Errorf("%s is %s, want %s", s, got, want)
		}
	}
}

// FuzzAsked holds that whatever is taken for a query is one for the library too, with the same question, and that each
// reply to it can be read.
func FuzzAsked(f *testing.F) {
	f.Add(packed(f, nil), uint16(0), false)
	f.Add(packed(f, func(m *dns.Msg) { m.SetEdns0(4096, true) }), uint16(100), true)
	f.Add(packed(f, func(m *dns.Msg) { m.Question[0].Name = `a\.b\000\"\255.` }), uint16(600), false)
	answer := signed(f)
	f.Fuzz(func(t *testing.T, b []byte, limit uint16, truncated bool) {
		var q Asked
		rcode, err := q.Read(b)
		if err != nil {
			return
		}
		s := Said{RCode: rcode, Limit: int(limit), Truncated: truncated, EDE: []EDE{{Code: 1, Text: "text"}}, PadTo: 128}
		var records *Answer
		if rcode == NoError && q.Question == question && q.Class == ClassIN {
			records = answer
		}
		out, err := q.AppendReply(nil, records, s)
		if err != nil {
			t.Fatal(err)
		}
		m, err := unpack(out)
		if err != nil && len(q.question) > 0 && rcode != NoError {
			return // a question that the library does not take, echoed
		}
		if err != nil || binary.BigEndian.Uint16(b) != m.Id || !m.Response {
			t.Fatalf("the reply cannot be read: %v\n%x", err, out)
		}
		if rcode != NoError || q.Empty {
			return
		}
		var theirs dns.Msg
		if err := theirs.Unpack(b); err != nil {
			return // the library reads the data of options and of records that are ignored here
		}
		if len(theirs.Question) != 1 || CanonicalName(theirs.Question[0].Name) != q.Name || theirs.Question[0].Qtype != uint16(q.Type) ||
			theirs.Question[0].Qclass != q.Class || m.Question[0] != theirs.Question[0] || (theirs.IsEdns0() != nil) != q.EDNS {
			t.Errorf("%+v is %v to the library, and %v in the reply", q, theirs.Question, m.Question)
		}
	})
}
