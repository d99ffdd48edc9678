package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/hop"
)

func poolOf(t *testing.T, proxy string, files map[string]string) (*Config, *Pool) {
	t.Helper()
	c, err := Parse("watertight.yaml", []byte("channels: {p: {resolver: {upstreams: [quad9]}, proxy: "+proxy+"}}\nroutes: [{to: '*', channel: p}]\n"), testHost(map[string]string{"PASSWORD": "hunter2"}, files))
	if err != nil {
		t.Fatal(err)
	}
	ch, _ := c.Channel("p")
	return c, ch.Pool
}

func TestPool_IsReadWithItsDefaults(t *testing.T) {
	_, p := poolOf(t, "{pool: socks5://a.example}", nil)
	if s := p.Spec; len(s.Members) != 1 || s.Pick != hop.RoundRobin || s.By != hop.ByNothing || s.Every != 0 || string(s.Pick) != keyAt("channels.*.proxy.pick").Default {
		t.Errorf("%+v", s)
	}
	_, p = poolOf(t, "{pool: [socks5://a.example, 'http://u:${env:PASSWORD}@b.example:1'], pick: lowest_latency, sticky: {by: client, for: 1h}, health: {every: 30s, timeout: 2s}}", nil)
	if s := p.Spec; len(s.Members) != 2 || s.Members[1].Password != "hunter2" || s.Pick != hop.LowestLatency || s.By != hop.ByClient || s.For != time.Hour || s.Every != 30*time.Second || s.Timeout != 2*time.Second {
		t.Errorf("%+v", s)
	}
	_, p = poolOf(t, "{pool: socks5://a.example, sticky: session, health: {every: 1m}}", nil)
	if s := p.Spec; s.By != hop.BySession || short(s.For) != keyAt("channels.*.proxy.sticky.for").Default || short(s.Timeout) != keyAt("channels.*.proxy.health.timeout").Default {
		t.Errorf("%+v", s)
	}
}

func TestPool_TakesAListAndReadsItAgain(t *testing.T) {
	files := map[string]string{"proxies.txt": "192.0.2.1:1:acme:hunter2\n192.0.2.2:1:acme:hunter2\n"}
	c, p := poolOf(t, "{pool: http://a.example:1, list: proxies.txt, scheme: socks5}", files)
	if len(p.Spec.Members) != 3 || p.Spec.Members[1].String() != "socks5://acme:***@192.0.2.1:1" {
		t.Errorf("%v", p.Spec.Members)
	}
	files["proxies.txt"] = "192.0.2.3:1\n"
	members, err := p.Read(testHost(nil, files))
	if err != nil || len(members) != 2 || members[1].String() != "socks5://192.0.2.3:1" {
		t.Errorf("%v, %v", members, err)
	}
	files["proxies.txt"] = "192.0.2.3:1\nhunter2\n"
	var bad ListProblems
	if _, err := p.Read(testHost(nil, files)); !errors.As(err, &bad) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	shown, err := c.Show()
	if err != nil || strings.Contains(string(shown), "hunter2") || !strings.Contains(string(shown), "list: proxies.txt\n") {
		t.Errorf("%v:\n%s", err, shown)
	}
}

func TestPool_CanBeShownAndLoadedAgain(t *testing.T) {
	files := map[string]string{"proxies.txt": "192.0.2.1:1\n"}
	for _, proxy := range []string{
		"{pool: [socks5://a.example, http://b.example:1], pick: random}",
		"{list: proxies.txt, scheme: socks5, sticky: {by: target, for: 5m}, health: {every: 10s}}",
	} {
		c, p := poolOf(t, proxy, files)
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("watertight.yaml", shown, testHost(nil, files))
		if err != nil {
			t.Errorf("%v:\n%s", err, shown)
			continue
		}
		ch, _ := again.Channel("p")
		if fmt.Sprint(ch.Pool.Spec) != fmt.Sprint(p.Spec) || !slices.Equal(texts(ch.Pool.Spec.Members, func(_ int, m hop.Proxy) string { return m.String() }), texts(p.Spec.Members, func(_ int, m hop.Proxy) string { return m.String() })) {
			t.Errorf("%+v became %+v", p.Spec, ch.Pool.Spec)
		}
	}
}

func TestPool_CarriesDatagramsWhereEveryMemberDoes(t *testing.T) {
	const text = "channels: {p: {resolver: {upstreams: [\"quic://9.9.9.9\"]}, proxy: %s}}\nroutes: [{to: '*', channel: p}]\n"
	files := map[string]string{"some.txt": "socks5://a.example\nhttp://u:secret@b.example:3128\n"}
	for pool, lacks := range map[string]string{
		"{pool: socks5://a.example}":                                           "",
		"{pool: [socks5://a.example, h3://b.example]}":                         "",
		"{pool: [socks5://a.example, https://b.example]}":                      "https://b.example:443 carries connections only",
		"{pool: [socks5://a.example, https://b.example, socks4a://c.example]}": "socks4a://c.example:1080 carries connections only",
		"{list: some.txt}": "http://u:***@b.example:3128 carries connections only",
	} {
		_, err := Parse("watertight.yaml", []byte(fmt.Sprintf(text, pool)), testHost(nil, files))
		if lacks == "" && err != nil || lacks != "" && (err == nil || !strings.Contains(err.Error(), lacks) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", pool, err)
		}
	}
}

func TestPool_WithAMemberThatCannotBeReachedIsRefused(t *testing.T) {
	const text = "channels:\n  below: {resolver: {upstreams: [quad9]}, proxy: %s}\n  p: {over: below, resolver: {upstreams: [quad9]}, proxy: %s}\nroutes: [{to: '*', channel: p}]\n"
	for _, c := range []struct{ below, pool, says string }{
		{"'http://192.0.2.1:1'", "{pool: ['socks5://192.0.2.2', 'h3://192.0.2.3']}", "h3://192.0.2.3:443"},
		{"'socks4a://192.0.2.1'", "{pool: ['socks5://192.0.2.2', 'socks5://[2001:db8::3]']}", "socks5://[2001:db8::3]:1080"},
		{"{pool: ['h3://192.0.2.1', 'https://192.0.2.4']}", "'h3://192.0.2.2'", "https://192.0.2.4:443 before it carries connections only"},
		{"{pool: ['h3://192.0.2.1', 'https://192.0.2.4']}", "{pool: ['h3://192.0.2.2']}", "https://192.0.2.4:443 before it carries connections only"},
	} {
		wantOne(t, bad(t, fmt.Sprintf(text, c.below, c.pool)), 3, 59, c.says)
	}
	good(t, fmt.Sprintf(text, "{pool: ['h3://192.0.2.1', 'h2://192.0.2.4']}", "'h3://192.0.2.2'"))
	good(t, fmt.Sprintf(text, "'socks5://192.0.2.1'", "{pool: ['socks5://192.0.2.2', 'h3://192.0.2.3']}"))
	good(t, fmt.Sprintf(text, "{pool: ['h3://192.0.2.1', 'socks5://192.0.2.4']}", "{pool: ['socks5://192.0.2.2', 'h3://192.0.2.3']}"))
}

func TestPool_HasOnceWhatItsMembersHaveToProve(t *testing.T) {
	file := provedBy(t, `{pool: ["https://a.example", {url: "socks5+tls://b.example", pins: "`+aPin+`", name: b2.example}, "http://c.example:1"], list: list.txt, ca: cert.pem, name: shared.example, cert: cert.pem, key: key.pem}`)
	list := filepath.Join(filepath.Dir(file), "list.txt")
	if err := os.WriteFile(list, []byte("h2://d.example\nsocks5://e.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	office, _ := c.Channel("office")
	again, err := office.Pool.Read(ThisHost()) // as after the list has changed
	if err != nil || !reflect.DeepEqual(again, office.Pool.Spec.Members) {
		t.Errorf("%v, %v", again, err)
	}
	for i, want := range []struct {
		name                     string
		pins, authorities, shown int
	}{{"shared.example", 0, 1, 1}, {"b2.example", 1, 1, 1}, {}, {"shared.example", 0, 1, 1}, {}} {
		s := again[i].Server
		if s.Name != want.name || len(s.Pins) != want.pins || len(s.CA) != want.authorities || len(s.Cert) != want.shown || (len(s.Key) > 0) != (want.shown > 0) {
			t.Errorf("%v has to prove %q, %d pins, %d authorities, and is shown %d certificates", again[i], s.Name, len(s.Pins), len(s.CA), len(s.Cert))
		}
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, shown, 0o600); err != nil {
		t.Fatal(err)
	}
	same, err := Load(file, Overrides{})
	if err != nil {
		t.Fatalf("%v:\n%s", err, shown)
	}
	if other, _ := same.Channel("office"); !reflect.DeepEqual(other.Pool.Spec, office.Pool.Spec) {
		t.Errorf("what is shown is another pool:\n%s", shown)
	}
}

func TestPool_WithWhatNoMemberCouldProveIsRefused(t *testing.T) {
	for proxy, says := range map[string]string{
		"{pool: 'socks5://a.example', name: x.example}":                               "no member of the pool is over TLS, and `name` would not be honoured",
		"{pool: ['https://b.example', {url: 'socks5://a.example', name: x.example}]}": "has no TLS, and `name` would not be honoured",
		"{pool: 'https://a.example', pins: [short]}":                                  "SHA-256",
		"{pool: 'https://a.example', ca: none.pem}":                                   "none.pem",
		"{pool: 'https://a.example', key: none.pem}":                                  "a key without its certificate",
		"{pool: {name: x.example}}":                                                   "has no `url`",
		"{pool: {url: 'https://a.example', pick: random}}":                            "pick",
		"{pool: 'https://a.example', url: 'https://b.example'}":                       "is about one proxy",
	} {
		_, err := Parse("watertight.yaml", []byte("channels: {p: {resolver: {upstreams: [quad9]}, proxy: "+proxy+"}}\nroutes: [{to: '*', channel: p}]\n"), testHost(nil, nil))
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "watertight.yaml:1:") {
			t.Errorf("%s: %v", proxy, err)
		}
	}
}

func TestPool_CarriesNoTunnel(t *testing.T) {
	text := "channels: {p: {resolve: exit, proxy: {pool: socks5://a.example}}, vpn: {over: p, resolver: {upstreams: [quad9]}, wireguard: {private_key_file: vpn.key, address: 10.2.0.2/32, peers: [{public_key: '" + keyB + "', endpoint: '192.0.2.1:51820', allowed_ips: 0.0.0.0/0}]}}}\nroutes: [{to: '*', channel: vpn}]\n"
	_, err := Parse("watertight.yaml", []byte(text), testHost(nil, map[string]string{"vpn.key": keyA}))
	if err == nil || !strings.Contains(err.Error(), "does not go from member to member of a pool") {
		t.Error(err)
	}
}

func TestPool_ThatIsWrongSaysWhereAndHowToMendIt(t *testing.T) {
	files := map[string]string{"bad.txt": "192.0.2.1:1\nhunter2:hunter2\nhunter2\n", "bare.txt": "192.0.2.1:1\n", "empty.txt": "# nothing\n"}
	for proxy, want := range map[string]string{
		"{pick: random}": "has no members",
		"{pool: socks5://a.example, url: socks5://b.example}": "about one proxy",
		"{pool: socks5://a.example, scheme: http}":            "there is none",
		"{pool: []}":                                                 "empty list",
		"{pool: [socks5://a.example, hunter2]}":                      "the scheme is missing",
		"{pool: socks5://a.example, pick: round}":                    "round_robin",
		"{pool: socks5://a.example, sticky: {for: 5m}}":              "has no `by`",
		"{pool: socks5://a.example, sticky: always}":                 "session",
		"{pool: socks5://a.example, sticky: {by: user, for: 0s}}":    "duration from 1s",
		"{pool: socks5://a.example, health: {timeout: 1s}}":          "has no `every`",
		"{list: none.txt}":                                           "cannot be read",
		"{list: bad.txt, scheme: http}":                              "line 3",
		"{list: bare.txt}":                                           "has no scheme",
		"{list: empty.txt, scheme: http}":                            "no proxy in it",
		"{list: bare.txt, scheme: http, template: oxylabs}":          "needs the",
		"{pool: http://u:p@a.example:1, template: oxylab}":           "no such template",
		"[socks5://a.example, {pool: socks5://b.example}]":           "a pool cannot be one of a chain",
		"{pool: 'http://u-{session}:p@a.example:1', template: soax}": "two templates fit",
	} {
		_, err := Parse("watertight.yaml", []byte("channels: {p: {resolver: {upstreams: [quad9]}, proxy: "+proxy+"}}\nroutes: [{to: '*', channel: p}]\n"), testHost(nil, files))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "watertight.yaml:1:") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", proxy, err)
		}
	}
}
