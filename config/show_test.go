package config

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"watertight/name"
)

const everyKey = `
listen:
  proxy: [127.0.0.1:1, {address: "0.0.0.0:2", allow_insecure: true}]
  admin: 127.0.0.1:3
  gateway: [127.0.0.1:4, {address: "192.0.2.1:4", hosts: [gw.internal], origins: ["https://a.example"], allow_insecure: true}]
channels:
  a-1:
    over: b_2
    proxy: [socks5://user:pass@gw.example:1, http://192.0.2.1:2]
    resolve: exit
  b_2:
    proxy: http://192.0.2.1:2
    resolve: here
    resolver:
      upstreams:
        - {url: https://dns.example.net/q, pins: [AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=], name: other.example.net, ech: AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA=}
        - quad9
        - sdns://AwAAAAAAAAAAAAAPZG5zLmV4YW1wbGUubmV0
        - {url: sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0, relay: sdns://gQ0xOTIuMC4yLjc6NDQz}
        - {url: sdns://BQAAAAAAAAAAEnRhcmdldC5leGFtcGxlLm5ldAovZG5zLXF1ZXJ5, relay: sdns://hQAAAAAAAAAACTE5Mi4wLjIuNwARcmVsYXkuZXhhbXBsZS5vcmcGL3Byb3h5}
      addresses: {dns.example.net: [192.0.2.53, "2001:db8::53"]}
      dnssec: validate
      trust_anchors: [". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"]
      negative_anchors: [Corp.Example, .b.example]
      timeout: 1m
      strategy: {race: 2}
      cache: {size: 0}
    
  direct:
    resolver: {upstreams: [dns4eu]}
routes:
  - {to: ["*.a.example", 10.0.0.0/8, "fd00::/8"], channel: a-1}
  - {to: a.example, channel: refuse}
  - {to: "*", channel: direct}
gateway:
  - {path: /a, to: "https://a.example/v1", channel: a-1, user: alice-session-k3, headers: {X-Team: blue}}
  - {hosts: ["*.b.example"]}
policy: {plain_http: allow, plain_dns: refuse, foreign_resolvers: allow, private_targets: [10.0.0.0/8], client_resolved: refuse}
exec: {client_resolved: report}
limits: {connections: 1, drain: 1h}
log: {level: error, format: json, names: true}
`

func TestShow_OfADefaultSaysEverything(t *testing.T) {
	got, err := good(t, "").Show()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestShow_CanBeLoadedAgainAndSaysTheSame(t *testing.T) {
	for _, text := range []string{"", everyKey, "policy: {private_targets: allow}\nlimits: {drain: 1500ms}"} {
		c := good(t, text)
		asYAML, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := c.ShowJSON()
		if err != nil || !json.Valid(asJSON) {
			t.Fatalf("%v\n%s", err, asJSON)
		}
		for _, again := range []string{string(asYAML), string(asJSON)} {
			d := good(t, again)
			got, _ := d.Show()
			if diff := cmp.Diff(string(asYAML), string(got)); diff != "" {
				t.Error(diff)
			}
			if len(d.Channels) != len(c.Channels) || len(d.Channels[0].Resolver.Upstreams) != len(c.Channels[0].Resolver.Upstreams) {
				t.Errorf("%+v", d.Channels)
			}
			for i := range c.Channels {
				for j := range c.Channels[i].Resolver.Upstreams { // the same server, whatever the file calls it
					d.Channels[i].Resolver.Upstreams[j].Text = c.Channels[i].Resolver.Upstreams[j].Text
				}
				if diff := cmp.Diff(c.Channels[i].Resolver.Upstreams, d.Channels[i].Resolver.Upstreams, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b name.Target) bool { return a == b })); diff != "" {
					t.Error(diff)
				}
			}
		}
	}
}

func TestShow_MasksEverySecret(t *testing.T) {
	host := testHost(map[string]string{"S": "s3cr3t", "H": "h3st.example", "A": "127.0.0.1:7", "N": "10.7.7.0/24", "D": "7s", "U": "tls://192.0.2.7", "I": "192.0.2.8"}, nil)
	c, err := Parse("f", []byte(`
listen: {proxy: ["${env:A}"]}
channels:
  a:
    proxy: ["socks5://u:${env:S}@${env:H}:1", "http://u:hunter2@${env:H}:1", http://u:hunter2@192.0.2.1:1, "http://${env:S}:half${env:S}@h.example:1"]
    resolver: {upstreams: ["${env:U}", {url: tls://x.example, addresses: "${env:I}", name: "${env:H}"}], timeout: "${env:D}"}
routes: [{to: ["${env:H}", "*"], channel: a}]
policy: {private_targets: ["${env:N}"]}
limits: {drain: "${env:D}"}
`), host)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, _ := c.Show()
	asJSON, _ := c.ShowJSON()
	for _, text := range []string{string(asYAML), string(asJSON)} {
		for _, secret := range []string{"s3cr3t", "hunter2", "h3st", "127.0.0.1:7", "10.7.7", "7s", "192.0.2.7", "192.0.2.8", "half"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is shown in\n%s", secret, text)
			}
		}
		for _, want := range []string{"socks5://u:${env:S}@${env:H}:1", "http://u:***@${env:H}:1", "http://u:***@192.0.2.1:1", "http://${env:S}:***@h.example:1", "${env:U}", "${env:I}", "${env:N}"} {
			if !strings.Contains(text, want) {
				t.Errorf("want %s in\n%s", want, text)
			}
		}
	}
}
