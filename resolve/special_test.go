package resolve_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/event"
	"watertight/transport"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab/dnsrig"
	"watertight/lab/dnstest"
	"watertight/resolve"
	"watertight/upstream"
)

func TestSpecialUseNamesAreAnsweredHereAndNobodyIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t)
		r := g.resolver(t, resolve.Options{}, g.Upstream(dot, first))
		for _, c := range []struct{ question, want string }{
			{"localhost A", "NOERROR 127.0.0.1"},
			{"localhost AAAA", "NOERROR ::1"},
			{"LOCALHOST. A", "NOERROR 127.0.0.1"},
			{"app.localhost A", "NOERROR 127.0.0.1"},
			{"localhost HTTPS", "NOERROR"},
			{"invalid A", "NXDOMAIN"},
			{"x.invalid A", "NXDOMAIN"},
			{"x.test A", "NXDOMAIN"},
			{"abc.onion A", "NXDOMAIN"},
			{"printer.local AAAA", "NXDOMAIN"},
			{"x.alt A", "NXDOMAIN"},
			{"nas.home.arpa A", "NXDOMAIN"},
			{"home.arpa A", "NXDOMAIN"},
			{"x.default.service.arpa A", "NXDOMAIN"},
			{"db.internal A", "NXDOMAIN"},
			{"x.lan A", "NXDOMAIN"},
			{"x.corp A", "NXDOMAIN"},
			{"x.home A", "NXDOMAIN"},
			{"x.intranet A", "NXDOMAIN"},
			{"x.private A", "NXDOMAIN"},
			{"x.mail A", "NXDOMAIN"},
			{"host.localdomain A", "NXDOMAIN"},
			{"x.eap-noob.arpa A", "NXDOMAIN"},
			{"x.eap.arpa A", "NXDOMAIN"},
			{"6tisch.arpa A", "NXDOMAIN"},
			{"wpad A", "NXDOMAIN"},
			{"com A", "NXDOMAIN"},
			{"use-application-dns.net A", "NXDOMAIN"},
			{"resolver.arpa SVCB", "NOERROR"},
			{"_dns.resolver.arpa SVCB", "NOERROR"},
			{"ipv4only.arpa A", "NOERROR 192.0.0.170 192.0.0.171"},
			{"ipv4only.arpa AAAA", "NOERROR"},
			{"x.ipv4only.arpa A", "NXDOMAIN"},
			{"170.0.0.192.in-addr.arpa PTR", "NOERROR ipv4only.arpa."},
			{"1.0.0.127.in-addr.arpa PTR", "NXDOMAIN"},
			{"4.3.2.10.in-addr.arpa PTR", "NXDOMAIN"},
			{"10.in-addr.arpa NS", "NXDOMAIN"},
			{"lb._dns-sd._udp.0.1.168.192.in-addr.arpa PTR", "NXDOMAIN"},
			{"printer.d.f.ip6.arpa PTR", "NXDOMAIN"},
			{"1.0.16.172.in-addr.arpa PTR", "NXDOMAIN"},
			{"1.1.168.192.in-addr.arpa PTR", "NXDOMAIN"},
			{"1.0.64.100.in-addr.arpa PTR", "NXDOMAIN"},
			{"1.2.254.169.in-addr.arpa PTR", "NXDOMAIN"},
			{"255.255.255.255.in-addr.arpa PTR", "NXDOMAIN"},
			{dnswire.ReverseName(netip.MustParseAddr("fd00::1")) + " PTR", "NXDOMAIN"},
			{dnswire.ReverseName(netip.MustParseAddr("fe80::1")) + " PTR", "NXDOMAIN"},
			{dnswire.ReverseName(netip.MustParseAddr("::1")) + " PTR", "NXDOMAIN"},
			{"8.e.f.ip6.arpa SOA", "NXDOMAIN"},
		} {
			host, typ, _ := strings.Cut(c.question, " ")
			ty, err := dnswire.ParseType(typ)
			if err != nil {
				t.Fatal(err)
			}
			a, err := r.Exchange(t.Context(), dnswire.Question{Name: host, Type: ty})
			if err != nil {
				t.Errorf("%s: %v", c.question, err)
				continue
			}
			got := []string{dnswire.RCodeText(a.RCode)}
			for _, rec := range a.Records {
				got = append(got, rec.Text())
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s: %s, want %s", c.question, s, c.want)
			}
		}
		if d := g.Net.Dials(); len(d) != 0 {
			t.Errorf("dialled %v", d)
		}
	})
}

func TestNamesThatOnlyLookSpecialAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := one(t, dnstest.RCode(dnswire.NXDomain), resolve.Options{})
		for _, c := range []struct {
			name string
			typ  dnswire.Type
		}{
			{"notlocalhost.example", dnswire.A},
			{"local.example", dnswire.A},
			{"myresolver.arpa", dnswire.A},
			{"xuse-application-dns.net", dnswire.A},
			{"com", dnswire.NS},
			{"", dnswire.NS},
			{"8.8.8.8.in-addr.arpa", dnswire.PTR},
			{"lb._dns-sd._udp.8.8.8.8.in-addr.arpa", dnswire.PTR},
			{"1.0.32.172.in-addr.arpa", dnswire.PTR},
			{"172.in-addr.arpa", dnswire.NS},
			{dnswire.ReverseName(netip.MustParseAddr("2606:4700::1")), dnswire.PTR},
		} {
			r.Exchange(t.Context(), dnswire.Question{Name: c.name, Type: c.typ})
			if s.Count(c.name, c.typ) != 1 {
				t.Errorf("%q %v was not asked", c.name, c.typ)
			}
		}
	})
}

func TestARefusedLocalNameComesWithAHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		for host, hint := range map[string]string{"printer.local": "RFC 6762", "wpad": "full name", "abc.onion": "Tor"} {
			_, err := r.Lookup(t.Context(), host)
			f := dnsrig.WantFault(t, err, fault.DNSNXDomain, host+" is not looked up anywhere")
			if !strings.Contains(f.NextStep(), hint) {
				t.Errorf("%s: hint %q", host, f.NextStep())
			}
		}
	})
}

func TestAnAddressIsItsOwnAnswerAndAMalformedHostIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _, r := one(t, dnsrig.Zone.Handler(), resolve.Options{})
		wantAddrs(t, r, "192.0.2.77", "192.0.2.77")
		wantAddrs(t, r, "2001:db8::77", "2001:db8::77")
		for _, host := range []string{"", "a..b", "exa mple.com", strings.Repeat("a.", 130) + "com", "0x7f.1"} {
			_, err := r.Lookup(t.Context(), host)
			dnsrig.WantFault(t, err, fault.BadRequest, "")
		}
		_, err := r.LookupFamily(t.Context(), "api.shop.example", dnswire.TXT)
		dnsrig.WantFault(t, err, fault.BadRequest, "TXT")
		_, err = r.Exchange(t.Context(), dnswire.Question{Name: strings.Repeat("a.", 130) + "com", Type: dnswire.A})
		dnsrig.WantFault(t, err, fault.BadRequest, "")
		if st := r.Stats().Upstreams[0]; !st.LastOK.IsZero() {
			t.Error("a question that was never sent counts as answered")
		}
		_ = g
	})
}

func TestASpecialUseSuffixIsAskedOnlyWhereTheConfigurationSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := dnstest.Zone{"api.shop.test. 60 A 192.0.2.9", "printer.local. 60 A 192.0.2.10"}
		_, s, r := one(t, z.Handler(), resolve.Options{Forward: []string{"test"}})
		wantAddrs(t, r, "api.shop.test", "192.0.2.9")
		_, err := r.Lookup(t.Context(), "nope.shop.test")
		dnsrig.WantFault(t, err, fault.DNSNXDomain, "nope.shop.test does not exist")
		_, err = r.Lookup(t.Context(), "printer.local")
		dnsrig.WantFault(t, err, fault.DNSNXDomain, "printer.local is not looked up anywhere")
		if n := s.Count("printer.local", dnswire.A); n != 0 {
			t.Errorf("a suffix that was not named was asked for %d times", n)
		}
	})
}

func TestOnlyASpecialUseSuffixCanBeForwardedAndLocalhostNever(t *testing.T) {
	up, err := upstream.Parse("quad9")
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, net.ErrClosed }
	for _, suffix := range []string{"localhost", "example.com", "com", "", "use-application-dns.net", "arpa", "resolver.arpa", "onion", "invalid"} {
		o := resolve.Options{Forward: []string{suffix}, Upstreams: []upstream.Upstream{up}, Sink: event.Discard{}}
		if r, err := resolve.New(o, transport.Way{Dial: dial}); err == nil {
			r.Close()
			t.Errorf("%q may be forwarded", suffix)
		}
	}
}
