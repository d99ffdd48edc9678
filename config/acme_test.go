package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestACME_IsReadWithTheNamesOfItsListeners(t *testing.T) {
	dir := doorFiles(t)
	if err := os.WriteFile(filepath.Join(dir, "mac"), []byte("a2tra2tra2tra2tra2tra2s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := loadIn(t, dir, `listen:
  proxy: {address: "0.0.0.0:443", tls: {acme: [proxy.example.net, Other.Example.NET]}, users: users}
  admin: {address: "0.0.0.0:9443", tls: {acme: admin.example.net, client_ca: cert.pem}}
  gateway: {address: "0.0.0.0:9444", tls: {acme: gateway.example.net, client_ca: cert.pem}}
  dns: {address: "quic://0.0.0.0:853", tls: {acme: [proxy.example.net, other.example.net], client_ca: cert.pem}}
gateway: [{path: /openai/, to: "https://api.openai.com/"}]
acme:
  accept_terms: true
  channel: direct
  directory: https://ca.example.net:14000/dir
  ca: cert.pem
  email: admin@example.net
  http: 0.0.0.0:80
  eab: {kid: "one", key: "${file:mac}"}
`)
	if err != nil {
		t.Fatal(err)
	}
	check := func(c *Config) {
		t.Helper()
		if got := fmt.Sprint(c.Listen.Proxy[0].Names, c.Listen.Admin[0].Names, c.Listen.Gateway[0].Names, c.Listen.DNS[0].Names); got != "[proxy.example.net other.example.net] [admin.example.net] [gateway.example.net] [proxy.example.net other.example.net]" {
			t.Error(got)
		}
		if l := c.Listen.Proxy[0]; !l.Speaks() || l.Certificate != nil || c.Listen.Plain() != -1 {
			t.Errorf("%+v", l)
		}
		a := c.ACME
		if a.Directory != "https://ca.example.net:14000/dir" || a.CAs == nil || a.CAFile != filepath.Join(dir, "cert.pem") || a.Channel != "direct" || a.Email != "admin@example.net" ||
			a.HTTP.String() != "0.0.0.0:80" || a.KeyID != "one" || string(a.MAC) != "kkkkkkkkkkkkkkkkk" || !a.AcceptTerms {
			t.Errorf("%+v", a)
		}
	}
	check(c)
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "a2tra2") || strings.Contains(string(shown), "kkkk") {
		t.Fatalf("%v\n%s", err, shown)
	}
	again, err := Parse(filepath.Join(dir, "again.yaml"), shown, ThisHost())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	check(again)
}

func TestACME_AsksLetsEncryptUnlessAnotherIsWritten(t *testing.T) {
	c := good(t, "listen: {proxy: {address: 127.0.0.1:443, tls: {acme: proxy.example.net}}}\nacme: {accept_terms: true, channel: direct}\n")
	if c.ACME.Directory != "https://acme-v02.api.letsencrypt.org/directory" || c.ACME.CAs != nil {
		t.Errorf("%+v", c.ACME)
	}
	if c := good(t, ""); !c.ACME.IsZero() {
		t.Errorf("%+v is asked for nothing", c.ACME)
	}
}

func TestACME_ThatCouldNotWorkIsRefused(t *testing.T) {
	dir := doorFiles(t)
	const listener, section = "listen: {proxy: {address: 127.0.0.1:443, tls: {acme: proxy.example.net}}}\n", "acme: {accept_terms: true, channel: direct}\n"
	proxy := func(tls string) string {
		return "listen: {proxy: {address: 127.0.0.1:443, tls: " + tls + "}}\n" + section
	}
	for text, want := range map[string]string{
		listener + "acme: {channel: direct}\n":                      "terms of service of the authority are not accepted",
		listener + "acme: {accept_terms: false, channel: direct}\n": "terms of service of the authority are not accepted",
		listener + "acme: {accept_terms: true}\n":                   "by which channel",
		listener + "acme: {accept_terms: true, channel: nowhere}\n": "no channel `nowhere`",
		listener:                             "nothing says which authority",
		section:                              "would not be used",
		listener + section + "state: none\n": "keeps no certificate",
		listener + "acme: {accept_terms: true, channel: direct, directory: \"http://ca.example/dir\"}\n":          "no https:// URL",
		listener + "acme: {accept_terms: true, channel: direct, directory: \"https://u:p@ca.example/\"}\n":        "no https:// URL",
		listener + "acme: {accept_terms: true, channel: direct, directory: \"https://ca.example:0/\"}\n":          "no https:// URL",
		listener + "acme: {accept_terms: true, channel: direct, email: nobody}\n":                                 "no address for mail",
		listener + "acme: {accept_terms: true, channel: direct, http: \"127.0.0.1:443\"}\n":                       "taken already",
		listener + "acme: {accept_terms: true, channel: direct, http: \"proxy.example.net:80\"}\n":                "no address to listen on",
		listener + "acme: {accept_terms: true, channel: direct, ca: users}\n":                                     "authorities of the directory",
		listener + "acme: {accept_terms: true, channel: direct, eab: {kid: one}}\n":                               "needs both",
		listener + "acme: {accept_terms: true, channel: direct, eab: {kid: one, key: \"%%\"}}\n":                  "is no key",
		listener + "acme: {accept_terms: true, channel: direct, eab: {kid: one, key: a2tra2tra2tra2tra2tra2s}}\n": "is a secret, and stands in the file",
		proxy("{acme: \"*.example.net\"}"):                               "wildcard",
		proxy("{acme: 192.0.2.1}"):                                       "no name that an authority certifies",
		proxy("{acme: localhost}"):                                       "no name that an authority certifies",
		proxy("{acme: [a.example.net, A.example.net]}"):                  "written twice",
		proxy("{acme: \"a b\"}"):                                         "acme`",
		proxy("{acme: proxy.example.net, cert: cert.pem, key: key.pem}"): "keep one of the two",
		"listen: {dns: {address: \"quic://127.0.0.1:853\", tls: {acme: a.example.net}}}\n" + section: "nobody could answer the authority",
		"listen: {dns: {address: \"tls://127.0.0.1:853\", tls: {acme: a.example.net}}}\n" + section:  "nobody could answer the authority",
		"listen: {dns: {address: \"127.0.0.1:853\", tls: {acme: a.example.net}}}\n" + section:        "would not be used",
	} {
		if _, err := loadIn(t, dir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		"listen: {dns: {address: \"quic://127.0.0.1:853\", tls: {acme: a.example.net}}}\nacme: {accept_terms: true, channel: direct, http: \"127.0.0.1:80\"}\n",
		"listen: {dns: {address: \"tls://127.0.0.1:853\", tls: {acme: a.example.net, client_ca: cert.pem}}}\n" + section,
	} {
		if _, err := loadIn(t, dir, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
