package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const aPin = "GTnw8fBJ3tqu5rCvpJrP10NF/1HYAW4wSSUBvpIFMXo="

// provedBy writes a configuration with one proxy, beside the files of keyPair.
func provedBy(t *testing.T, proxy string) string {
	t.Helper()
	dir := t.TempDir()
	keyPair(t, dir)
	file := filepath.Join(dir, "watertight.yaml")
	text := "channels:\n  office:\n    proxy: " + proxy + "\n    resolve: exit\nroutes: [{to: \"*\", channel: office}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestProxy_OverTLSIsReadWithWhomItHasToProveToBe(t *testing.T) {
	file := provedBy(t, `{url: "https://jo:hunter2@gw.example", ca: cert.pem, pins: ["`+aPin+`"], name: other.example, cert: cert.pem, key: key.pem}`)
	c, err := Load(file, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	office, _ := c.Channel("office")
	if len(office.Proxies) != 1 {
		t.Fatal(office.Proxies)
	}
	p := office.Proxies[0]
	if s := p.Server; s.Name != "other.example" || len(s.Pins) != 1 || len(s.CA) != 1 || len(s.Cert) != 1 || len(s.Key) == 0 || p.Port != 443 || p.Password != "hunter2" {
		t.Errorf("%v has to prove %q, %d pins, %d authorities, and is shown %d certificates", p, s.Name, len(s.Pins), len(s.CA), len(s.Cert))
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(shown), "url: \"https://jo:***@gw.example:443\"\n        ca: cert.pem\n        pins:\n          - "+aPin+"\n        name: other.example\n        cert: cert.pem\n        key: key.pem\n") ||
		strings.Contains(string(shown), "hunter2") {
		t.Errorf("%s", shown)
	}
	again, err := Load(file, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := again.Channel("office"); !reflect.DeepEqual(same.Proxies, office.Proxies) {
		t.Error("the same file gives another proxy, and a reload would open the channel anew")
	}
}

func TestProxy_AsAMapWithoutMoreIsTheSameAsItsURL(t *testing.T) {
	for _, url := range []string{"socks5://gw.example:1080", "https://u:p@gw.example", "socks5+tls://gw.example:1", "socks4a://jo@gw.example", "http://gw.example:3128"} {
		var read [2]Channel
		for i, form := range []string{`"` + url + `"`, `{url: "` + url + `"}`} {
			c := good(t, "channels: {a: {proxy: "+form+", resolve: exit}}\nroutes: [{to: \"*\", channel: a}]")
			read[i], _ = c.Channel("a")
		}
		if !reflect.DeepEqual(read[0].Proxies, read[1].Proxies) || len(read[0].Proxies) != 1 {
			t.Errorf("%s: %v and %v", url, read[0].Proxies, read[1].Proxies)
		}
	}
}

func TestProxy_WithAnOptionThatCannotBeHonouredIsRefused(t *testing.T) {
	for form, says := range map[string]string{
		`{url: "http://gw.example:1", pins: ["` + aPin + `"]}`:       "http:// has no TLS, and `pins` would not be honoured",
		`{url: "socks5://gw.example", ca: cert.pem}`:                 "socks5:// has no TLS, and `ca` would not be honoured",
		`{url: "socks4a://gw.example", name: a.example}`:             "socks4a:// has no TLS, and `name` would not be honoured",
		`{url: "socks5://gw.example", cert: cert.pem, key: key.pem}`: "socks5:// has no TLS, and `cert` would not be honoured",
		`{url: "https://gw.example", pins: [short]}`:                 "44 characters",
		`{url: "https://gw.example", ca: none.pem}`:                  "the file none.pem of `ca` cannot be read: it does not exist",
		`{url: "https://gw.example", ca: key.pem}`:                   "holds no certificate in PEM form",
		`{url: "https://gw.example", name: "a b"}`:                   "`name` of a proxy",
		`{url: "https://gw.example", cert: cert.pem}`:                "a certificate without its key",
		`{url: "https://gw.example", key: key.pem}`:                  "a key without its certificate",
		`{url: "https://gw.example", cert: key.pem, key: key.pem}`:   "are no certificate with its key",
		`{ca: cert.pem}`:                                        "has no `url`",
		`{url: "https://gw.example", pin: x}`:                   "did you mean `pin",
		`{url: "socks4a://jo:hunter2@gw.example"}`:              "takes a user and no password",
		`["socks4a://gw.example", "http://[2001:db8::1]:3128"]`: "cannot be asked for the next one, http://[2001:db8::1]:3128",
	} {
		_, err := Load(provedBy(t, form), Overrides{})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestProxy_WithoutIPv6RefusesAResolverOfIPv6Alone(t *testing.T) {
	for form, refused := range map[string]bool{
		"\"tls://[2001:db8::53]\"": true,
		"tls://192.0.2.53":         false,
		"quad9":                    false, // it has both
		"{url: tls://dns.example.net, addresses: [\"2001:db8::53\"]}":                 true,
		"{url: tls://dns.example.net, addresses: [\"2001:db8::53\", \"192.0.2.53\"]}": false,
	} {
		_, err := Parse("watertight.yaml", []byte("channels: {a: {proxy: \"socks4a://192.0.2.1\", resolver: {upstreams: ["+form+"]}}}\nroutes: [{to: \"*\", channel: a}]"), testHost(nil, nil))
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "IPv6 addresses only") {
			t.Errorf("%s: %v", form, err)
		}
	}
}

func TestProxy_AsAMapShowsItsReferencesAsTheyAreWritten(t *testing.T) {
	const url = `https://user:${env:WATERTIGHT_TEST_PASSWORD}@gw.example:443`
	host := testHost(map[string]string{"WATERTIGHT_TEST_PASSWORD": "correct horse", "NAME": "front.example"}, nil)
	for _, form := range []string{`{url: "` + url + `", name: "${env:NAME}"}`, `[{url: "` + url + `", name: "${env:NAME}"}]`} {
		c, err := Parse("watertight.yaml", []byte("channels: {a: {proxy: "+form+", resolve: exit}}\nroutes: [{to: \"*\", channel: a}]"), host)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := c.Channel("a")
		if p := a.Proxies[0]; p.Password != "correct horse" || p.Server.Name != "front.example" {
			t.Errorf("read as %v, which has to prove that it is %v", p, p.Server)
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if text := string(shown); !strings.Contains(text, url) || !strings.Contains(text, "${env:NAME}") || strings.Contains(text, "horse") {
			t.Errorf("%s", text)
		}
	}
	_, err := Parse("watertight.yaml", []byte(`channels: {a: {proxy: {url: "https://gw.example", pins: ["${env:WATERTIGHT_TEST_PASSWORD}"]}, resolve: exit}}`+"\nroutes: [{to: \"*\", channel: a}]"), host)
	if err == nil || strings.Contains(err.Error(), "horse") || !strings.Contains(err.Error(), "`pins` of a proxy is not valid once its references are filled in") {
		t.Errorf("got %v", err)
	}
}
