package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"watertight/gate"
	"watertight/lab/dnstest"
)

const gatewayText = `
listen:
  gateway:
    - 127.0.0.1:8088
    - {address: "192.0.2.1:8089", hosts: [GW.internal, "gw.internal:80", 192.0.2.9, "::1"], origins: ["https://App.example.com", "http://app.example.com:8443"], allow_insecure: true}
channels:
  residential: {proxy: socks5://192.0.2.1:1080, resolve: exit}
gateway:
  - {path: /openai, to: "https://API.openai.com", channel: residential, user: alice-session-k3-country-US, headers: {authorization: "Bearer ${env:KEY}", X-Team: "blue"}}
  - {path: /a/b/, to: "https://[2001:db8::1]:8443/v1", ca: ca.pem}
  - {hosts: ["*.example.com", 192.0.2.0/24]}
`

func TestGateway_IsReadWithItsEntriesAndItsListeners(t *testing.T) {
	c, err := Parse("watertight.yaml", []byte(gatewayText), testHost(map[string]string{"KEY": "sk-7f3k9"}, map[string]string{"ca.pem": string(dnstest.NewCA().PEM())}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range c.Listen.Gateway {
		got = append(got, fmt.Sprint(l.Address, l.Hosts, l.Origins, l.AllowInsecure))
	}
	for _, g := range c.Gateway {
		got = append(got, fmt.Sprint(g.Path, " ", g.To, g.ToPath, " ", g.Hosts, g.Channel, " ", g.User, g.Headers, g.CAFile, g.CAs != nil))
	}
	want := `127.0.0.1:8088 [] [] false
192.0.2.1:8089 [gw.internal gw.internal:80 192.0.2.9 [::1]] [https://app.example.com http://app.example.com:8443] true
/openai/ api.openai.com:443/ []residential alice-session-k3-country-us [{Authorization Bearer sk-7f3k9} {X-Team blue}]false
/a/b/ [2001:db8::1]:8443/v1/ []  []ca.pemtrue
 :0/ [*.example.com 192.0.2.0/24]  []false`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "whoever reaches 192.0.2.1:8089 can use it") {
		t.Errorf("warnings: %v", c.Warnings)
	}
}

func TestGateway_IsShownWithoutASecret(t *testing.T) {
	text := `
listen: {gateway: {address: 127.0.0.1:8088, hosts: gw.internal}}
gateway:
  - path: /a/
    to: https://a.example/
    headers:
      One: sk-7f3k9
      Two: Bearer ${env:KEY}
      Three: sk-7f3k9${env:KEY}
      Four: ${env:KEY}:sk-7f3k9
      Five: Basic ${env:KEY}${env:KEY}
  - {hosts: .example.com, channel: direct}
`
	host := testHost(map[string]string{"KEY": "env-7f3k9"}, nil)
	c, err := Parse("watertight.yaml", []byte(text), host)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	json, err := c.ShowJSON()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(shown)+string(json), "7f3k9") {
		t.Errorf("a secret is shown:\n%s", shown)
	}
	for _, want := range []string{
		"address: 127.0.0.1:8088", "- gw.internal", "path: /a/", "to: https://a.example/", "One: \"***\"", "Two: \"Bearer ${env:KEY}\"",
		"Three: \"***${env:KEY}\"", "Four: \"${env:KEY}***\"", "Five: \"Basic ${env:KEY}${env:KEY}\"", "- .example.com", "channel: direct",
	} {
		if !strings.Contains(strings.ReplaceAll(string(shown), "'", "\""), want) {
			t.Errorf("nothing says %s:\n%s", want, shown)
		}
	}
	again, err := Parse("watertight.yaml", shown, host)
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	if twice, _ := again.Show(); string(twice) != string(shown) {
		t.Errorf("it is shown as\n%s\nand then as\n%s", shown, twice)
	}
}

func TestGateway_ChannelThatAnEntryNamesIsReached(t *testing.T) {
	good(t, `
listen: {gateway: 127.0.0.1:8088}
channels: {a: {proxy: socks5://192.0.2.1:1080, resolve: exit}}
gateway: [{path: /x/, to: "https://x.example/", channel: a}]
`)
}

func TestGateway_IsReadWithItsCertificateAndItsUsers(t *testing.T) {
	dir := doorFiles(t)
	const entries = "gateway: [{path: /a/, to: \"https://a.example/\"}]\n"
	c, err := loadIn(t, dir, "listen:\n  gateway:\n"+
		"    - {address: 0.0.0.0:9443, tls: {cert: cert.pem, key: key.pem, client_ca: cert.pem}, users: users, token_key: tokens}\n"+
		"    - 127.0.0.1:9053\n"+entries)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	check := func(c *Config) {
		t.Helper()
		g := c.Listen.Gateway
		if len(c.Warnings) > 0 || len(g) != 2 {
			t.Fatalf("%+v, %v", g, c.Warnings)
		}
		if l := g[0]; l.Certificate == nil || l.CertFile != in("cert.pem") || l.KeyFile != in("key.pem") || l.ClientCAs == nil || l.ClientCAFile != in("cert.pem") ||
			l.UsersFile != in("users") || !l.Users.Has("alice") || l.TokenKeyFile != in("tokens") || len(l.tokenKey) != gate.MinKey || l.Base(l.Address) != "https://0.0.0.0:9443" {
			t.Errorf("%+v", l)
		}
		if l := g[1]; l.Speaks() || l.Users != nil || l.Base(l.Address) != "http://127.0.0.1:9053" {
			t.Errorf("%+v", l)
		}
	}
	check(c)
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "argon2id") || strings.Contains(string(shown), "kkkk") {
		t.Fatalf("%v\n%s", err, shown)
	}
	again, err := Parse(in("again.yaml"), shown, ThisHost())
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	check(again)
	for text, sentence := range map[string]string{
		"0.0.0.0:1":                          "use the gateway with the secrets of its entries: it has no TLS and no users",
		"{address: 0.0.0.0:1, users: users}": "passwords of its users would travel in clear",
		"{address: 0.0.0.0:1, tls: {cert: cert.pem, key: key.pem}}": "no users",
		"{address: 127.0.0.1:1, token_key: tokens}":                 "token_key",
		"{address: 127.0.0.1:1, tls: {key: key.pem}}":               "no certificate",
	} {
		if _, err := loadIn(t, dir, "listen:\n  gateway: "+text+"\n"+entries); err == nil || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestGateway_HTTP3IsOffWhereTheWordSaysSo(t *testing.T) {
	for word, off := range map[string]bool{"": false, ", http3: auto": false, ", http3: off": true} {
		c := good(t, "listen: {gateway: 127.0.0.1:8088}\ngateway: [{path: /x/, to: \"https://x.example/\""+word+"}]\n")
		shown, err := c.Show()
		if err != nil || c.Gateway[0].NoHTTP3 != off || strings.Contains(string(shown), "http3") != off {
			t.Errorf("%q: %v %v\n%s", word, c.Gateway[0].NoHTTP3, err, shown)
		}
	}
}
