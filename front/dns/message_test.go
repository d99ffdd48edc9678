package dns

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	miekg "github.com/miekg/dns"

	"watertight/dnswire"
	"watertight/fault"
)

func TestADoorWithoutWhatItNeedsIsNotMade(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for name, o := range map[string]Options{
		"no handler":      {Logger: log},
		"no logger":       {Handler: &zone{}},
		"a long ID":       {Handler: &zone{}, Logger: log, ID: strings.Repeat("x", 256)},
		"a relative path": {Handler: &zone{}, Logger: log, Path: "dns-query"},
		"a negative time": {Handler: &zone{}, Logger: log, Idle: -1},
		"a negative rate": {Handler: &zone{}, Logger: log, Rate: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: a door was made", name)
		}
	}
}

func TestAQueryIsAnsweredWithItsIDItsSpellingAndItsBits(t *testing.T) {
	d := newDoor(t, Options{})
	m := ask(t, d, here(UDP), query(t, "WwW.Example.", miekg.TypeA, func(m *miekg.Msg) { m.CheckingDisabled = true }))
	if m.Id != 4711 || m.Question[0].Name != "WwW.Example." || !m.RecursionDesired || !m.RecursionAvailable || !m.CheckingDisabled ||
		m.Authoritative || m.AuthenticatedData || m.IsEdns0() != nil || len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	for name, change := range map[string]func(*miekg.Msg){
		"AD": func(m *miekg.Msg) { m.AuthenticatedData = true },
		"DO": func(m *miekg.Msg) { m.SetEdns0(1232, true) },
	} {
		m := ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, change))
		if !m.AuthenticatedData || (m.IsEdns0() != nil) != (name == "DO") || m.IsEdns0() != nil && !m.IsEdns0().Do() {
			t.Errorf("with %s: %v", name, m)
		}
	}
}

func TestTheHandlerHearsTheQuestionAndNothingOfTheClientsOptions(t *testing.T) {
	z := &zone{asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z})
	m := ask(t, d, here(UDP), query(t, "WWW.example.", miekg.TypeA, func(m *miekg.Msg) {
		edns(1232, &miekg.EDNS0_SUBNET{Code: miekg.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{203, 0, 113, 0}})(m)
		m.IsEdns0().SetDo()
	}))
	if q := <-z.asked; q != (Query{Question: dnswire.Question{Name: "www.example", Type: dnswire.A}, DNSSEC: true}) {
		t.Errorf("the handler heard %+v", q)
	}
	if _, there := option[*miekg.EDNS0_SUBNET](m); there {
		t.Errorf("the client's subnet comes back as if it had been used: %v", m)
	}
}

func TestWhatIsNotServedIsRefusedWithTheReason(t *testing.T) {
	z := &zone{asked: make(chan Query, 1)}
	d := newDoor(t, Options{Handler: z})
	with := edns(1232)
	for name, c := range map[string]struct {
		typ    uint16
		change func(*miekg.Msg)
		rcode  int
		ede    uint16
	}{
		"AXFR":          {miekg.TypeAXFR, with, miekg.RcodeRefused, 21},
		"IXFR":          {miekg.TypeIXFR, with, miekg.RcodeRefused, 21},
		"OPT":           {miekg.TypeOPT, with, miekg.RcodeRefused, 21},
		"TKEY":          {miekg.TypeTKEY, with, miekg.RcodeRefused, 21},
		"NXNAME":        {128, with, miekg.RcodeFormatError, 30},
		"class CHAOS":   {miekg.TypeA, func(m *miekg.Msg) { with(m); m.Question[0].Qclass = 3 }, miekg.RcodeRefused, 21},
		"class ANY":     {miekg.TypeA, func(m *miekg.Msg) { with(m); m.Question[0].Qclass = 255 }, miekg.RcodeRefused, 21},
		"not recursive": {miekg.TypeA, func(m *miekg.Msg) { with(m); m.RecursionDesired = false }, miekg.RcodeRefused, 20},
		"an update":     {miekg.TypeA, func(m *miekg.Msg) { m.Opcode = miekg.OpcodeUpdate }, miekg.RcodeNotImplemented, 0xFFFF},
		"EDNS 1":        {miekg.TypeA, func(m *miekg.Msg) { with(m); m.IsEdns0().SetVersion(1) }, miekg.RcodeBadVers, 0xFFFF},
	} {
		m := ask(t, d, here(UDP), query(t, "www.example.", c.typ, c.change))
		if code, _ := ede(m); m.Rcode != c.rcode || code != c.ede || len(m.Answer) != 0 {
			t.Errorf("%s: %v", name, m)
		}
		if len(z.asked) > 0 {
			t.Fatalf("%s: the handler was asked", name)
		}
	}
}

func TestANYIsAnsweredWithOneRecordThatWasAskedOfNobody(t *testing.T) {
	z := &zone{asked: make(chan Query, 1)}
	m := ask(t, newDoor(t, Options{Handler: z}), here(UDP), query(t, "www.example.", miekg.TypeANY, nil))
	if len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != miekg.TypeHINFO || len(z.asked) > 0 {
		t.Errorf("%v", m)
	}
}

func TestTheServersOwnNamesAreToldOnlyIfTheOptionsSayWhat(t *testing.T) {
	chaos := func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS }
	told := newDoor(t, Options{ID: "door 1", Version: "watertight"})
	silent := newDoor(t, Options{})
	for host, want := range map[string]string{"id.server.": "door 1", "hostname.bind.": "door 1", "VERSION.bind.": "watertight", "version.server.": "watertight"} {
		m := ask(t, told, here(UDP), query(t, host, miekg.TypeTXT, chaos))
		if len(m.Answer) != 1 || m.Answer[0].(*miekg.TXT).Txt[0] != want || m.Answer[0].Header().Class != miekg.ClassCHAOS {
			t.Errorf("%s: %v", host, m)
		}
		if m := ask(t, silent, here(UDP), query(t, host, miekg.TypeTXT, chaos)); m.Rcode != miekg.RcodeRefused {
			t.Errorf("%s is told though nobody said what: %v", host, m)
		}
	}
	if m := ask(t, told, here(UDP), query(t, "id.server.", miekg.TypeA, chaos)); m.Rcode != miekg.RcodeRefused {
		t.Errorf("an address for a text: %v", m)
	}
}

func TestAReplyIsNeverAnswered(t *testing.T) {
	d := newDoor(t, Options{})
	if m := ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, func(m *miekg.Msg) { m.Response = true })); m != nil {
		t.Errorf("%v", m)
	}
	if m := ask(t, d, here(UDP), []byte("short")); m != nil {
		t.Errorf("%v", m)
	}
	if d.Stats().Malformed != 2 {
		t.Errorf("%+v", d.Stats())
	}
}

func TestADatagramIsNoLongerThanTheClientTakesNorThanAnyPathDoes(t *testing.T) {
	d := newDoor(t, Options{})
	for name, c := range map[string]struct {
		change  func(*miekg.Msg)
		limit   int
		tc      bool
		answers int
	}{
		"without EDNS":     {nil, 512, true, 0},
		"with 600 octets":  {edns(600), 600, true, 0},
		"with 100 octets":  {edns(100), 512, true, 0},
		"with 4096 octets": {edns(4096), 1232, true, 0},
	} {
		var a asking
		out, next := d.begin(nil, query(t, "large.example.", miekg.TypeA, c.change), here(UDP), &a)
		if next != wait {
			t.Fatal(next)
		}
		out = d.finish(t.Context(), out, &a)
		m := read(t, out)
		if len(out) > c.limit || a.limit != c.limit || m.Truncated != c.tc || len(m.Answer) != c.answers || len(m.Question) != 1 || (m.IsEdns0() != nil) != (c.change != nil) {
			t.Errorf("%s: %d octets of %d, %v", name, len(out), a.limit, m)
		}
	}
	if m := ask(t, d, here(TCP), query(t, "large.example.", miekg.TypeA, nil)); m.Truncated || len(m.Answer) != 100 {
		t.Errorf("by TCP: %v", m)
	}
	if d.Stats().Truncated != 4 {
		t.Errorf("%+v", d.Stats())
	}
}

func TestAReplyIsPaddedIfTheQueryWasAndNobodyOnTheWayCanRead(t *testing.T) {
	d := newDoor(t, Options{})
	length := func(p Proto, padded bool) int {
		var a asking
		change := edns(1232)
		if padded {
			change = edns(1232, &miekg.EDNS0_PADDING{Padding: make([]byte, 10)})
		}
		_, _ = d.begin(nil, query(t, "www.example.", miekg.TypeA, change), here(p), &a)
		return len(d.finish(t.Context(), nil, &a))
	}
	for p := range protos {
		if got := length(p, true)%dnswire.PadReply == 0; got != p.encrypted() {
			t.Errorf("%v: padded: %v", p, got)
		}
		if length(p, false)%dnswire.PadReply == 0 {
			t.Errorf("%v: padded though the query was not", p)
		}
	}
}

func TestANegativeAnswerIsOneWithItsSOARecord(t *testing.T) {
	m := ask(t, newDoor(t, Options{}), here(UDP), query(t, "missing.example.", miekg.TypeA, edns(1232)))
	if code, _ := ede(m); m.Rcode != miekg.RcodeNameError || len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 60 || code != 0xFFFF {
		t.Errorf("%v", m)
	}
}

func TestAPanicIsOneFailedQueryAndLogsNoName(t *testing.T) {
	var log bytes.Buffer
	d := newDoor(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	m := ask(t, d, here(UDP), query(t, "panic.example.", miekg.TypeA, edns(1232)))
	if _, text := ede(m); m.Rcode != miekg.RcodeServerFailure || !strings.HasSuffix(text, "(INTERNAL)") || d.Stats().Panics != 1 {
		t.Errorf("%v", m)
	}
	if log.Len() == 0 || strings.Contains(log.String(), "panic.example") {
		t.Errorf("the log says %s", &log)
	}
	if m := ask(t, d, here(UDP), query(t, "www.example.", miekg.TypeA, nil)); m.Rcode != miekg.RcodeSuccess {
		t.Errorf("%v", m)
	}
}

func TestAnAnswerToAnotherQuestionIsNotSaid(t *testing.T) {
	m := ask(t, newDoor(t, Options{}), here(UDP), query(t, "stranger.example.", miekg.TypeA, nil))
	if m.Rcode != miekg.RcodeServerFailure || len(m.Answer) != 0 {
		t.Errorf("%v", m)
	}
}

func TestWhatIsKnownIsAnsweredWithoutWaiting(t *testing.T) {
	d := newDoor(t, Options{Handler: &remembering{known: "known"}})
	var a asking
	out, next := d.begin(nil, query(t, "known.example.", miekg.TypeA, nil), here(UDP), &a)
	if next != reply || len(read(t, out).Answer) != 1 {
		t.Errorf("%v", next)
	}
	if _, next := d.begin(nil, query(t, "new.example.", miekg.TypeA, nil), here(UDP), &a); next != wait {
		t.Errorf("%v", next)
	}
	if s := d.Stats(); s.Cached != 1 || s.Waiting != 1 || s.Queries["udp"] != 2 {
		t.Errorf("%+v", s)
	}
}

func TestMoreQueriesThanMayWaitAreToldSo(t *testing.T) {
	d := newDoor(t, Options{Queries: 1})
	var first asking
	if _, next := d.begin(nil, query(t, "www.example.", miekg.TypeA, nil), here(TCP), &first); next != wait {
		t.Fatal(next)
	}
	m := ask(t, d, here(TCP), query(t, "www.example.", miekg.TypeA, edns(1232)))
	if _, text := ede(m); m.Rcode != miekg.RcodeServerFailure || !strings.HasSuffix(text, "(LIMIT)") {
		t.Errorf("%v", m)
	}
	d.finish(t.Context(), nil, &first)
	if m := ask(t, d, here(TCP), query(t, "www.example.", miekg.TypeA, nil)); m.Rcode != miekg.RcodeSuccess {
		t.Errorf("after the first is answered: %v", m)
	}
}

// faces is what each fault is to a DNS client.
var faces = map[fault.Code]struct {
	rcode int
	ede   uint16
}{
	fault.DNSNXDomain:           {miekg.RcodeNameError, 0xFFFF},
	fault.DNSNoData:             {miekg.RcodeSuccess, 0xFFFF},
	fault.DNSTimeout:            {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeNoReachableAuthority},
	fault.DNSServFail:           {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.DNSBogus:              {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeDNSBogus},
	fault.ResolverUnreachable:   {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeNoReachableAuthority},
	fault.ResolverUntrusted:     {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeNoReachableAuthority},
	fault.NotReady:              {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeNotReady},
	fault.ConnectRefused:        {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.ConnectTimeout:        {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.ConnectUnreachable:    {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.HopRefused:            {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.HopAuth:               {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.OriginFailed:          {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
	fault.PolicyPlainHTTP:       {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.PolicyForeignResolver: {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.PolicyPrivateTarget:   {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.PolicyClientResolved:  {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.PolicyRoute:           {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.Limit:                 {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeNotReady},
	fault.AuthRequired:          {miekg.RcodeRefused, miekg.ExtendedErrorCodeBlocked},
	fault.BadRequest:            {miekg.RcodeFormatError, miekg.ExtendedErrorCodeOther},
	fault.Internal:              {miekg.RcodeServerFailure, miekg.ExtendedErrorCodeOther},
}

func TestEveryFaultHasAResponseCodeAndAnExtendedErrorWithItsText(t *testing.T) {
	for _, code := range fault.Codes() {
		want, ok := faces[code]
		if !ok {
			t.Errorf("%s: nobody has said what it is to a DNS client", code)
			continue
		}
		z := &zone{then: func(context.Context, Query) (*dnswire.Answer, error, bool) {
			return nil, fault.New(code, "what went wrong", nil), true
		}}
		m := ask(t, newDoor(t, Options{Handler: z}), here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232)))
		number, text := ede(m)
		if m.Rcode != want.rcode || number != want.ede || len(m.Answer) != 0 {
			t.Errorf("%s: %v", code, m)
		}
		if number != 0xFFFF && text != "what went wrong ("+string(code)+")" {
			t.Errorf("%s: the text is %q", code, text)
		}
	}
}

func TestAnExtendedErrorOfTheResolversReachesTheClient(t *testing.T) {
	z := &zone{then: func(_ context.Context, q Query) (*dnswire.Answer, error, bool) {
		a, err := dnswire.Local(q.Question, dnswire.Reply{RCode: dnswire.NXDomain, EDE: []dnswire.EDE{{Code: 29, Text: "made here"}}})
		return a, err, true
	}}
	m := ask(t, newDoor(t, Options{Handler: z}), here(UDP), query(t, "www.example.", miekg.TypeA, edns(1232)))
	if code, text := ede(m); code != 29 || text != "made here" {
		t.Errorf("%v", m)
	}
}
