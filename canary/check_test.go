package canary

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/dnswire"
	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/visit"
	"watertight/wire"
)

// outside is a way by which a check looks at a site: a resolver that has answers for it, and its port.
type outside struct {
	t        *testing.T
	site     *site
	at       netip.AddrPort             // of the page
	records  map[string][]string        // data by name and type; of names of visits that of the zone
	rcode    map[string]int             // by name or, where it ends in *, by its beginning
	over     func(q visit.Query) string // which transport a question comes by; "" for none
	asked    []string
	dialled  []string
	resolver string
}

func (o *outside) Exchange(_ context.Context, q dnswire.Question) (*dnswire.Answer, error) {
	o.asked = append(o.asked, q.Name+" "+q.Type.String())
	key := q.Name
	if label, branch, _, err := visit.Parse(q.Name, testZone); err == nil {
		key = "*" + string(branch)
		v := visit.Query{From: netip.MustParseAddrPort(o.resolver), Name: q.Name, Type: q.Type.String(), Over: "udp"}
		if v.Over = o.over(v); v.Over != "" {
			o.site.log.Query(label, v)
		}
	}
	a := &dnswire.Answer{Question: q, Canonical: q.Name, RCode: o.rcode[key]}
	if a.RCode != dnswire.NoError {
		return a, nil
	}
	list, ok := o.records[key+" "+q.Type.String()]
	if !ok && strings.HasPrefix(key, "*") {
		list = o.records["* "+q.Type.String()]
	}
	for _, data := range list {
		r, err := dnswire.ParseRecord(q.Name + ". 60 " + q.Type.String() + " " + data)
		if err != nil {
			o.t.Fatal(err)
		}
		a.Records = append(a.Records, r)
	}
	return a, nil
}

func (o *outside) Dial(ctx context.Context, t name.Target) (net.Conn, error) {
	o.dialled = append(o.dialled, t.String())
	if t.Port() == portDoT || !o.at.IsValid() {
		return nil, errors.New("connection refused")
	}
	return wire.DialTCP(ctx, o.at)
}

const testDS = "12345 13 2 0011223344556677889900112233445566778899001122334455667788990011"

// sound is a canary in which all is well but for DNS over TLS.
func sound(t *testing.T) (*outside, CheckOptions) {
	s := newSite(t, Nowhere{})
	s.ds = []string{testZone + ". 3600 IN DS " + strings.ToUpper(testDS)}
	ca := dnstest.NewCA()
	cert := ca.Issue([]string{testZone, "*." + testZone}, nil)
	o := &outside{
		t: t, site: s, at: s.serves(t, Port{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}),
		records: map[string][]string{
			testZone + " NS": {"ns1." + testZone + "."}, testZone + " DS": {testDS}, "ns1." + testZone + " A": {"192.0.2.1"},
			"* A": {"192.0.2.1"}, "* AAAA": {"2001:db8::1"},
		},
		rcode: map[string]int{"*bogus": dnswire.ServFail}, resolver: "203.0.113.53:5353",
		over: func(q visit.Query) string {
			if strings.Contains(q.Name, "-tcp") {
				return "tcp"
			}
			return "udp"
		},
	}
	return o, CheckOptions{Zone: testZone, Way: o, Roots: ca.Pool(), Now: time.Now}
}

// states gives the state of each finding, and checks that whatever is not well has a mend.
func states(t *testing.T, r *CheckReport) map[string]State {
	t.Helper()
	all := map[string]State{}
	for _, f := range r.Findings {
		if _, twice := all[f.ID]; twice || f.Fact == "" || (f.Fix != "") != (f.State == Failed || f.State == Warning) {
			t.Errorf("%+v", f)
		}
		all[f.ID] = f.State
	}
	return all
}

func TestASoundCanaryIsFoundSo(t *testing.T) {
	o, options := sound(t)
	r, err := Check(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for id, s := range states(t, r) {
		if want := map[bool]State{true: Warning, false: Fine}[id == "dot"]; s != want {
			t.Errorf("%s is %s: %+v", id, s, r.Findings)
		}
	}
	if !r.OK || len(r.Findings) != 10 {
		t.Errorf("%+v", r)
	}
	for _, d := range o.dialled {
		if !strings.HasSuffix(d, testZone+":443") && d != "ns1."+testZone+":853" {
			t.Errorf("%s was dialled", d)
		}
	}
}

func TestEachFaultOfACanaryIsFound(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(o *outside, c *CheckOptions)
		want  map[string]State
	}{
		{"no delegation", func(o *outside, _ *CheckOptions) { o.rcode[testZone] = dnswire.NXDomain }, map[string]State{"delegation": Failed, "glue": Skipped, "names": Skipped, "page": Skipped}},
		{"a lame delegation", func(o *outside, _ *CheckOptions) { o.rcode[testZone] = dnswire.ServFail }, map[string]State{"delegation": Failed}},
		{"no glue", func(o *outside, _ *CheckOptions) { delete(o.records, "ns1."+testZone+" A") }, map[string]State{"delegation": Fine, "glue": Failed}},
		{"no answers", func(o *outside, _ *CheckOptions) { o.rcode["*"] = dnswire.ServFail }, map[string]State{"names": Failed, "page": Skipped, "ipv6": Skipped}},
		{"answers that come late", func(o *outside, _ *CheckOptions) {
			late, asked := o.records["* A"], 0
			delete(o.records, "* A")
			delete(o.records, "* AAAA")
			o.over = func(visit.Query) string {
				if asked++; asked > 2 {
					o.records["* A"] = late
				}
				return "udp"
			}
		}, map[string]State{"names": Failed, "page": Skipped}},
		{"no page", func(o *outside, _ *CheckOptions) { o.at = netip.AddrPort{} }, map[string]State{"page": Failed, "wildcard": Skipped, "udp": Skipped}},
		{"a page that nobody certified", func(_ *outside, c *CheckOptions) { c.Roots = dnstest.NewCA().Pool() }, map[string]State{"page": Failed}},
		{"another program's name server", func(o *outside, _ *CheckOptions) { o.over = func(visit.Query) string { return "" } }, map[string]State{"page": Fine, "udp": Failed, "tcp": Skipped}},
		{"no TCP", func(o *outside, _ *CheckOptions) { o.rcode["*tcp"] = dnswire.ServFail }, map[string]State{"udp": Fine, "tcp": Failed}},
		{"no DS", func(o *outside, _ *CheckOptions) { delete(o.records, testZone+" DS") }, map[string]State{"ds": Warning}},
		{"another key's DS", func(o *outside, _ *CheckOptions) { o.records[testZone+" DS"] = []string{"5" + testDS[1:]} }, map[string]State{"ds": Failed}},
		{"no IPv6", func(o *outside, _ *CheckOptions) { delete(o.records, "* AAAA") }, map[string]State{"ipv6": Warning}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, options := sound(t)
			c.spoil(o, &options)
			r, err := Check(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			got := states(t, r)
			for id, want := range c.want {
				if got[id] != want {
					t.Errorf("%s is %s, and not %s: %+v", id, got[id], want, r.Findings)
				}
			}
			if failed := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.State == Failed }); failed == r.OK {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestACertificateWithoutTheWildcardIsFound(t *testing.T) {
	o, options := sound(t)
	ca := dnstest.NewCA()
	cert := ca.Issue([]string{testZone}, nil)
	o.at, options.Roots = o.site.serves(t, Port{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}), ca.Pool()
	r, err := Check(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.ID == "wildcard" })
	if r.Findings[i].State != Failed || !strings.Contains(r.Findings[i].Fix, "*."+testZone) {
		t.Errorf("%+v", r.Findings[i])
	}
}

func TestWhatIsNoZoneIsNotChecked(t *testing.T) {
	o, options := sound(t)
	for _, zone := range []string{"", "192.0.2.1", "net", "a..b", "https://canary.example.net"} {
		options.Zone = zone
		if _, err := Check(t.Context(), options); err == nil {
			t.Errorf("%q is checked", zone)
		}
	}
	if len(o.asked)+len(o.dialled) > 0 {
		t.Errorf("%v %v", o.asked, o.dialled)
	}
}

func TestWhatAServerWritesCannotSteerATerminal(t *testing.T) {
	o, options := sound(t)
	o.site.version = "1\x1b]0;title\x07\u202e" + strings.Repeat("x", 2*maxText)
	r, err := Check(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if strings.ContainsAny(f.Fact+f.Fix, "\x1b\x07\u202e\n") || len(f.Fact) > maxText || f.ID == "page" && !strings.Contains(f.Fact, "title") {
			t.Errorf("%q", f.Fact)
		}
	}
}
