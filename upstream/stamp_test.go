package upstream_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"watertight/name"
	"watertight/stamp"
	"watertight/upstream"
)

// encoded writes a stamp.
func encoded(t *testing.T, s stamp.Stamp) string {
	t.Helper()
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func target(t *testing.T, s string) name.Target {
	t.Helper()
	n, err := name.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAStampIsAnUpstreamWithAllThatItSays(t *testing.T) {
	hash := [32]byte{1, 2, 3}
	at := netip.MustParseAddrPort("192.0.2.53:8443")
	host := target(t, "dns.example.net:8443")
	for kind, want := range map[stamp.Kind]upstream.Kind{stamp.DoH: upstream.DoH, stamp.DoT: upstream.DoT, stamp.DoQ: upstream.DoQ} {
		s := stamp.Stamp{Kind: kind, Addr: at, Host: host, Hashes: [][32]byte{hash}}
		if kind == stamp.DoH {
			s.Path = "/ask"
		}
		text := encoded(t, s)
		u, err := upstream.Parse(text)
		if err != nil {
			t.Fatalf("%v: %v", kind, err)
		}
		if u.Text != text || u.Kind != want || u.Host != "dns.example.net:8443" || u.Path != s.Path || u.ServerName != "dns.example.net" ||
			len(u.Addrs) != 1 || u.Addrs[0] != at || len(u.Hashes) != 1 || u.Hashes[0] != hash || u.Validate() != nil {
			t.Errorf("%v: %+v", kind, u)
		}
	}
}

func TestAStampWithoutAnAddressNeedsOne_AndItsBootstrapsAreNotAsked(t *testing.T) {
	text := encoded(t, stamp.Stamp{
		Kind: stamp.DoT, Host: target(t, "dns.example.net:853"), Bootstraps: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.99:53")},
	})
	if _, err := upstream.Parse(text); err == nil || !strings.Contains(err.Error(), "addresses: dns.example.net is a name") {
		t.Errorf("it gave %v", err)
	}
	if host, ok := (upstream.Spec{URL: text}).Host(); !ok || host != "dns.example.net" {
		t.Errorf("it needs the addresses of %q", host)
	}
	u, err := upstream.Spec{URL: text, Addresses: []string{"192.0.2.53"}}.Build()
	if err != nil || len(u.Addrs) != 1 || u.Addrs[0].String() != "192.0.2.53:853" {
		t.Errorf("%+v, %v", u, err)
	}
	known := encoded(t, stamp.Stamp{Kind: stamp.DoH, Host: target(t, "dns.google:443"), Path: "/dns-query"})
	if u, err := upstream.Parse(known); err != nil || u.Addrs[0].String() != "8.8.8.8:443" {
		t.Errorf("a host that a preset knows: %+v, %v", u, err)
	}
}

func TestStampsThatCannotBeHonouredAreRefused(t *testing.T) {
	at, host := netip.MustParseAddrPort("192.0.2.53:443"), target(t, "dns.example.net:443")
	whole := encoded(t, stamp.Stamp{Kind: stamp.DoH, Addr: at, Host: host, Path: "/q"})
	for what, c := range map[string]struct {
		spec upstream.Spec
		want string
	}{
		"plain":     {upstream.Spec{URL: encoded(t, stamp.Stamp{Kind: stamp.Plain, Addr: netip.MustParseAddrPort("192.0.2.53:53")})}, "write tls://192.0.2.53"},
		"relay":     {upstream.Spec{URL: encoded(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: at})}, "relay"},
		"dnscrypt":  {upstream.Spec{URL: encoded(t, stamp.Stamp{Kind: stamp.DNSCrypt, Addr: at, Provider: "2.dnscrypt-cert.example.net"})}, "not carried yet"},
		"garbage":   {upstream.Spec{URL: "sdns://AAAA"}, "stamp"},
		"port 53":   {upstream.Spec{URL: encoded(t, stamp.Stamp{Kind: stamp.DoT, Addr: netip.MustParseAddrPort("192.0.2.53:53"), Host: target(t, "dns.example.net:53")})}, "port 53"},
		"name":      {upstream.Spec{URL: whole, Name: "other.example"}, "leave `name` out"},
		"addresses": {upstream.Spec{URL: whole, Addresses: []string{"192.0.2.1"}}, "leave `addresses` out"},
	} {
		_, err := c.spec.Build()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", what, err, c.want)
		}
		if what == "plain" && !errors.Is(err, upstream.ErrPlain) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
