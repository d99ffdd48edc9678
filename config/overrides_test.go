package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writeCA writes a certificate in PEM form.
func writeCA(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// shown applies flags and gives what `config show` prints.
func shown(t *testing.T, c *Config, o Overrides) string {
	t.Helper()
	n, err := c.Override(o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := n.Show()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOverrides_WithoutAnyFlagChangeNothing(t *testing.T) {
	c := good(t, "log: {level: debug}")
	want, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), shown(t, c, Overrides{})); diff != "" {
		t.Error(diff)
	}
}

func TestOverrides_ReplaceWhatTheyNameAndLeaveTheFileAlone(t *testing.T) {
	c := good(t, "listen: {proxy: [127.0.0.1:1, 127.0.0.1:2], admin: 127.0.0.1:3}\nchannels: {direct: {resolver: {upstreams: [cloudflare, dns4eu], strategy: random, dnssec: validate, timeout: 2s}}}")
	before, _ := c.Show()
	got := shown(t, c, Overrides{Listen: []string{"127.0.0.1:5", "[::1]:5"}, DNS: []string{"127.0.0.1:53"}, Resolver: []string{"quad9", "tls://9.9.9.9"}, LogLevel: "warn", LogFormat: "json"})
	for _, want := range []string{"    - 127.0.0.1:5\n    - \"[::1]:5\"\n", "        - quad9\n        - tls://9.9.9.9\n      strategy: random\n      dnssec: validate\n      timeout: 2s\n", "level: warn\n", "format: json\n", "127.0.0.1:3", "  dns:\n    - 127.0.0.1:53\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "127.0.0.1:1\n") || strings.Contains(got, "cloudflare") {
		t.Errorf("what was replaced is still there:\n%s", got)
	}
	if after, _ := c.Show(); string(after) != string(before) {
		t.Errorf("the configuration itself was changed:\n%s", after)
	}
}

func TestVia_IsTheChannelOfTheDocumentation(t *testing.T) {
	got := shown(t, good(t, ""), Overrides{Resolver: []string{"tls://9.9.9.9"}, Via: []string{"socks5://gw.provider.example:1080", "http://u:p@b.example:1"}})
	want := shown(t, good(t, `
channels:
  direct:
    resolver: {upstreams: [tls://9.9.9.9]}
  via:
    proxy: [socks5://gw.provider.example:1080, http://u:p@b.example:1]
    resolver: {upstreams: [tls://9.9.9.9]}
routes: [{to: "*", channel: via}]
`), Overrides{})
	_, got, _ = strings.Cut(got, "\n")
	_, want, _ = strings.Cut(want, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCA_OfTheCommandLineIsForTheResolversOfTheCommandLine(t *testing.T) {
	dir := t.TempDir()
	writeCA(t, dir+"/ca.pem")
	t.Chdir(dir)
	c, err := good(t, "").Override(Overrides{Resolver: []string{"tls://192.0.2.1", "quad9"}, CA: "ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range c.Channels[0].Resolver.Upstreams {
		if len(u.CA) != 1 {
			t.Errorf("%s trusts %d authorities", u.Text, len(u.CA))
		}
	}
	if text, _ := c.Show(); !strings.Contains(string(text), "ca: "+dir+"/ca.pem") {
		t.Errorf("%s", text)
	}
}

func TestCA_OfTheCommandLineIsForTheProxiesOfTheCommandLineToo(t *testing.T) {
	dir := t.TempDir()
	writeCA(t, dir+"/ca.pem")
	t.Chdir(dir)
	c, err := good(t, "").Override(Overrides{Via: []string{"socks5://192.0.2.1", "https://u:hunter2@192.0.2.2"}, CA: "ca.pem"})
	if err != nil {
		t.Fatal(err)
	}
	via, _ := c.Channel(ViaName)
	if s := via.Proxies[1].Server; len(s.CA) != 1 || s.Name != "192.0.2.2" || !via.Proxies[0].Server.IsZero() {
		t.Errorf("%s trusts %d authorities", s.Name, len(s.CA))
	}
	for _, u := range via.Resolver.Upstreams {
		if len(u.CA) != 0 {
			t.Errorf("%s is not of the command line, and trusts %d authorities", u.Text, len(u.CA))
		}
	}
	if text, _ := c.Show(); !strings.Contains(string(text), "ca: "+dir+"/ca.pem") || strings.Contains(string(text), "hunter2") {
		t.Errorf("%s", text)
	}
}

func TestOverrides_ThatAreAmbiguousOrWrongAreRefused(t *testing.T) {
	const routed = "channels: {a: {proxy: 'http://192.0.2.1:1', resolve: exit}}\nroutes: [{to: '*', channel: a}]"
	for _, c := range []struct {
		file string
		o    Overrides
		want []string
	}{
		{"", Overrides{CA: "x.pem"}, []string{"command line: --ca says who certifies the servers of --resolver and the proxies of --via, and there is neither"}},
		{"", Overrides{CA: "x.pem", Via: []string{"socks5://192.0.2.1", "http://192.0.2.2:1"}}, []string{"--ca says who certifies the proxies of --via, and none of them is over TLS"}},
		{"", Overrides{CA: "none.pem", Via: []string{"https://u:hunter2@192.0.2.1"}}, []string{"--ca: the CA file none.pem cannot", "it does not exist"}},
		{"", Overrides{Listen: []string{"0.0.0.0:1"}}, []string{"command line: --listen: 0.0.0.0:1 can be reached from other hosts", "allow_insecure: true"}},
		{"", Overrides{Listen: []string{"localhost:1"}}, []string{"--listen: `localhost:1`", "write 127.0.0.1:1"}},
		{"", Overrides{Listen: []string{"127.0.0.1:1", "127.0.0.1:1"}}, []string{"taken already"}},
		{"listen: {admin: 127.0.0.1:1}", Overrides{Listen: []string{"127.0.0.1:1"}}, []string{"taken already"}},
		{"", Overrides{DNS: []string{"tls://127.0.0.1:853", "0.0.0.0:53"}}, []string{"--dns: `tls://127.0.0.1:853` is no address", "such as 127.0.0.1:5353; an encrypted door has a certificate", "names would travel there in clear text", "listen: {dns: {address: \"0.0.0.0:53\""}},
		{"", Overrides{Resolver: []string{"9.9.9.9", "https://dns.example.net/q"}}, []string{"--resolver: 9.9.9.9 is plain DNS", "write tls://9.9.9.9", "--resolver: the resolver dns.example.net is given by its name", "tls://IP"}},
		{"", Overrides{Resolver: []string{"quad9", "tls://192.0.2.1"}, CA: "none.pem"}, []string{"--ca: the CA file none.pem cannot", "it does not exist", "check the path: a relative one begins at the working directory"}},
		{"channels: {direct: {resolver: {upstreams: [quad9, dns4eu], strategy: {race: 2}}}}", Overrides{Resolver: []string{"quad9"}}, []string{"--resolver gives 1 of the upstreams of `direct`, and its `strategy` in watertight.yaml asks among more"}},
		{"channels: {direct: {resolver: {upstreams: [quad9, dns4eu], strategy: random}}}", Overrides{Resolver: []string{"quad9"}}, []string{"--resolver gives 1 of"}},
		{routed, Overrides{Resolver: []string{"quad9"}}, []string{"no route of watertight.yaml leads to `direct`"}},
		{routed, Overrides{Via: []string{"http://192.0.2.1:1"}}, []string{"--via takes all traffic, and watertight.yaml has routes"}},
		{"", Overrides{Via: []string{"ssh://u:hunter2@192.0.2.1:1"}}, []string{"--via: ", "not carried by this version"}},
		{"", Overrides{LogLevel: "verbos", LogFormat: "jsn"}, []string{"--log-level can be debug", "--log-format can be text or json, not `jsn`", "did you mean `json`?"}},
	} {
		_, err := good(t, c.file).Override(c.o)
		var ps Problems
		if !errors.As(err, &ps) {
			t.Errorf("%+v: %v", c.o, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("want %q in\n%v", want, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a password is shown: %v", err)
		}
	}
}

func TestResolver_OfTheCommandLineServesWhereOneRouteLeadsToDirect(t *testing.T) {
	c := good(t, "channels: {a: {proxy: 'http://192.0.2.1:1', resolve: exit}}\nroutes: [{to: a.example, channel: a}, {to: '*', channel: direct}]")
	if got := shown(t, c, Overrides{Resolver: []string{"dns4eu"}}); !strings.Contains(got, "- dns4eu\n") {
		t.Error(got)
	}
}

func TestOverrides_ForgetTheSecretsThatTheyReplace(t *testing.T) {
	c, err := Parse("f", []byte(`{listen: {proxy: "${env:A}"}, log: {level: "${env:L}"}, channels: {direct: {resolver: {timeout: "${env:T}"}}}}`),
		testHost(map[string]string{"A": "127.0.0.1:1", "L": "debug", "T": "2s"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	got := shown(t, c, Overrides{Listen: []string{"127.0.0.1:2"}, LogLevel: "warn", Via: []string{"http://192.0.2.1:1"}})
	if !strings.Contains(got, "- 127.0.0.1:2\n") || !strings.Contains(got, "level: warn\n") || strings.Count(got, `timeout: "${env:T}"`) != 2 {
		t.Error(got)
	}
}
