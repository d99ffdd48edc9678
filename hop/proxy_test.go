package hop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"watertight/name"
)

func plain(scheme, host string, port uint16, user, password string) Proxy {
	return Proxy{Scheme: scheme, Host: name.MustHost(host), Port: port, User: user, Password: password}
}

func overTLS(p Proxy) Proxy {
	p.Server.Name = p.Host.String()
	return p
}

func TestAProxyIsReadFromItsURL(t *testing.T) {
	for in, want := range map[string]Proxy{
		"socks5://gw.example:1081":         plain(SchemeSOCKS5, "gw.example", 1081, "", ""),
		"socks5://gw.example":              plain(SchemeSOCKS5, "gw.example", 1080, "", ""),
		"socks5h://gw.example/":            plain(SchemeSOCKS5, "gw.example", 1080, "", ""),
		"SOCKS5://GW.Example.":             plain(SchemeSOCKS5, "gw.example", 1080, "", ""),
		"http://gw.example:3128":           plain(SchemeHTTP, "gw.example", 3128, "", ""),
		"http://192.0.2.1:80/":             plain(SchemeHTTP, "192.0.2.1", 80, "", ""),
		"socks5://[2001:db8::1]":           plain(SchemeSOCKS5, "2001:db8::1", 1080, "", ""),
		"socks5://[2001:db8::1]:9":         plain(SchemeSOCKS5, "2001:db8::1", 9, "", ""),
		"socks5://user:pass@gw.example":    plain(SchemeSOCKS5, "gw.example", 1080, "user", "pass"),
		"socks5://user@gw.example":         plain(SchemeSOCKS5, "gw.example", 1080, "user", ""),
		"socks5://u:a:b@gw.example":        plain(SchemeSOCKS5, "gw.example", 1080, "u", "a:b"),
		"socks5://u%3a1:p%40%2F%25@h.test": plain(SchemeSOCKS5, "h.test", 1080, "u:1", "p@/%"),
		"socks4a://gw.example":             plain(SchemeSOCKS4a, "gw.example", 1080, "", ""),
		"socks4a://jo@[2001:db8::1]:9":     plain(SchemeSOCKS4a, "2001:db8::1", 9, "jo", ""),
		"https://gw.example":               overTLS(plain(SchemeHTTPS, "gw.example", 443, "", "")),
		"https://u:p@192.0.2.1:8443":       overTLS(plain(SchemeHTTPS, "192.0.2.1", 8443, "u", "p")),
		"h2://u:p@gw.example":              overTLS(plain(SchemeH2, "gw.example", 443, "u", "p")),
		"socks5+tls://u:p@gw.example":      overTLS(plain(SchemeSOCKS5TLS, "gw.example", 1080, "u", "p")),
		"socks5s://gw.example:443":         overTLS(plain(SchemeSOCKS5TLS, "gw.example", 443, "", "")),
		"http://u-cc-DE:p+w@gw.example:1":  plain(SchemeHTTP, "gw.example", 1, "u-cc-DE", "p+w"),
	} {
		got, err := ParseProxy(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
}

func TestAProxyThatIsWrongIsRefusedWithoutShowingASecret(t *testing.T) {
	const secret = "hunter2"
	long := strings.Repeat("x", 249) + secret // one octet too many for RFC 1929
	for in, says := range map[string]string{
		"":                                     "scheme is missing",
		"gw.example:1080":                      "scheme is missing",
		"user:hunter2@gw.example:1080":         "scheme is missing",
		"hunter2://gw.example:1080":            "unknown scheme",
		"socks4://gw.example":                  "socks4://: SOCKS 4 has no names",
		"socks4a://u:hunter2@gw.example":       "takes a user and no password",
		"https://a%3Ab:hunter2@h.example":      "no colon",
		"wireguard://gw.example":               "stands under `wireguard`",
		"socks://gw.example":                   "the version of SOCKS is missing",
		"http://gw.example":                    "give the port",
		"http://u:hunter2@gw.example":          "give the port",
		"socks5://":                            "host is empty",
		"socks5://u:hunter2@":                  "host is empty",
		"socks5://u:hunter2@:1080":             "host is empty",
		"socks5://gw.example:":                 "the port is empty",
		"socks5://gw.example:0":                "from 1 to 65535",
		"socks5://gw.example:65536":            "from 1 to 65535",
		"socks5://u:hunter2":                   "from 1 to 65535",
		"socks5://hunter2 x":                   "not a valid host name",
		"socks5://2001:db8::1":                 "brackets",
		"socks5://[fe80::1%25hunter2]:1":       "zone",
		"socks5://[2001:db8::1":                "host",
		"socks5://127.1:1080":                  "not a valid host name",
		"socks5://u:hunter2@gw.example/path":   "nothing may follow the port",
		"socks5://u:hunter2@gw.example?a=b":    "nothing may follow the port",
		"socks5://u:hunter2@gw.example#a":      "nothing may follow the port",
		"socks5://u:hun/ter2hunter2@h.example": "%2F",
		"socks5://u:hunter2@x@h.example":       "%40",
		"socks5://u:%zzhunter2@h.example":      "in the password is not followed by two hexadecimal digits",
		"socks5://%hunter2:p@h.example":        "in the user is not followed by two hexadecimal digits",
		"socks5://:hunter2@h.example":          "the user is empty",
		"socks5://" + long + ":p@h.example":    "at most 255 octets",
		"socks5://u:" + long + "@h.example":    "at most 255 octets",
		"http://a%3Ab:hunter2@h.example:1":     "no colon",
		"socks5://u:hunter2%0d%0a@h.example":   "control character",
		"socks5://u:hunter2%00@h.example":      "control character",
		"socks5://" + strings.Repeat(long, 99): "octets, and at most",
	} {
		_, err := ParseProxy(in)
		if err == nil {
			t.Errorf("%q was read", in)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error tells the secret: %v", in, err)
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q does not say %q", in, err, says)
		}
	}
}

func TestUnsupportedSchemesNameTheSupportedOnes(t *testing.T) {
	for scheme := range unsupported {
		_, err := ParseProxy(scheme + "://gw.example:1")
		if !errors.Is(err, ErrScheme) || !strings.Contains(err.Error(), "socks5://") || !strings.Contains(err.Error(), "http://HOST") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}

func TestAUserWithoutAPasswordIsAKeyAndNotPrinted(t *testing.T) {
	p, err := ParseProxy("socks5://hunter2@gw.example")
	if err != nil || p.String() != "socks5://***@gw.example:1080" {
		t.Errorf("got %s, %v", p, err)
	}
}

func TestNothingPrintsThePassword(t *testing.T) {
	p, err := ParseProxy("socks5://customer-1:hunter2@gw.example")
	if err != nil {
		t.Fatal(err)
	}
	const want = "socks5://customer-1:***@gw.example:1080"
	if p.String() != want {
		t.Errorf("got %s", p)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "proxy", p, "pointer", &p, "in", struct{ P Proxy }{p})
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "proxy", p, "pointer", &p, "in", []Proxy{p})
	encoded, err := json.Marshal(map[string]any{"p": p, "in": []*Proxy{&p}})
	if err != nil {
		t.Fatal(err)
	}
	printed := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		printed += fmt.Sprintf(verb+verb+verb, p, &p, []Proxy{p})
	}
	if strings.Contains(printed, "hunter2") || strings.Contains(printed, fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("the password is in %s", printed)
	}
	if again, err := ParseProxy(strings.Replace(p.String(), "***", "hunter2", 1)); err != nil || !reflect.DeepEqual(again, p) {
		t.Errorf("what is printed reads as %v, %v", again, err)
	}
}

func FuzzParseProxy(f *testing.F) {
	f.Add("socks5://user:pass@gw.example:1080")
	f.Add("http://[2001:db8::1]:3128/")
	f.Add("socks5h://u%40:p%3A@h")
	f.Add("https://x")
	f.Add("socks4a://jo@h")
	f.Add("socks5+tls://h:1")
	f.Add("socks5://u:p@h@h:1")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseProxy(s)
		if err != nil {
			return
		}
		if err := p.validate(); err != nil {
			t.Fatal(err)
		}
		if p.User != "" {
			return // masked, so it does not read the same
		}
		if again, err := ParseProxy(p.String()); err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("%q prints as %s, which reads as %v, %v", s, p, again, err)
		}
	})
}
