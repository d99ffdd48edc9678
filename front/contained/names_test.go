package contained

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/front/dns"
	"watertight/name"
	"watertight/synthetic"
)

// hearing is a board that only hears questions.
type hearing struct {
	Board
	bare []string
}

func (h *hearing) StandIn(_ netip.AddrPort, q dnswire.Question, made func(name.Host) (*dnswire.Answer, error)) (*dnswire.Answer, error) {
	host, err := name.ParseHost(q.Name)
	if err != nil {
		return nil, err
	}
	return made(host)
}

func (h *hearing) ExchangeBare(_ context.Context, _ netip.AddrPort, q dnswire.Question) (*dnswire.Answer, error) {
	h.bare = append(h.bare, q.Name+" "+q.Type.String())
	return dnswire.Local(q, dnswire.Reply{})
}

// says gives an answer in short: its response code and its records' data.
func says(t *testing.T, n *names, qname string, typ dnswire.Type) string {
	t.Helper()
	q := dnswire.Question{Name: qname, Type: typ}
	a, err := n.Exchange(t.Context(), dns.Client{}, dns.Query{Question: q})
	if err != nil {
		return string(fault.Of(err).Code)
	}
	if a.Question != q {
		t.Errorf("an answer to %v for %v", a.Question, q)
	}
	text := dnswire.RCodeText(a.RCode)
	for _, r := range a.Records {
		text += " " + r.Text()
	}
	return text
}

func TestANameHasOneAddressOfEachFamilyAndTheyHaveItsName(t *testing.T) {
	h := &hearing{}
	n := &names{board: h, book: synthetic.New()}
	v4, v6, err := n.book.Addrs(name.MustHost("api.example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		qname string
		typ   dnswire.Type
		want  string
	}{
		{"api.example", dnswire.A, "NOERROR " + v4.String()},
		{"api.example", dnswire.AAAA, "NOERROR " + v6.String()},
		{dnswire.ReverseName(v4), dnswire.PTR, "NOERROR api.example."},
		{dnswire.ReverseName(v6), dnswire.PTR, "NOERROR api.example."},
		{dnswire.ReverseName(v4), dnswire.TXT, "NOERROR"},
		{dnswire.ReverseName(v4.Next()), dnswire.PTR, "NXDOMAIN"},
		{dnswire.ReverseName(v6.Next()), dnswire.PTR, "NXDOMAIN"},
		{"18.198.in-addr.arpa", dnswire.SOA, "NXDOMAIN"},
		{"lb._dns-sd._udp." + dnswire.ReverseName(v4), dnswire.PTR, "NXDOMAIN"},
		{"lb._dns-sd._udp.0.18.198.in-addr.arpa", dnswire.PTR, "NXDOMAIN"},
	} {
		if got := says(t, n, c.qname, c.typ); got != c.want {
			t.Errorf("%s %v: %s, want %s", c.qname, c.typ, got, c.want)
		}
	}
	if len(h.bare) > 0 {
		t.Errorf("others were asked %q", h.bare)
	}
	for _, q := range []string{"7.113.0.203.in-addr.arpa", "198.in-addr.arpa", "20.198.in-addr.arpa", "d.f.ip6.arpa", "api.example", "x.18.198.example"} {
		says(t, n, q, dnswire.PTR)
	}
	for _, typ := range []dnswire.Type{dnswire.HTTPS, dnswire.SVCB, dnswire.MX, dnswire.TXT, dnswire.SRV, dnswire.CNAME} {
		says(t, n, "api.example", typ)
	}
	if got := fmt.Sprint(h.bare); len(h.bare) != 12 || !strings.Contains(got, "api.example HTTPS") || strings.Contains(got, " A ") {
		t.Errorf("others were asked %q", h.bare)
	}
}

func TestAProgramWithoutIPv6GetsNoAddressOfIt(t *testing.T) {
	n := &names{board: &hearing{}, book: synthetic.New(), noIPv6: true}
	if got := says(t, n, "api.example", dnswire.AAAA); got != "NOERROR" {
		t.Error(got)
	}
	if got := says(t, n, "api.example", dnswire.A); !strings.HasPrefix(got, "NOERROR 198.18.") {
		t.Error(got)
	}
}

func TestWhereThereIsNoAddressLeftANameIsRefusedAndThoseBeforeItStay(t *testing.T) {
	n := &names{board: &hearing{}, book: synthetic.New()}
	first := says(t, n, "first.example", dnswire.A)
	for i := range synthetic.MaxNames - 1 {
		if _, _, err := n.book.Addrs(name.MustHost(fmt.Sprintf("n%d.example", i))); err != nil {
			t.Fatal(i, err)
		}
	}
	if got := says(t, n, "more.example", dnswire.A); got != string(fault.Limit) {
		t.Error(got)
	}
	if got := says(t, n, "first.example", dnswire.A); got != first {
		t.Errorf("%s, before %s", got, first)
	}
}

func TestAQuestionThatCannotBeAnsweredIsSaidSo(t *testing.T) {
	n := &names{board: &hearing{}, book: synthetic.New()}
	if got := says(t, n, strings.Repeat("a", 64)+".0.18.198.in-addr.arpa", dnswire.PTR); got != string(fault.BadRequest) {
		t.Error(got)
	}
}

// FuzzNames holds that whatever a program asks for, the addresses in the answer stand for the name it asked for, and that what has
// an address of the book's is asked of nobody else.
func FuzzNames(f *testing.F) {
	for _, qname := range []string{"", "api.example", "1.1.18.198.in-addr.arpa", "18.198.in-addr.arpa", "..", `a\.b`, "f.ip6.arpa", "xn--a"} {
		f.Add(qname, uint16(dnswire.A))
		f.Add(qname, uint16(dnswire.PTR))
	}
	f.Fuzz(func(t *testing.T, qname string, typ uint16) {
		h := &hearing{}
		n := &names{board: h, book: synthetic.New()}
		q := dnswire.Question{Name: dnswire.CanonicalName(qname), Type: dnswire.Type(typ)}
		a, err := n.Exchange(t.Context(), dns.Client{}, dns.Query{Question: q})
		if err != nil {
			return
		}
		for _, addr := range a.Addrs() {
			if host, _ := n.book.Name(addr); host.String() != q.Name {
				t.Errorf("%q has %v, which stands for %q", q.Name, addr, host)
			}
		}
		if p, ok := dnswire.ParseReverse(q.Name); ok && p.IsSingleIP() && synthetic.New().Networks()[0].Contains(p.Addr()) && len(h.bare) > 0 {
			t.Errorf("%q was asked of others", q.Name)
		}
	})
}
