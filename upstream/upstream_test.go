package upstream_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/upstream"
)

// covered names the test that fails if a field had no effect here; what it does on the wire, package transport tests.
var covered = map[string]func(*testing.T){
	"Spec.URL":            TestUpstreamTextsThatAreGood,
	"Spec.Addresses":      TestWhatASpecSaysIsInTheUpstream,
	"Spec.Pins":           TestWhatASpecSaysIsInTheUpstream,
	"Spec.CA":             TestWhatASpecSaysIsInTheUpstream,
	"Spec.Name":           TestWhatASpecSaysIsInTheUpstream,
	"Spec.Relay":          TestAStampOfDNSCryptIsAnUpstream_BehindARelayWhereThereIsOne,
	"Spec.ECH":            TestTheECHConfigListOfASpecIsInTheUpstream,
	"Upstream.ECH":        TestTheECHConfigListOfASpecIsInTheUpstream,
	"Upstream.Text":       TestUpstreamTextsThatAreGood,
	"Upstream.Kind":       TestUpstreamTextsThatAreGood,
	"Upstream.Host":       TestUpstreamTextsThatAreGood,
	"Upstream.Path":       TestUpstreamTextsThatAreGood,
	"Upstream.GET":        TestATextWithATemplateMeansGET,
	"Upstream.ServerName": TestUpstreamTextsThatAreGood,
	"Upstream.Addrs":      TestUpstreamTextsThatAreGood,
	"Spec.Tunnel":         TestPlainDNSIsAnUpstreamOfATunnelAndOfNothingElse,
	"Spec.Below":          TestAnUpstreamByNameIsLookedUpBelowOnlyWhereTheSpecSaysSo,
	"Upstream.Named":      TestAnUpstreamByNameIsLookedUpBelowOnlyWhereTheSpecSaysSo,
	"Upstream.Pins":       TestWhatASpecSaysIsInTheUpstream,
	"Upstream.CA":         TestEqualSpecsBuildEqualUpstreams,
	"Upstream.Hashes":     TestWhatAStampSaysIsInTheUpstream,
	"Upstream.PublicKey":  TestAStampOfDNSCryptIsAnUpstream_BehindARelayWhereThereIsOne,
	"Upstream.Relay":      TestAStampOfDNSCryptIsAnUpstream_BehindARelayWhereThereIsOne,
	"Upstream.TargetPath": TestATargetOfODoHIsAnUpstreamBehindItsRelay,
	"Upstream.Behind":     TestAStampOfDNSCryptIsAnUpstream_BehindARelayWhereThereIsOne,
}

func TestEveryFieldHasATest(t *testing.T) {
	known := map[string]bool{}
	for _, typ := range []reflect.Type{reflect.TypeFor[upstream.Spec](), reflect.TypeFor[upstream.Upstream]()} {
		for i := range typ.NumField() {
			field := typ.Name() + "." + typ.Field(i).Name
			known[field] = true
			if covered[field] == nil {
				t.Errorf("%s has no test; add it to the table", field)
			}
		}
	}
	for field := range covered {
		if !known[field] {
			t.Errorf("%s is in the table and does not exist", field)
		}
	}
}

func caFile(t *testing.T, ca *dnstest.CA) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func build(t *testing.T, s upstream.Spec) upstream.Upstream {
	t.Helper()
	u, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUpstreamTextsThatAreGood(t *testing.T) {
	for _, c := range []struct {
		text   string
		kind   upstream.Kind
		host   string
		path   string
		name   string
		first  string
		number int
	}{
		{"tls://1.1.1.1", upstream.DoT, "1.1.1.1", "", "1.1.1.1", "1.1.1.1:853", 1},
		{"TLS://1.1.1.1/", upstream.DoT, "1.1.1.1", "", "1.1.1.1", "1.1.1.1:853", 1},
		{"tls://[2606:4700:4700::1111]:8853", upstream.DoT, "[2606:4700:4700::1111]:8853", "", "2606:4700:4700::1111", "[2606:4700:4700::1111]:8853", 1},
		{"https://8.8.8.8", upstream.DoH, "8.8.8.8", "/dns-query", "8.8.8.8", "8.8.8.8:443", 1},
		{"https://[2001:4860:4860::8888]/q", upstream.DoH, "[2001:4860:4860::8888]", "/q", "2001:4860:4860::8888", "[2001:4860:4860::8888]:443", 1},
		{"https://8.8.8.8:8443/dns-query{?dns}", upstream.DoH, "8.8.8.8:8443", "/dns-query", "8.8.8.8", "8.8.8.8:8443", 1},
		{"https://DNS.Quad9.net/dns-query", upstream.DoH, "dns.quad9.net", "/dns-query", "dns.quad9.net", "9.9.9.9:443", 4},
		{"h3://dns.google/", upstream.DoH3, "dns.google", "/", "dns.google", "8.8.8.8:443", 4},
		{"h3://8.8.8.8", upstream.DoH3, "8.8.8.8", "/dns-query", "8.8.8.8", "8.8.8.8:443", 1},
		{"quic://dns.adguard-dns.com", upstream.DoQ, "dns.adguard-dns.com", "", "dns.adguard-dns.com", "94.140.14.14:853", 4},
		{"quic://[2001:db8::1]:8853", upstream.DoQ, "[2001:db8::1]:8853", "", "2001:db8::1", "[2001:db8::1]:8853", 1},
		{"tls://dns.google", upstream.DoT, "dns.google", "", "dns.google", "8.8.8.8:853", 4},
		{"quad9", upstream.DoH, "dns.quad9.net", "/dns-query", "dns.quad9.net", "9.9.9.9:443", 4},
		{"dns.sb", upstream.DoT, "dot.sb", "", "dot.sb", "185.222.222.222:853", 4},
	} {
		u, err := upstream.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if u.Text != c.text || u.Kind != c.kind || u.Host != c.host || u.Path != c.path || u.ServerName != c.name ||
			u.Addrs[0].String() != c.first || len(u.Addrs) != c.number {
			t.Errorf("%s: %+v", c.text, u)
		}
	}
}

func TestATextWithATemplateMeansGET(t *testing.T) {
	for text, want := range map[string]bool{
		"https://8.8.8.8/q{?dns}": true, "h3://8.8.8.8/q{?dns}": true, "https://8.8.8.8/q": false, "tls://8.8.8.8": false,
	} {
		if u := build(t, upstream.Spec{URL: text}); u.GET != want || u.Path != "/q" && u.Path != "" {
			t.Errorf("%s: GET %v, path %s", text, u.GET, u.Path)
		}
	}
}

func TestUpstreamTextsThatAreRefusedWithTheReasonAndTheMend(t *testing.T) {
	for text, want := range map[string]string{
		"1.1.1.1":                      "1.1.1.1 is plain DNS, names would travel in clear text; write tls://1.1.1.1",
		"1.1.1.1:53":                   "write tls://1.1.1.1",
		"2606:4700:4700::1111":         "write tls://[2606:4700:4700::1111]",
		"udp://9.9.9.9":                "udp://9.9.9.9 is plain DNS, names would travel in clear text; write tls://9.9.9.9",
		"tcp://9.9.9.9:53":             "write tls://9.9.9.9",
		"udp://[2620:fe::fe]:53":       "write tls://[2620:fe::fe]",
		"http://9.9.9.9/dns-query":     "write https://9.9.9.9/dns-query",
		"dns.example.net":              "write https://dns.example.net/dns-query or tls://dns.example.net",
		"quad8":                        `the nearest is "quad9"`,
		"nonsense":                     "there is no preset",
		"quic://dns.adguard-dns.com/x": "DNS over QUIC has no path",
		"tls://9.9.9.9{?dns}":          "not a URL that can be read",
		"sdns://AgcAAAA":               "not a DNS stamp that can be used",
		"dnscrypt://9.9.9.9":           "DNSCrypt has no URL; write its stamp, sdns://…",
		"ftp://x":                      "no scheme of an upstream",
		"":                             "empty",
		"tls://0.0.0.0":                "no server has the address 0.0.0.0; write the resolver's own",
		"https://[::]/dns-query":       "no server has the address ::",
		"tls://[::ffff:0.0.0.0]":       "no server has the address",
		"quic://224.0.0.251":           "no server has the address 224.0.0.251",
		"tls://255.255.255.255":        "no server has the address 255.255.255.255",
		"tls://9.9.9.9:53":             "port 53",
		"tls://9.9.9.9:0":              "port",
		"tls://9.9.9.9:":               "port",
		"tls://9.9.9.9/dns-query":      "no path",
		"https://u:secret@dns.google/": "no user and password",
		"udp://u:secret@9.9.9.9":       "no user and password",
		"http://u:secret@9.9.9.9/":     "no user and password",
		"u:secret@9.9.9.9":             "no user and password",
		"https://dns.google/?dns=x":    "no query",
		"https://":                     "host",
		"tls://[fe80::1%25eth0]":       "zone",
		"tls://0x7f.1":                 "number",
		"tls://dns.example.net":        "addresses: dns.example.net is a name, and looking it up would need another resolver",
		strings.Repeat("x", 3000):      "octets",
	} {
		_, err := upstream.Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v; want %q", text, err, want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q shows the password", err)
		}
		var spec *upstream.SpecError
		if !errors.As(err, &spec) {
			t.Errorf("%.60q: not a SpecError", text)
		}
	}
	if _, err := upstream.Parse("udp://9.9.9.9"); !errors.Is(err, upstream.ErrPlain) {
		t.Errorf("%v is not ErrPlain", err)
	}
	_, err := upstream.Parse("tls://dns.example.net")
	for _, mend := range []string{"`addresses: {dns.example.net: [IP]}`", "--resolver", "quad9"} {
		if !strings.Contains(err.Error(), mend) {
			t.Errorf("%v does not offer %s", err, mend)
		}
	}
}

func TestEveryWrongFieldOfASpecIsReportedInOneRun(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := upstream.Spec{
		URL:       "tls://dns.example.net",
		Addresses: []string{"192.0.2.1", "x", "fe80::1%eth0", "::", "ff02::1"},
		Pins:      []string{dnstest.NewCA().Pin(), "c2hvcnQ="},
		CA:        empty,
		Name:      "a..b",
	}.Build()
	var got []string
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var s *upstream.SpecError
		if !errors.As(e, &s) {
			t.Fatalf("%v is not a SpecError", e)
		}
		got = append(got, s.Field+" "+string(rune('0'+s.Index)))
	}
	want := []string{"addresses 1", "addresses 2", "addresses 3", "addresses 4", "pins 1", "ca 0", "name 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestASpecWithALiteralHostTakesNoAddresses(t *testing.T) {
	_, err := upstream.Spec{URL: "tls://192.0.2.1", Addresses: []string{"192.0.2.2"}}.Build()
	if err == nil || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
}

func TestASpecTellsWhetherItsHostNeedsAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"tls://dns.example.net": "dns.example.net", "https://DNS.example.net:8443/q": "dns.example.net",
		"tls://192.0.2.1": "", "quad9": "", "tls://dns.google": "", "nonsense": "",
	} {
		got, ok := upstream.Spec{URL: url}.Host()
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", url, got, ok)
		}
	}
}

func TestWhatASpecSaysIsInTheUpstream(t *testing.T) {
	ca := dnstest.NewCA()
	pin := sha256.Sum256([]byte("a key"))
	u := build(t, upstream.Spec{
		URL: "https://dns.provider.example:8443/q", Addresses: []string{"198.18.0.1", "2001:db8::1"},
		Pins: []string{base64.StdEncoding.EncodeToString(pin[:])}, CA: caFile(t, ca), Name: "Other.example",
	})
	addrs := []netip.AddrPort{netip.MustParseAddrPort("198.18.0.1:8443"), netip.MustParseAddrPort("[2001:db8::1]:8443")}
	if !slices.Equal(u.Addrs, addrs) || !slices.Equal(u.Pins, [][32]byte{pin}) || u.ServerName != "other.example" ||
		u.Host != "dns.provider.example:8443" {
		t.Errorf("%+v", u)
	}
	if roots, err := u.Roots(); err != nil || !roots.Equal(ca.Pool()) {
		t.Errorf("other authorities than those of the file are trusted: %v", err)
	}
	u.CA = [][]byte{{1}}
	if _, err := u.Roots(); err == nil {
		t.Error("a certificate that cannot be read is passed over")
	}
}

func TestAnUpstreamThatNobodyBuiltIsNotValid(t *testing.T) {
	good := build(t, upstream.Spec{URL: "quad9"})
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*upstream.Upstream){
		"nothing":      func(u *upstream.Upstream) { *u = upstream.Upstream{} },
		"no addresses": func(u *upstream.Upstream) { u.Addrs = nil },
		"no host":      func(u *upstream.Upstream) { u.Host = "" },
		"no kind":      func(u *upstream.Upstream) { u.Kind = "" },
	} {
		u := good
		change(&u)
		if u.Validate() == nil {
			t.Errorf("%s is valid", what)
		}
	}
}

func TestEqualSpecsBuildEqualUpstreams(t *testing.T) {
	ca := dnstest.NewCA()
	s := upstream.Spec{
		URL: "tls://dns.provider.example", Addresses: []string{"198.18.0.1"},
		Pins: []string{ca.Pin()}, CA: caFile(t, ca),
	}
	if a, b := build(t, s), build(t, s); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v and %+v differ", a, b)
	}
	other := s
	other.CA = caFile(t, dnstest.NewCA())
	if reflect.DeepEqual(build(t, s), build(t, other)) {
		t.Error("another authority makes no difference")
	}
}

func TestPublicResolversThatAreNoPresetsAreKnownToo(t *testing.T) {
	hosts, _ := upstream.KnownResolvers()
	for i, h := range hosts {
		if parsed, err := name.ParseHost(h); err != nil || parsed.String() != h || slices.Contains(hosts[:i], h) {
			t.Errorf("%q is not a canonical name that stands once: %v", h, err)
		}
	}
	for _, h := range []string{"dns.nextdns.io", "doh.opendns.com", "freedns.controld.com", "doh.dns.sb", "dns11.quad9.net"} {
		if !slices.Contains(hosts, h) {
			t.Errorf("%s is not known", h)
		}
	}
}

func TestEveryPresetBuildsAndIsComplete(t *testing.T) {
	list := upstream.Presets()
	if !slices.IsSortedFunc(list, func(a, b upstream.Preset) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("presets are not in alphabetical order")
	}
	hosts, addrs := upstream.KnownResolvers()
	for _, p := range list {
		u, err := upstream.Parse(p.Name)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		four, six := 0, 0
		for _, a := range u.Addrs {
			if a.Addr().Is4() {
				four++
			} else {
				six++
			}
		}
		if four == 0 || six == 0 || p.What == "" || !strings.HasPrefix(p.Docs, "https://") || p.DoT == "" {
			t.Errorf("%s is not complete: %+v", p.Name, p)
		}
		if _, err := upstream.Parse("tls://" + p.DoT); err != nil {
			t.Errorf("%s: %v", p.DoT, err)
		}
		if !slices.Contains(hosts, u.ServerName) || !slices.Contains(addrs, u.Addrs[0].Addr()) {
			t.Errorf("%s is not among the known resolvers", p.Name)
		}
	}
	other := netip.MustParseAddr("198.18.0.1")
	list[0].Addrs[0] = other
	if upstream.Presets()[0].Addrs[0] == other {
		t.Error("a caller can change the presets")
	}
}

func TestAnUpstreamByNameIsLookedUpBelowOnlyWhereTheSpecSaysSo(t *testing.T) {
	for _, url := range []string{"tls://dns.example.net:8853", "https://dns.example.net/dns-query", "quic://dns.example.net", "h3://dns.example.net"} {
		if u, err := (upstream.Spec{URL: url}).Build(); err == nil {
			t.Errorf("%s became %+v", url, u)
		}
		u := build(t, upstream.Spec{URL: url, Below: true})
		if host := u.Named.Host().String(); host != "dns.example.net" || len(u.Addrs) > 0 || u.ServerName != host || u.Validate() != nil {
			t.Errorf("%s: %+v", url, u)
		}
	}
	if u := build(t, upstream.Spec{URL: "tls://dns.example.net:8853", Below: true}); u.Named.Port() != 8853 {
		t.Errorf("%v", u.Named)
	}
	for _, s := range []upstream.Spec{
		{URL: "quad9", Below: true}, {URL: "tls://192.0.2.1", Below: true}, {URL: "tls://dns.example.net", Addresses: []string{"192.0.2.1"}, Below: true},
	} {
		if u := build(t, s); u.Named.IsValid() || len(u.Addrs) == 0 {
			t.Errorf("%+v is looked up though its address is known: %+v", s, u)
		}
	}
}

func FuzzSpec(f *testing.F) {
	for _, s := range []string{"quad9", "tls://1.1.1.1", "https://dns.google/dns-query{?dns}", "https://[::1]:8443/a%2fb", "udp://x", "tls://a@b", "sdns://AA", "sdns://AgcAAAAAAAAABzEuMC4wLjEAEmRucy5jbG91ZGZsYXJlLmNvbQovZG5zLXF1ZXJ5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := upstream.Parse(s)
		if err != nil {
			return
		}
		if len(u.Addrs) == 0 || u.ServerName == "" || !slices.Contains(upstream.Kinds(), u.Kind) {
			t.Errorf("%q gives %+v", s, u)
		}
		for _, a := range u.Addrs {
			if !a.IsValid() || a.Port() == 0 || a.Port() == 53 {
				t.Errorf("%q would be dialled at %v", s, a)
			}
		}
	})
}
