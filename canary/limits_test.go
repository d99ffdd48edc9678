package canary

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"watertight/visit"
)

// raw sends a datagram and gives what comes back in a moment; nil for nothing.
func (s *served) raw(b []byte) []byte {
	s.t.Helper()
	conn, err := net.Dial("udp", s.udp.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	out := make([]byte, 65535)
	n, err := conn.Read(out)
	if err != nil {
		return nil
	}
	return out[:n]
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cookie is a cookie option: the client's part, and perhaps the server's.
func cookie(hex string) dns.EDNS0 { return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex} }

// proven gives a cookie that the server made for us.
func (s *served) proven() dns.EDNS0 {
	s.t.Helper()
	r := s.over("udp", question(testZone, dns.TypeA, with(cookie("0123456789abcdef"))))
	for _, o := range r.IsEdns0().Option {
		if c, ok := o.(*dns.EDNS0_COOKIE); ok && len(c.Cookie) == 48 {
			return c
		}
	}
	s.t.Fatalf("no cookie: %v", r)
	return nil
}

func TestNobodyElsesAddressGetsMuchMoreThanWasAsked(t *testing.T) {
	s := serve(t, newNames(t, nil))
	label := visit.NewLabel()
	names := []string{testZone, "ns1." + testZone, "www." + testZone, "whoami." + testZone, "example.net", "."}
	for _, b := range visit.Branches {
		if b != visit.Silent && b != visit.Slow {
			names = append(names, visit.Name(label, b, testZone))
		}
	}
	most := 0.0
	for _, name := range names {
		for _, typ := range []uint16{dns.TypeA, dns.TypeTXT, dns.TypeHTTPS, dns.TypeDNSKEY, dns.TypeMX, dns.TypeANY, dns.TypeNSEC, dns.TypeNS} {
			for _, change := range []func(*dns.Msg){func(*dns.Msg) {}, secure, func(m *dns.Msg) { m.SetEdns0(65535, true) }, func(m *dns.Msg) {
				secure(m)
				with(cookie("0123456789abcdef"))(m) // of a client alone, and one that nobody gave
			}, func(m *dns.Msg) { secure(m); with(cookie(strings.Repeat("01", 24)))(m) }} {
				q := pack(t, question(name, typ, change))
				got := s.raw(q)
				if got == nil {
					t.Fatalf("%s %s is not answered", name, dns.TypeToString[typ])
				}
				most = max(most, float64(len(got))/float64(len(q)))
				if len(got) > amplification*len(q) {
					t.Errorf("%s %s: %d octets for %d", name, dns.TypeToString[typ], len(got), len(q))
				}
			}
		}
	}
	t.Logf("at most %.1f times as much", most)
}

func TestWhatIsLargeTakesAProvenAddress(t *testing.T) {
	s := serve(t, newNames(t, nil))
	label := visit.NewLabel()
	large, tcp := visit.Name(label, visit.Large, testZone), visit.Name(label, visit.TCP, testZone)
	bigger := func(m *dns.Msg) { m.SetEdns0(4096, true) }
	for _, c := range []struct {
		network string
		name    string
		typ     uint16
		change  func(*dns.Msg)
		whole   bool
	}{
		{"udp", large, dns.TypeTXT, bigger, false},
		{"tcp", large, dns.TypeTXT, bigger, true},
		{"udp", large, dns.TypeA, func(*dns.Msg) {}, true},
		{"udp", tcp, dns.TypeA, bigger, false},
		{"udp", tcp, dns.TypeA, with(s.proven()), false},
		{"tcp", tcp, dns.TypeA, bigger, true},
		{"udp", visit.Name(label, visit.Nxdomain, testZone), dns.TypeA, func(m *dns.Msg) { secure(m); with(s.proven())(m) }, true},
	} {
		r := s.over(c.network, question(c.name, c.typ, c.change))
		if r.Truncated == c.whole {
			t.Errorf("%s %s over %s:\n%v", c.name, dns.TypeToString[c.typ], c.network, r)
		}
		if size := r.Len(); c.whole && c.typ == dns.TypeTXT && (size < 3000 || size > 4000) {
			t.Errorf("%d octets", size)
		}
	}
}

func TestOperationsAndRubbishAreRefused(t *testing.T) {
	s := serve(t, newNames(t, nil))
	opcode := func(code int) func(*dns.Msg) { return func(m *dns.Msg) { m.Opcode = code } }
	for _, c := range []struct {
		m     *dns.Msg
		rcode int
	}{
		{question(testZone, dns.TypeSOA, opcode(dns.OpcodeNotify)), dns.RcodeNotImplemented},
		{question(testZone, dns.TypeSOA, opcode(dns.OpcodeUpdate)), dns.RcodeNotImplemented},
		{question(testZone, dns.TypeA, opcode(7)), dns.RcodeNotImplemented},
		{question(testZone, dns.TypeA, func(m *dns.Msg) { secure(m); m.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		{question(testZone, dns.TypeA, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{question("version.bind", dns.TypeTXT, func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		{question(testZone, dns.TypeA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }), dns.RcodeFormatError},
		{question(testZone, dns.TypeA, with(cookie("0123"))), dns.RcodeFormatError},
		{question(testZone, dns.TypeA, with(&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 24, 0, 192, 0, 2, 1}})), dns.RcodeFormatError},
		{question(testZone, dns.TypeA, with(&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 9, 0, 0}})), dns.RcodeFormatError},
		{question(testZone, 128), dns.RcodeFormatError},
		{question(testZone, dns.TypeTSIG), dns.RcodeRefused},
	} {
		for _, network := range []string{"udp", "tcp"} {
			if r := s.over(network, c.m); r.Rcode != c.rcode || len(r.Answer) > 0 {
				t.Errorf("%v\n%v", c.m, r)
			}
		}
	}
}

func TestAnAnswerIsNotAnswered(t *testing.T) { // else two servers would talk to each other for ever
	d := newNames(t, nil)
	for _, change := range []func(*dns.Msg){func(*dns.Msg) {}, secure, func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, func(m *dns.Msg) { m.Rcode = dns.RcodeFormatError }} {
		q := question(testZone, dns.TypeA, change, func(m *dns.Msg) { m.Response = true })
		if out := d.door.Datagram(t.Context(), pack(t, q), forged); len(out) > 0 {
			t.Errorf("%v is answered: %x", q, out)
		}
	}
}

// somewhere are networks of which one is known.
type somewhere struct{ of visit.Network }

func (s somewhere) Network(netip.Addr) *visit.Network { return &s.of }

func TestWhatAQuestionShowsIsKept(t *testing.T) {
	home := visit.Network{Number: 64500, Name: "here", Country: "XX"}
	s := serve(t, newNames(t, func(o *Options) { o.Networks = somewhere{home} }))
	label := visit.NewLabel()
	name := "Er." + visit.Name(label, visit.V4, testZone)
	s.over("tcp", question(name, dns.TypeHTTPS, func(m *dns.Msg) {
		m.SetEdns0(1400, true)
		with(cookie("0123456789abcdef"), &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(203, 0, 113, 0)})(m)
	}))
	s.over("udp", question(strings.ToLower(name), 65280))
	got, _ := s.o.Log.Seen(label)
	if len(got.Queries) != 2 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []visit.Query{
		{Over: "tcp", Name: name, Type: "HTTPS", Subnet: "203.0.113.0/24", Cookie: true, MixedCase: true, DNSSEC: true, Size: 1400},
		{Over: "udp", Name: strings.ToLower(name), Type: "TYPE65280"},
	} {
		q := got.Queries[i]
		if q.From.Addr() != netip.MustParseAddr("127.0.0.1") || q.From.Port() == 0 || time.Since(q.At) > time.Minute || *q.Network != home {
			t.Errorf("%+v", q)
		}
		q.From, q.At, q.Network = netip.AddrPort{}, time.Time{}, nil
		if q != want {
			t.Errorf("%+v, not %+v", q, want)
		}
	}
}

func TestTheClientSubnetComesBackWithItsScope(t *testing.T) {
	s := serve(t, newNames(t, nil))
	subnet := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 2, SourceNetmask: 48, Address: net.ParseIP("2001:db8:7::")}
	r := s.over("udp", question(visit.Name(visit.NewLabel(), visit.Plain, testZone), dns.TypeA, with(subnet)))
	i := slices.IndexFunc(r.IsEdns0().Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0SUBNET })
	if i < 0 {
		t.Fatalf("%v", r)
	}
	if got := r.IsEdns0().Option[i].(*dns.EDNS0_SUBNET); got.SourceScope != 48 || got.SourceNetmask != 48 || !got.Address.Equal(subnet.Address) {
		t.Errorf("%v", got)
	}
}

func TestSilentNamesAreSilent(t *testing.T) {
	s := serve(t, newNames(t, nil))
	label := visit.NewLabel()
	for _, network := range []string{"udp", "tcp"} {
		if r, err := s.exchange(network, question(visit.Name(label, visit.Silent, testZone), dns.TypeA), 100*time.Millisecond); err == nil {
			t.Errorf("%v", r)
		}
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if got, _ := s.o.Log.Seen(label); len(got.Queries) == 2 {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%+v", got)
		}
	}
}

// forged is an address from which datagrams come that nobody there sent.
var forged = netip.MustParseAddrPort("192.0.2.9:4000")

func TestSlowNamesAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newNames(t, nil)
		q := pack(t, question(visit.Name(visit.NewLabel(), visit.Slow, testZone), dns.TypeA))
		before := time.Now()
		if out := d.door.Datagram(t.Context(), q, forged); time.Since(before) != slowness || len(out) < len(q)+16 {
			t.Errorf("after %v: %x", time.Since(before), out)
		}
	})
}

func TestAForgedAddressIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newNames(t, nil)
		q := pack(t, question(visit.Name(visit.NewLabel(), visit.Plain, testZone), dns.TypeA, secure))
		const each = 1000
		for range 3 {
			var whole, cut, octets int
			for range each {
				out := d.door.Datagram(t.Context(), q, forged)
				octets += len(out)
				switch {
				case len(out) == 0:
				case out[2]&2 != 0: // TC
					cut++
				default:
					whole++
				}
			}
			if whole > rateForged || cut > each/2 || whole == 0 || cut == 0 || octets > each*len(q) {
				t.Errorf("%d whole answers and %d cut off, of %d: %d octets for %d", whole, cut, each, octets, each*len(q))
			}
			time.Sleep(time.Second)
		}
	})
}

func TestAFloodFromEverywhereLeavesMemoryAsItIs(t *testing.T) {
	const bound = 2 << 20
	d := newNames(t, func(o *Options) { o.Log = NewLog(LogOptions{Now: time.Now, Passed: Stopwatch(), Octets: bound}) })
	before := heap()
	for i := range 20_000 {
		q := pack(t, question(visit.Name(numbered(i), visit.Branches[i%3], testZone), dns.TypeA))
		d.door.Datagram(t.Context(), q, netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 53))
	}
	if grown := heap() - before; grown > bound+1<<20 {
		t.Errorf("%d octets", grown)
	}
	runtime.KeepAlive(d)
}

func TestSlowAnswersAreSoManyAndNoMore(t *testing.T) {
	d := newNames(t, nil)
	d.slow.Store(maxSlow)
	if d.wait(t.Context()) || d.slow.Load() != maxSlow {
		t.Error("one more than may be is waited for")
	}
}

func TestOptionsThatCannotBeAreErrors(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	for want, change := range map[string]func(*Options){
		"the zone":        func(o *Options) { o.Zone = "Canary.example.net" },
		"without a dot":   func(o *Options) { o.Zone = "canary.example.net." },
		"root":            func(o *Options) { o.Zone = "canary" },
		"180":             func(o *Options) { o.Zone = strings.Repeat("a.", 90) + "net" },
		"a log":           func(o *Options) { o.Log = nil },
		"lead to":         func(o *Options) { o.Addresses = nil },
		"not the address": func(o *Options) { o.Addresses = []netip.Addr{netip.IPv4Unspecified()} },
		"more than 4":     func(o *Options) { o.Addresses = slices.Repeat([]netip.Addr{addr}, 5) },
		"needs a name":    func(o *Options) { o.Servers = nil },
		"twice":           func(o *Options) { o.Servers = append(o.Servers, o.Servers[0]) },
		"own name":        func(o *Options) { o.Servers = []Server{{Name: o.Zone, Addresses: []netip.Addr{addr}}} },
		"without its":     func(o *Options) { o.Servers = []Server{{Name: "ns1." + o.Zone}} },
		"not below":       func(o *Options) { o.Servers = []Server{{Name: "ns1.example.org", Addresses: []netip.Addr{addr}}} },
		"a visitor's":     func(o *Options) { o.Servers = []Server{{Name: "whoami." + o.Zone, Addresses: []netip.Addr{addr}}} },
		"is a visitor's": func(o *Options) {
			o.Servers = []Server{{Name: "a." + visit.NewLabel() + "-v4." + o.Zone, Addresses: []netip.Addr{addr}}}
		},
		`the name server "`: func(o *Options) { o.Servers = []Server{{Name: "ns_1.example.org"}} },
		"more than 8": func(o *Options) {
			for i := range 9 {
				o.Servers = append(o.Servers, Server{Name: fmt.Sprintf("ns%d.example.org", i)})
			}
		},
	} {
		d := newNames(t, nil)
		change(&d.o)
		if err := d.o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTheDelegationIsWhatTheZoneAboveNeeds(t *testing.T) {
	d := newNames(t, nil)
	got := d.Delegation()
	want := []string{
		"canary.example.net. IN NS ns1.canary.example.net.", "canary.example.net. IN NS a.b.ns.canary.example.net.",
		"ns1.canary.example.net. IN A 192.0.2.53", "ns1.canary.example.net. IN AAAA 2001:db8::53", "a.b.ns.canary.example.net. IN A 192.0.2.54",
	}
	if len(got) != 6 || !slices.Equal(got[:5], want) || !strings.HasPrefix(got[5], "canary.example.net. IN DS ") {
		t.Errorf("%q", got)
	}
	for _, line := range got {
		if _, err := dns.NewRR(line); err != nil {
			t.Error(err)
		}
	}
}

// FuzzQuestion sends whatever there is by UDP, from an address that nobody proved: the answer is bounded, or there is none.
func FuzzQuestion(f *testing.F) {
	label := strings.Repeat("a", visit.LabelLength)
	for _, b := range visit.Branches {
		if b == visit.Slow {
			continue
		}
		f.Add(pack(f, question("er."+visit.Name(label, b, testZone), dns.TypeA, secure)))
		f.Add(pack(f, question(visit.Name(label, b, testZone), dns.TypeMX, with(cookie("0123456789abcdef")))))
	}
	f.Add(pack(f, question(testZone, dns.TypeANY, secure)))
	f.Add(pack(f, question("whoami."+testZone, dns.TypeTXT, with(&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}))))
	d := newNames(f, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		d.slow.Store(maxSlow) // so that slow ones are silent
		out := d.door.Datagram(t.Context(), b, forged)
		if len(out) > amplification*len(b) || len(out) > 1232 {
			t.Fatalf("%d octets for %d: %x", len(out), len(b), b)
		}
		if len(out) == 0 {
			return
		}
		var m dns.Msg
		if err := m.Unpack(out); err != nil || !m.Response || m.RecursionAvailable || m.AuthenticatedData {
			t.Fatalf("%x is answered with %x: %v\n%v", b, out, err, &m)
		}
	})
}
