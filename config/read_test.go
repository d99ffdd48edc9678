package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"watertight/hop"
	"watertight/name"
	"watertight/resolve"
	"watertight/route"
)

func socketsOf(listeners []ProxyListener) string {
	var all []string
	for _, l := range listeners {
		all = append(all, l.Address.String())
	}
	return strings.Join(all, " ")
}

func TestEmptyFile_IsTheSealedDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}", "\ufeff", "listen: {}\nchannels: {direct: {}}\n"} {
		c := good(t, text)
		want := Policy{PlainHTTP: route.Refuse, PlainDNS: route.Refuse, ForeignResolvers: route.Refuse, ClientResolved: route.Report, Contained: route.Refuse}
		if diff := cmp.Diff(want, c.Policy); diff != "" {
			t.Errorf("%q: policy: %s", text, diff)
		}
		if socketsOf(c.Listen.Proxy) != "127.0.0.1:8080" || c.Listen.Admin != nil {
			t.Errorf("%q: listen %v", text, c.Listen)
		}
		if len(c.Channels) != 1 || c.Channels[0].Name != "direct" || c.Channels[0].Over != "" || len(c.Routes) != 0 {
			t.Fatalf("%q: channels %v, routes %v", text, c.Channels, c.Routes)
		}
		r := c.Channels[0].Resolver
		if len(r.Upstreams) != 1 || r.Upstreams[0].Text != "quad9" || r.Timeout != 5*time.Second || r.CacheSize != 16 || r.Stale != 0 || !r.Prefetch {
			t.Errorf("%q: resolver %+v", text, r)
		}
		if c.Limits != (Limits{Connections: 20000, Drain: 30 * time.Second}) || c.Log != (Log{Level: "info", Format: "text"}) {
			t.Errorf("%q: %v %v", text, c.Limits, c.Log)
		}
	}
}

func TestListeners_AreReadAsTextMapAndList(t *testing.T) {
	c := good(t, `
listen:
  proxy: [127.0.0.1:1, "[::1]:1", {address: "[::ffff:127.0.0.1]:2"}, 127.0.0.1:0, 127.0.0.1:0]
  admin: {address: "192.0.2.1:3", allow_insecure: true}
  dns: [127.0.0.1:5353, {address: "172.17.0.1:53", allow_insecure: true}]
`)
	if got := c.Listen.DNS; len(got) != 2 || got[0].Address.String() != "127.0.0.1:5353" || got[1].Address.String() != "172.17.0.1:53" || got[0].AllowInsecure || !got[1].AllowInsecure {
		t.Error(got)
	}
	if got := socketsOf(c.Listen.Proxy); got != "127.0.0.1:1 [::1]:1 127.0.0.1:2 127.0.0.1:0 127.0.0.1:0" {
		t.Error(got)
	}
	if got := c.Listen.Admin; len(got) != 1 || !got[0].AllowInsecure || got[0].Address != netip.MustParseAddrPort("192.0.2.1:3") {
		t.Error(got)
	}
}

func TestListener_BeyondLoopbackNeedsTheWordAndIsWarnedOf(t *testing.T) {
	wantOne(t, bad(t, "listen:\n  admin: 192.0.2.1:1"), 2, 10, "192.0.2.1:1 can be reached from other hosts", "allow_insecure: true")
	wantOne(t, bad(t, "listen:\n  proxy: {address: '[::]:1', allow_insecure: false}"), 2, 20, "[::]:1")
	wantOne(t, bad(t, "listen:\n  dns: 0.0.0.0:53"), 2, 8, "names would travel there in clear text", "allow_insecure: true")
	c := good(t, "listen:\n  proxy: {address: '0.0.0.0:1', allow_insecure: true}")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "watertight.yaml:2:20: whoever reaches 0.0.0.0:1 can use it") {
		t.Error(c.Warnings)
	}
	c = good(t, "listen:\n  proxy: {address: '127.0.0.1:1', allow_insecure: true}")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].What, "changes nothing") {
		t.Error(c.Warnings)
	}
}

func TestListeners_OnOneSocketAreRefused(t *testing.T) {
	wantOne(t, bad(t, "listen:\n  proxy: [127.0.0.1:1, 127.0.0.1:1]"), 2, 24, "127.0.0.1:1 is taken already")
	wantOne(t, bad(t, "listen:\n  proxy: 127.0.0.1:1\n  admin: 127.0.0.1:1"), 3, 10, "line 2")
	wantOne(t, bad(t, "listen:\n  proxy: 127.0.0.1:1\n  dns: 127.0.0.1:1"), 3, 8, "line 2")
	wantOne(t, bad(t, "listen:\n  proxy: 127.0.0.1:1\n  admin: {address: '0.0.0.0:1', allow_insecure: true}"), 3, 20, "0.0.0.0:1 is taken")
}

func TestChannel_IsReadWithItsHopsAndItsResolver(t *testing.T) {
	c := good(t, `
channels:
  first:
    proxy: socks5://user:p%40ss@gw.example
    resolver:
      upstreams:
        - https://dns.example.net/q
        - {url: "tls://192.0.2.54:8853", name: dns.example.org, pins: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, ech: AEj+DQBEAQAgACAdd+scUi0IYFsXnUIU7ko2Nd9+F8M26pAGZVpz/KrWPgAEAAEAAWQVZWNoLXNpdGVzLmV4YW1wbGUubmV0AAA=}
        - {url: "tls://dns.example.org", addresses: [192.0.2.55, "2001:db8::1"]}
        - sdns://AwAAAAAAAAAAAAAPZG5zLmV4YW1wbGUubmV0
        - {url: sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0, relay: sdns://gQ0xOTIuMC4yLjc6NDQz}
        - {url: sdns://BQAAAAAAAAAAEnRhcmdldC5leGFtcGxlLm5ldAovZG5zLXF1ZXJ5, relay: sdns://hQAAAAAAAAAACTE5Mi4wLjIuNwARcmVsYXkuZXhhbXBsZS5vcmcGL3Byb3h5}
      addresses: {DNS.example.NET: 192.0.2.53}
      timeout: 1500ms
      cache: {size: 0}
  second:
    over: first
    proxy: [socks5://a.example:1080, http://b.example:3128]
    resolve: exit
routes: [{to: "*", channel: second}]
`)
	first, ok := c.Channel("first")
	if !ok || first.Over != "direct" || first.ResolveAtExit {
		t.Fatalf("%+v", first)
	}
	want := hop.Proxy{Scheme: "socks5", Host: name.MustHost("gw.example"), Port: 1080, User: "user", Password: "p@ss"}
	if len(first.Proxies) != 1 || !reflect.DeepEqual(first.Proxies[0], want) {
		t.Error(first.Proxies)
	}
	var addrs []string
	for _, u := range first.Resolver.Upstreams {
		addrs = append(addrs, fmt.Sprintf("%v %s %d %d", u.Addrs, u.ServerName, len(u.Pins), len(u.ECH)))
	}
	if diff := cmp.Diff([]string{"[192.0.2.53:443] dns.example.net 0 0", "[192.0.2.54:8853] dns.example.org 1 74", "[192.0.2.55:853 [2001:db8::1]:853] dns.example.org 0 0", "[192.0.2.53:853] dns.example.net 0 0", "[192.0.2.7:443] 2.dnscrypt-cert.quad9.net 0 0", "[192.0.2.7:443] relay.example.org 0 0"}, addrs); diff != "" {
		t.Error(diff)
	}
	if first.Resolver.Timeout != 1500*time.Millisecond || first.Resolver.CacheSize != 0 {
		t.Errorf("%+v", first.Resolver)
	}
	second, _ := c.Channel("second")
	if second.Over != "first" || len(second.Proxies) != 2 || !second.ResolveAtExit || second.Resolver.Upstreams != nil {
		t.Errorf("%+v", second)
	}
	if direct, ok := c.Channel("direct"); !ok || c.Channels[0].Name != "direct" || direct.Resolver.Upstreams[0].Text != "quad9" {
		t.Errorf("%+v", c.Channels)
	}
}

func TestUpstreamsCA_IsReadFromTheDirectoryOfTheFile(t *testing.T) {
	file := write(t, "watertight.yaml", "channels: {direct: {resolver: {upstreams: [{url: tls://192.0.2.1, ca: ca.pem}]}}}")
	_, err := Read(file, ThisHost())
	if err == nil || !strings.Contains(err.Error(), "the CA file ca.pem cannot be used: it does not exist") {
		t.Fatal(err)
	}
	writeCA(t, strings.TrimSuffix(file, "watertight.yaml")+"ca.pem")
	c, err := Read(file, ThisHost())
	if err != nil {
		t.Fatal(err)
	}
	if u := c.Channels[0].Resolver.Upstreams[0]; len(u.CA) != 1 {
		t.Errorf("%d certificates", len(u.CA))
	}
}

func TestNamedResolver_WithoutAddressesDoesNotStart(t *testing.T) {
	wantOne(t, bad(t, "channels:\n  direct:\n    resolver: {upstreams: [https://dns.example.net/dns-query]}"), 3, 28,
		"dns.example.net is given by its name", "addresses: {dns.example.net: [IP]}")
}

func TestChannel_TakesNoResolverFromAnother(t *testing.T) {
	wantOne(t, bad(t, "channels:\n  a: {proxy: 'http://192.0.2.1:1'}\nroutes: [{to: '*', channel: a}]"), 2, 3, "has no resolver")
	wantOne(t, bad(t, "channels:\n  a: {resolver: {timeout: 1s}}\nroutes: [{to: '*', channel: a}]"), 2, 3, "has no resolver")
}

func TestChannel_WithoutTheKeyStandsOverDirect(t *testing.T) {
	c := good(t, "channels: {a: {resolver: {upstreams: [quad9]}}}\nroutes: [{to: '*', channel: a}]")
	if a, _ := c.Channel("a"); a.Over != "direct" || len(a.Proxies) != 0 {
		t.Errorf("%+v", a)
	}
}

func TestRoutes_AreReadInOrder(t *testing.T) {
	c := good(t, `
routes:
  - {to: [a.example, "*.b.example", 10.0.0.0/8, 192.0.2.1], channel: direct}
  - {to: .c.example, channel: refuse}
  - to: "*"
    channel: direct
`)
	var got []string
	for _, r := range c.Routes {
		got = append(got, fmt.Sprintf("%d: %v %s %v", r.Line, r.To, r.Channel, r.Refuse))
	}
	if diff := cmp.Diff([]string{"3: [a.example *.b.example 10.0.0.0/8 192.0.2.1] direct false", "4: [.c.example]  true", "5: [*] direct false"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExec_WhatHoldsForContainedProgramsIsTheirsAlone(t *testing.T) {
	for text, want := range map[string]route.Mode{
		"":                                 route.Refuse,
		"policy: {client_resolved: allow}": route.Refuse,
		"exec: {client_resolved: report}":  route.Report,
		"exec: {client_resolved: allow}":   route.Allow,
		"exec: {client_resolved: refuse}":  route.Refuse,
		"policy: {client_resolved: refuse}\nexec: {client_resolved: allow}": route.Allow,
	} {
		c := good(t, text)
		if c.Policy.Contained != want {
			t.Errorf("%q: %s", text, c.Policy.Contained)
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if again := good(t, string(shown)).Policy; again.Contained != want || again.ClientResolved != c.Policy.ClientResolved {
			t.Errorf("%q, as it is shown: %+v", text, again)
		}
	}
}

func TestPolicy_IsReadKeyByKey(t *testing.T) {
	for text, want := range map[string]Policy{
		"plain_http: allow":                        {PlainHTTP: route.Allow},
		"plain_dns: refuse":                        {},
		"foreign_resolvers: allow":                 {ForeignResolvers: route.Allow},
		"client_resolved: refuse":                  {ClientResolved: route.Refuse},
		"client_resolved: report":                  {ClientResolved: route.Report},
		"client_resolved: allow":                   {ClientResolved: route.Allow},
		"private_targets: allow":                   {PrivateTargets: PrivateTargets{Allow: true}},
		"private_targets: refuse":                  {},
		"private_targets: [10.0.0.0/8, 'fd00::1']": {PrivateTargets: PrivateTargets{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::1/128")}}},
	} {
		for _, p := range []struct {
			set *route.Mode
			to  route.Mode
		}{
			{&want.PlainHTTP, route.Refuse}, {&want.PlainDNS, route.Refuse}, {&want.ForeignResolvers, route.Refuse}, {&want.ClientResolved, route.Report}, {&want.Contained, route.Refuse},
		} {
			if *p.set == "" {
				*p.set = p.to
			}
		}
		got := good(t, "policy: {"+text+"}").Policy
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestPolicy_PrivateTargetsAllowIsWarnedOf(t *testing.T) {
	if c := good(t, "policy: {private_targets: allow}"); len(c.Warnings) != 1 {
		t.Error(c.Warnings)
	}
}

func TestPlainDNS_CannotBeAllowed(t *testing.T) {
	wantOne(t, bad(t, "policy:\n  plain_dns: allow"), 2, 14, "can only be refuse", "tells everyone on the way")
}

func TestLimitsAndLog_AreRead(t *testing.T) {
	c := good(t, "limits: {connections: 7, drain: 0s}\nlog: {level: debug, format: json, names: true}")
	if c.Limits != (Limits{Connections: 7}) || c.Log != (Log{Level: "debug", Format: "json", Names: true}) {
		t.Errorf("%+v %+v", c.Limits, c.Log)
	}
}

func TestTexts_StayAsTheyAreWritten(t *testing.T) {
	for _, channel := range []string{"NO", "007", "0x10", "true", "1e3", "on", "2024-01-01", "1_000"} {
		c := good(t, "channels:\n  "+channel+": {resolver: {upstreams: [quad9]}}\nroutes: [{to: '*', channel: "+channel+"}]")
		if _, ok := c.Channel(channel); !ok {
			t.Errorf("%s became %q", channel, c.Channels[1].Name)
		}
	}
}

func TestBooleans_AreTrueAndFalseOnly(t *testing.T) {
	for _, text := range []string{"yes", "on", "True", "TRUE", "1", `"true"`, "[true]", "{}", "no"} {
		wantOne(t, bad(t, "log:\n  names: "+text), 2, 10, "neither true nor false")
	}
}

func TestJSON_IsReadAsItIs(t *testing.T) {
	c := good(t, "{\r\n\t\"listen\": {\"proxy\": [\"127.0.0.1:1\", {\"address\": \"[::1]:2\", \"allow_insecure\": false}]},\r\n"+
		"\t\"routes\": [{\"to\": \"*\\u002eexample\", \"channel\":\"direct\"}],\r\n"+
		"\t\"channels\": {\"direct\": {\"resolver\": {\"upstreams\": [\"https:\\/\\/192.0.2.1\\/q\"]}}},\r\n"+
		"\t\"limits\":{\"connections\":5},\"log\":{\"names\":true}\r\n}\r\n")
	if socketsOf(c.Listen.Proxy) != "127.0.0.1:1 [::1]:2" || c.Limits.Connections != 5 || !c.Log.Names || c.Routes[0].To[0].String() != "*.example" {
		t.Errorf("%+v", c)
	}
}

func TestParse_WithoutAHostIsAnError(t *testing.T) {
	if _, err := Parse("", nil, Host{}); err == nil {
		t.Error("a nil collaborator was taken")
	}
}

func TestForward_TakesSpecialUseSuffixesOnly(t *testing.T) {
	c := good(t, "channels: {direct: {resolver: {forward: [.Test, home.arpa]}}}")
	if got := c.Channels[0].Resolver.Forward; !slices.Equal(got, []string{"test", "home.arpa"}) {
		t.Error(got)
	}
	shown, err := c.Show()
	if err != nil || !strings.Contains(string(shown), "forward:\n        - .Test\n        - home.arpa\n") {
		t.Errorf("%v\n%s", err, shown)
	}
	for _, suffix := range []string{"localhost", "example.com", "onion", "127.0.0.1", "a..b"} {
		wantOne(t, bad(t, "channels: {direct: {resolver: {forward: "+suffix+"}}}"), 1, 41, "no special-use suffix", "home.arpa")
	}
}

// The interface says "or a list" of these: one value is short for a list of one.
func TestOneValue_StandsForAListOfOne(t *testing.T) {
	for one, list := range map[string]string{
		"listen: {proxy: 127.0.0.1:1, admin: 127.0.0.1:2}":                                   "listen: {proxy: [127.0.0.1:1], admin: [127.0.0.1:2]}",
		"listen: {proxy: {address: 127.0.0.1:1}}":                                            "listen: {proxy: [{address: 127.0.0.1:1}]}",
		"channels: {direct: {resolver: {upstreams: dns4eu}}}":                                "channels: {direct: {resolver: {upstreams: [dns4eu]}}}",
		"channels: {direct: {resolver: {upstreams: {url: dns4eu}}}}":                         "channels: {direct: {resolver: {upstreams: [{url: dns4eu}]}}}",
		"policy: {private_targets: 10.0.0.0/8}":                                              "policy: {private_targets: [10.0.0.0/8]}",
		"policy: {private_targets: 192.0.2.1}":                                               "policy: {private_targets: [192.0.2.1]}",
		"routes: {to: .corp.example, channel: direct}":                                       "routes: [{to: [.corp.example], channel: direct}]",
		"channels: {a: {proxy: 'http://h:1', resolve: exit}}\nroutes: {to: '*', channel: a}": "channels: {a: {proxy: ['http://h:1'], resolve: exit}}\nroutes: [{to: ['*'], channel: a}]",
	} {
		got, err := good(t, one).Show()
		if err != nil {
			t.Fatal(err)
		}
		want, err := good(t, list).Show()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s\n%s", one, diff)
		}
		if s := theSchema(t); !conforms(t, s, s, treeOf(t, one)) {
			t.Errorf("the schema refuses %s", one)
		}
	}
}

func TestAForgottenSpaceBehindAColon_IsNamed(t *testing.T) {
	wantOne(t, bad(t, "listen:\n  proxy:127.0.0.1:1"), 2, 3, "a space is missing behind `proxy:`", "write `proxy: VALUE`")
	wantOne(t, bad(t, "listen:{}"), 1, 1, "a space is missing behind `listen:`")
	wantOne(t, bad(t, "listen:\n  proxies:x"), 2, 3, "`listen` is not a map of keys")
}

// One wrong key of an upstream does not hide the others.
func TestUpstream_EveryWrongKeyIsReported(t *testing.T) {
	ps := bad(t, "channels:\n  direct:\n    resolver:\n      upstreams:\n        - url: tls://192.0.2.1\n          addresses: 192.0.2.1:53\n"+
		"          pins: abc\n          ca: none.pem\n          name: a b\n          ech: AAAA\n          tls: 1\n")
	var lines []int
	for _, p := range ps {
		lines = append(lines, p.Line)
	}
	if !slices.Equal(lines, []int{6, 7, 8, 9, 10, 11}) {
		t.Errorf("%v", ps)
	}
}

func TestCache_IsReadKeyByKey(t *testing.T) {
	for text, want := range map[string]Resolver{
		"{}":                                     {CacheSize: 16, Prefetch: true},
		"{size: 1}":                              {CacheSize: 1, Prefetch: true},
		"{size: 64, stale: 6h, prefetch: false}": {CacheSize: 64, Stale: 6 * time.Hour},
		"{stale: 72h}":                           {CacheSize: 16, Stale: 72 * time.Hour, Prefetch: true},
		"{size: 0, stale: 0s, prefetch: false}":  {},
		"{size: 0}":                              {}, // nothing is there to be asked for again
	} {
		got := good(t, "channels: {direct: {resolver: {cache: "+text+"}}}").Channels[0].Resolver
		if got.CacheSize != want.CacheSize || got.Stale != want.Stale || got.Prefetch != want.Prefetch {
			t.Errorf("%s: %+v", text, got)
		}
	}
}

func TestPreset_ThatHasEndedIsWarnedOf(t *testing.T) {
	c := good(t, "channels: {direct: {resolver: {upstreams: [quad9, {url: mullvad}]}}}")
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "watertight.yaml:1:") || !strings.Contains(c.Warnings[0].What, "the preset mullvad will give no answers") {
		t.Error(c.Warnings)
	}
	o, err := good(t, "").Override(Overrides{Resolver: []string{"mullvad"}})
	if err != nil || len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0].What, "--resolver: the preset mullvad") {
		t.Error(o, err)
	}
}

func TestStrategy_IsAWordOrARace(t *testing.T) {
	of := func(strategy string) string {
		return "channels: {direct: {resolver: {upstreams: [quad9, dns4eu, cloudflare], strategy: " + strategy + "}}}"
	}
	for text, want := range map[string]resolve.Strategy{
		"order": {}, "random": {Random: true}, "{race: 2}": {Race: 2}, "{race: 3}": {Race: 3},
	} {
		c := good(t, of(text))
		if got := c.Channels[0].Resolver.Strategy; got != want {
			t.Errorf("%s: %+v", text, got)
		}
		if warned := len(c.Warnings) > 0; warned != (want.Race > 0) {
			t.Errorf("%s: %v", text, c.Warnings)
		}
		if s := theSchema(t); !conforms(t, s, s, treeOf(t, of(text))) {
			t.Errorf("the schema refuses %s", text)
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if again := good(t, string(shown)).Channels[0].Resolver.Strategy; again != want {
			t.Errorf("%s is shown as\n%s", text, shown)
		}
	}
	if got := good(t, "").Channels[0].Resolver.Strategy; got != (resolve.Strategy{}) {
		t.Errorf("%+v", got)
	}
}
