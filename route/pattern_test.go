package route

import (
	"errors"
	"net/netip"
	"testing"

	"watertight/name"
)

func mustPattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternsMatchWhatTheClientWrote(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"*", "example.com", true},
		{"*", "192.0.2.1", true},
		{"example.com", "example.com", true},
		{"Example.COM.", "example.com", true},
		{"example.com", "a.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "notexample.com", false},
		{".example.com", "example.com", true},
		{".example.com", "a.example.com", true},
		{".example.com", "notexample.com", false},
		{"10.0.0.0/8", "10.1.2.3", true},
		{"10.0.0.0/8", "11.1.2.3", false},
		{"10.0.0.0/8", "ten.example.com", false},
		{"10.0.0.0/8", "2001:db8::1", false},
		{"2001:db8::/32", "2001:db8::1", true},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"[2001:db8::1]", "2001:db8::1", true},
	} {
		if got := mustPattern(t, c.pattern).Match(name.MustHost(c.host)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.host, got)
		}
	}
}

func TestWhatIsNoPatternIsRefused(t *testing.T) {
	for _, s := range []string{
		"", ".", "*.", "a.*.example.com", "*example.com", "api*.example.com", "example.com:443",
		"10.0.0.1/8", "10.0.0.0/33", "*.10.0.0.1", "::ffff:10.0.0.0/104", "user@example.com", "exa mple.com", "~regex$",
	} {
		if p, err := ParsePattern(s); !errors.Is(err, ErrPattern) {
			t.Errorf("ParsePattern(%q) = %v, %v", s, p, err)
		}
	}
}

func TestCoversFindsRulesThatCanNeverMatch(t *testing.T) {
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"*", "example.com", true},
		{"*", "10.0.0.0/8", true},
		{"example.com", "*", false},
		{".example.com", "*.example.com", true},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "*.a.example.com", true},
		{"example.com", "a.example.com", false},
		{"10.0.0.0/8", "10.1.0.0/16", true},
		{"10.1.0.0/16", "10.0.0.0/8", false},
		{"10.0.0.0/8", "example.com", false},
	} {
		if got := mustPattern(t, c.p).Covers(mustPattern(t, c.q)); got != c.want {
			t.Errorf("%q covers %q: %v", c.p, c.q, got)
		}
	}
}

func TestAddressesBeyondThePublicInternetAreKnown(t *testing.T) {
	for a, want := range map[string]bool{
		"1.1.1.1": false, "8.8.8.8": false, "2606:4700::1111": false, "172.32.0.1": false, "100.128.0.1": false,
		"127.0.0.1": true, "10.0.0.1": true, "172.16.0.1": true, "192.168.1.1": true, "169.254.169.254": true,
		"100.64.0.1": true, "0.0.0.0": true, "224.0.0.1": true, "255.255.255.255": true, "198.18.0.1": true,
		"::1": true, "::": true, "fe80::1": true, "fd00::1": true, "ff02::1": true, "2001:db8::1": true,
		"::ffff:127.0.0.1": true, "::127.0.0.1": true,
		"64:ff9b::7f00:1": true, "64:ff9b::808:808": false,
		"2002:7f00:1::": true, "2002:808:808::": false,
		"64:ff9b::a00:1": true, "64:ff9b:1::808:808": true, "::ffff:0:7f00:1": true, "::ffff:0:808:808": true,
		"2001:0:4136:e378:8000:63bf:3fff:fdd2": true, "2001:20::1": true, "3fff::1": true, "5f00::1": true, "100::1": true,
		"100:0:0:1::1": true, "4000::1": true, "fe00::1": true, "1::1": true, "fec0::1": true, "2620:fe::fe": false,
		"192.0.0.170": true, "192.88.99.1": true, "203.0.113.1": true, "240.0.0.1": true,
	} {
		if got := special(netip.MustParseAddr(a)) != ""; got != want {
			t.Errorf("%s is special: %v", a, got)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"*", "*.example.com", ".x", "10.0.0.0/8", "[::1]", "a.*.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if p.String() != s || !p.Covers(p) {
			t.Fatalf("%q became %q, covering itself: %v", s, p.String(), p.Covers(p))
		}
	})
}
