package name

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

func TestHostsHaveOneCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		"example.com":             "example.com",
		"EXAMPLE.Com":             "example.com",
		"example.com.":            "example.com",
		"_dmarc.Example.com":      "_dmarc.example.com",
		"münchen.example":         "xn--mnchen-3ya.example",
		"xn--mnchen-3ya.example":  "xn--mnchen-3ya.example",
		"a--b.example":            "a--b.example",
		"192.0.2.1":               "192.0.2.1",
		"2001:DB8::1":             "2001:db8::1",
		"[2001:db8:0:0:0:0:0:1]":  "2001:db8::1",
		"::ffff:127.0.0.1":        "127.0.0.1",
		"localhost":               "localhost",
		"1password.example":       "1password.example",
		strings.Repeat("a", 63):   strings.Repeat("a", 63),
		longName(253):             longName(253),
		longName(253) + ".":       longName(253),
		"ＥＸＡＭＰＬＥ。com":             "example.com",
		"3com.example":            "3com.example",
		"0xcafe.example":          "0xcafe.example",
		"xn--80ak6aa92e.com":      "xn--80ak6aa92e.com",
		"under_score.example.com": "under_score.example.com",
	} {
		h, err := ParseHost(in)
		if err != nil {
			t.Errorf("ParseHost(%q): %v", in, err)
		} else if h.String() != want {
			t.Errorf("ParseHost(%q) = %q, want %q", in, h, want)
		}
	}
}

func TestMalformedHostsAreRefusedWithTheirReason(t *testing.T) {
	for in, want := range map[string]error{
		"":                        ErrEmpty,
		".":                       ErrEmpty,
		"..":                      ErrName,
		"a..b":                    ErrName,
		".example.com":            ErrName,
		"example.com..":           ErrName,
		strings.Repeat("a", 64):   ErrName,
		longName(254):             ErrName,
		strings.Repeat("a", 5000): ErrName,
		"exa mple.com":            ErrName,
		"example.com\r\nX: y":     ErrName,
		"exam\x00ple.com":         ErrName,
		"user@example.com":        ErrUserinfo,
		"fe80::1%eth0":            ErrZone,
		"[fe80::1%eth0]":          ErrZone,
		"[example.com]":           ErrName,
		"[192.0.2.1]":             ErrName,
		"[::1":                    ErrName,
		"[":                       ErrName,
		"127.1":                   ErrName,
		"2130706433":              ErrName,
		"0x7f.1":                  ErrName,
		"0x7f000001":              ErrName,
		"0177.0.0.1":              ErrName,
		"1.2.3.4.5":               ErrName,
		"example.com/path":        ErrName,
		"*.example.com":           ErrName,
		"example.com:80":          ErrName,
		"exa%6dple.com":           ErrName,
		"\xff\xfe.example":        ErrName,
	} {
		if h, err := ParseHost(in); !errors.Is(err, want) {
			t.Errorf("ParseHost(%.40q) = %v, %v; want the error %q", in, h, err, want)
		}
	}
}

func TestTargetsNeedAHostAndAPort(t *testing.T) {
	for in, want := range map[string]string{
		"example.com:443":     "example.com:443",
		"EXAMPLE.com.:1":      "example.com:1",
		"[2001:db8::1]:65535": "[2001:db8::1]:65535",
		"192.0.2.1:8080":      "192.0.2.1:8080",
	} {
		got, err := Parse(in)
		if err != nil || got.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"example.com":       ErrPort,
		"example.com:":      ErrPort,
		"example.com:0":     ErrPort,
		"example.com:65536": ErrPort,
		"example.com:080":   ErrPort,
		"example.com:+80":   ErrPort,
		"example.com:-1":    ErrPort,
		"example.com:http":  ErrPort,
		":443":              ErrEmpty,
		"2001:db8::1:443":   ErrName,
		"u:p@example.com:1": ErrUserinfo,
		"[fe80::1%25x]:443": ErrZone,
	} {
		if got, err := Parse(in); !errors.Is(err, want) {
			t.Errorf("Parse(%q) = %v, %v; want the error %q", in, got, err, want)
		}
	}
}

func TestATargetHasASocketAddressOnlyIfItIsOne(t *testing.T) {
	if ap, ok := Must("192.0.2.1:80").AddrPort(); !ok || ap != netip.MustParseAddrPort("192.0.2.1:80") {
		t.Errorf("the address has no socket address: %v %v", ap, ok)
	}
	if ap, ok := Must("example.com:80").AddrPort(); ok {
		t.Errorf("a name has the socket address %v", ap)
	}
	if (Target{}).IsValid() || (Host{}).IsValid() {
		t.Error("a zero value is valid")
	}
}

func TestUnderKeepsToLabels(t *testing.T) {
	h := MustHost("api.example.com")
	for suffix, want := range map[string]bool{
		"api.example.com": true, "example.com": true, "com": true,
		"i.example.com": false, "ple.com": false, "x.api.example.com": false,
	} {
		if h.Under(suffix) != want {
			t.Errorf("Under(%q) = %v", suffix, !want)
		}
	}
	if MustHost("192.0.2.1").Under("1") {
		t.Error("an address is below a name")
	}
}

func TestLogsDoNotShowATargetUnlessRevealed(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("x", "target", Must("secret.example:443"), "host", MustHost("secret.example"))
	if strings.Contains(out.String(), "secret") {
		t.Errorf("the log shows the name: %s", &out)
	}
	log.Info("x", "target", Reveal(Must("secret.example:443")))
	if !strings.Contains(out.String(), "secret.example:443") {
		t.Errorf("the log hides a revealed name: %s", &out)
	}
}

func longName(n int) string {
	var b strings.Builder
	for b.Len()+50 < n {
		b.WriteString(strings.Repeat("a", 49) + ".")
	}
	b.WriteString(strings.Repeat("b", n-b.Len()))
	return b.String()
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"example.com", "[::1]", "0x7f.1", "münchen.example", "a..b", "fe80::1%eth0", "1.2.3.4", "。", "xn--a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Fatalf("%q became %q, which became %q, %v", s, h, again, err)
		}
		if n, ok := h.Name(); ok {
			if len(n) > MaxName || strings.ToLower(n) != n || strings.ContainsAny(n, " \r\n\x00:/@%") {
				t.Fatalf("%q became the name %q", s, n)
			}
			if _, err := netip.ParseAddr(n); err == nil {
				t.Fatalf("%q became a name that is an address: %q", s, n)
			}
		}
	})
}

func ExampleParse() {
	t, _ := Parse("API.Example.com.:443")
	fmt.Println(t)
	// Output: api.example.com:443
}
