package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/upstream"
	"watertight/wireguard"
)

// Keys that no tunnel of anybody has.
const (
	keyA    = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
	keyB    = "eEeJ0aVQpTvQZ8HkqDZp2eZNWd1hQmJvPpC0cMqXUVk="
	publicC = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
	publicD = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
)

var wireguardFiles = map[string]string{
	"a.key": keyA + "\n", "b.key": keyB, "psk.key": keyB + "\n", "open.exposed": keyA, "broken.key": "secretsecret", "empty.key": "",
}

func tunnels(t *testing.T, text string) (*Config, Problems) {
	t.Helper()
	c, err := Parse("watertight.yaml", []byte(text), testHost(nil, wireguardFiles))
	var ps Problems
	if err != nil && !errors.As(err, &ps) {
		t.Fatal(err)
	}
	return c, ps
}

// tunnel is a file with one channel `vpn`, whose keys below `wireguard` and `resolver` are given.
func tunnel(wireguard, upstreams string) string {
	return "channels:\n  vpn:\n    wireguard: {private_key_file: a.key, address: [10.2.0.2/32], " + wireguard + "}\n    resolver: {upstreams: [" + upstreams + "]}\nroutes: [{to: \"*\", channel: vpn}]\n"
}

const onePeer = `peers: [{public_key: "` + publicC + `", endpoint: "vpn.example.com:51820", allowed_ips: [0.0.0.0/0]}]`

func TestWireGuard_IsReadWithItsPeers(t *testing.T) {
	c, ps := tunnels(t, `
channels:
  vpn:
    over: direct
    wireguard:
      private_key_file: a.key
      address: [10.2.0.2/24, "fd00:2::2"]
      mtu: 1300
      dns_over_tunnel: true
      peers:
        - {public_key: "`+publicC+`", endpoint: "vpn.example.com:51820", allowed_ips: [0.0.0.0/0, "::/0"], keepalive: 25s}
        - {public_key: "`+publicD+`", preshared_key_file: psk.key, endpoint: "[2001:db8::1]:7", allowed_ips: 10.9.0.0/16}
    resolver: {upstreams: [udp://10.2.0.1, "udp://[fd00:2::1]:5300", tls://9.9.9.9]}
routes: [{to: "*", channel: vpn}]
`)
	if ps != nil {
		t.Fatal(ps)
	}
	ch, _ := c.Channel("vpn")
	w := ch.WireGuard
	if w == nil {
		t.Fatal("it has no tunnel")
	}
	secret, _ := wireguard.ParsePrivateKey(keyA)
	shared, _ := wireguard.ParsePresharedKey(keyB)
	got := w.Tunnel
	if got.PrivateKey != secret || !got.DNSOverTunnel || got.MTU != 1300 ||
		!slices.Equal(got.Addresses, []netip.Addr{netip.MustParseAddr("10.2.0.2"), netip.MustParseAddr("fd00:2::2")}) {
		t.Errorf("got %+v", got)
	}
	if len(got.Peers) != 2 {
		t.Fatalf("it has %d peers", len(got.Peers))
	}
	one, two := got.Peers[0], got.Peers[1]
	if one.PublicKey.String() != publicC || one.Endpoint.String() != "vpn.example.com:51820" || one.Keepalive != 25*time.Second || len(one.AllowedIPs) != 2 || one.PresharedKey != (wireguard.PresharedKey{}) {
		t.Errorf("the first peer is %+v", one)
	}
	if two.PublicKey.String() != publicD || two.PresharedKey != shared || two.Keepalive != 0 || two.AllowedIPs[0] != netip.MustParsePrefix("10.9.0.0/16") {
		t.Errorf("the second peer is %+v", two)
	}
	if u := ch.Resolver.Upstreams; u[0].Kind != upstream.Plain || u[0].Addrs[0] != netip.MustParseAddrPort("10.2.0.1:53") || u[1].Addrs[0] != netip.MustParseAddrPort("[fd00:2::1]:5300") || u[2].Kind != upstream.DoT {
		t.Errorf("the upstreams are %+v", u)
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0].What, "clear text") {
		t.Errorf("the warnings are %v", c.Warnings)
	}
}

func TestWireGuard_IsShownWithoutItsKeysAndCanBeLoadedAgain(t *testing.T) {
	c, ps := tunnels(t, tunnel(strings.Replace(onePeer, "endpoint", "preshared_key_file: psk.key, endpoint", 1), "tls://9.9.9.9"))
	if ps != nil {
		t.Fatal(ps)
	}
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{keyA, keyB} {
		if strings.Contains(string(shown), secret) {
			t.Errorf("a key is shown:\n%s", shown)
		}
	}
	for _, want := range []string{"private_key_file: a.key", "preshared_key_file: psk.key", publicC, "vpn.example.com:51820", "0.0.0.0/0", "10.2.0.2/32", "mtu: 1420", "dns_over_tunnel: false", "keepalive: 0s"} {
		if !strings.Contains(string(shown), want) {
			t.Errorf("%q is not in\n%s", want, shown)
		}
	}
	again, ps := tunnels(t, string(shown))
	if ps != nil {
		t.Fatal(ps)
	}
	twice, _ := again.Show()
	if string(twice) != string(shown) {
		t.Errorf("it says\n%s\nand then\n%s", shown, twice)
	}
}

func TestWireGuard_AKeyThatOthersMayReadIsWarnedOf(t *testing.T) {
	c, ps := tunnels(t, strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "a.key", "open.exposed", 1))
	if ps != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Error(), "chmod 600 open.exposed") {
		t.Errorf("got %v, and the warnings %v", ps, c.Warnings)
	}
}

func TestWireGuard_NothingOfAKeyFileIsTold(t *testing.T) {
	for _, file := range []string{"broken.key", "empty.key", "none.key"} {
		_, ps := tunnels(t, strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "a.key", file, 1))
		if len(ps) != 1 || !strings.Contains(ps[0].Error(), file) || strings.Contains(ps[0].Error(), "secretsecret") {
			t.Errorf("%s: %v", file, ps)
		}
	}
}

func TestPlainDNS_IsForTheResolverOfATunnelThatAsksForItAndForNobodyElse(t *testing.T) {
	const peers = onePeer
	for what, text := range map[string]string{
		"a tunnel that does not ask for it": tunnel(peers, "udp://10.2.0.1"),
		"direct":                            "channels: {direct: {resolver: {upstreams: [udp://10.2.0.1]}}}",
		"a channel over the tunnel": strings.Replace(tunnel("dns_over_tunnel: true, "+peers, "udp://10.2.0.1"), "routes:",
			"  above: {over: vpn, resolver: {upstreams: [udp://10.2.0.1]}}\nroutes:", 1) + "  #\n",
		"a proxy over the tunnel": strings.Replace(tunnel("dns_over_tunnel: true, "+peers, "udp://10.2.0.1"), "routes:",
			"  above: {over: vpn, proxy: \"socks5://192.0.2.1\", resolver: {upstreams: [udp://10.2.0.1]}}\nroutes:", 1),
		"tcp in the tunnel":    tunnel("dns_over_tunnel: true, "+peers, "tcp://10.2.0.1"),
		"a bare address in it": tunnel("dns_over_tunnel: true, "+peers, "10.2.0.1"),
		"http in it":           tunnel("dns_over_tunnel: true, "+peers, "http://10.2.0.1/dns-query"),
		"a map in another":     "channels: {direct: {resolver: {upstreams: [{url: udp://10.2.0.1}]}}}",
	} {
		text = strings.Replace(text, "routes: [{to: \"*\", channel: vpn}]", "routes: [{to: a.example.com, channel: above}, {to: \"*\", channel: vpn}]", map[bool]int{true: 1}[strings.Contains(text, "above")])
		_, ps := tunnels(t, text)
		if len(ps) != 1 || !strings.Contains(ps[0].Error(), "clear text") && !strings.Contains(ps[0].Error(), "not encrypted") {
			t.Errorf("%s: %v", what, ps)
		}
	}
	if _, ps := tunnels(t, tunnel(peers, "udp://10.2.0.1")); len(ps) != 1 || !strings.Contains(ps[0].Mend, "dns_over_tunnel") {
		t.Errorf("the mend is not told: %v", ps)
	}
}

func TestPlainDNS_InATunnelHasAnAddressAndNothingToCompare(t *testing.T) {
	for text, want := range map[string]string{
		"udp://dns.example.com":                                    "found by no name",
		"udp://10.2.0.1/dns-query":                                 "nothing behind",
		"udp://10.2.0.1:0":                                         "port",
		"udp://0.0.0.0":                                            "no server has the address",
		"udp://u@10.2.0.1":                                         "no user",
		"{url: udp://10.2.0.1, name: dns.example.com}":             "`name`",
		"{url: udp://10.2.0.1, ca: ca.pem}":                        "`ca`",
		"{url: udp://10.2.0.1, addresses: [10.2.0.1]}":             "address already",
		"{url: \"udp://10.2.0.1\", ech: \"AEX+DQBB\"}":             "`ech`",
		"{url: udp://10.2.0.1, relay: \"sdns://gQ8xOTIuMC4yLjE\"}": "`relay`",
	} {
		_, ps := tunnels(t, tunnel("dns_over_tunnel: true, "+onePeer, text))
		if len(ps) != 1 || !strings.Contains(ps[0].Error(), want) {
			t.Errorf("%s: want %q in %v", text, want, ps)
		}
	}
}

func TestWireGuard_WhatCouldNotWorkIsRefused(t *testing.T) {
	twoPeers := func(second string) string {
		return `peers: [{public_key: "` + publicC + `", endpoint: "192.0.2.1:1", allowed_ips: [0.0.0.0/0]}, {public_key: "` + second + `", endpoint: "192.0.2.2:1", allowed_ips: [0.0.0.0/0]}]`
	}
	own := "xxx"
	if k, err := wireguard.ParsePrivateKey(keyA); err == nil {
		if public, err := k.Public(); err == nil {
			own = public.String()
		}
	}
	for want, text := range map[string]string{
		"port 53, on which names": tunnel(strings.Replace(onePeer, ":51820", ":53", 1), "tls://9.9.9.9"),
		"is there twice":          tunnel(twoPeers(publicD), "tls://9.9.9.9"),
		"that of another peer":    tunnel(twoPeers(publicC), "tls://9.9.9.9"),
		"or of this end":          tunnel(strings.Replace(onePeer, publicC, own, 1), "tls://9.9.9.9"),
		"1280 to 9000":            strings.Replace(tunnel("mtu: 1000, "+onePeer, "tls://9.9.9.9"), "10.2.0.2/32", "10.2.0.2, \"fd00::2\"", 1),
		"no peer of the tunnel":   tunnel(strings.Replace(onePeer, "0.0.0.0/0", "10.0.0.0/8", 1), "tls://9.9.9.9"),
		"carries connections":     strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "  vpn:\n", "  below: {proxy: \"http://192.0.2.1:3128\", resolver: {upstreams: [tls://9.9.9.9]}}\n  vpn:\n    over: below\n", 1),
		"nobody could look up":    strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "  vpn:\n", "  below: {proxy: \"socks5://192.0.2.1\", resolve: exit}\n  vpn:\n    over: below\n", 1),
		"the same private key":    strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "routes: [", "  twin: {wireguard: {private_key_file: a.key, address: 10.2.0.3, "+onePeer+"}, resolver: {upstreams: [tls://9.9.9.9]}}\nroutes: [{to: a.example.com, channel: twin}, ", 1),
		"needs a proxy":           strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "    resolver: {upstreams: [tls://9.9.9.9]}", "    resolve: exit", 1),
		"a channel has one way":   strings.Replace(tunnel(onePeer, "tls://9.9.9.9"), "  vpn:\n", "  vpn:\n    proxy: socks5://192.0.2.1\n", 1),
		"whole number of second":  tunnel(strings.Replace(onePeer, "endpoint", "keepalive: 1500ms, endpoint", 1), "tls://9.9.9.9"),
	} {
		_, ps := tunnels(t, text)
		found := slices.ContainsFunc(ps, func(p Problem) bool { return strings.Contains(p.Error(), want) })
		if !found {
			t.Errorf("want %q in %v\nof\n%s", want, ps, text)
		}
	}
}

func TestWireGuard_GoesThroughWhatTakesDatagramsInAConnection(t *testing.T) {
	over := func(channels string) string {
		return strings.Replace(tunnel("mtu: 1280, "+onePeer, "tls://9.9.9.9"), "  vpn:\n", channels+"  vpn:\n    over: below\n", 1)
	}
	const resolver = ", resolver: {upstreams: [tls://9.9.9.9]}}\n"
	for want, text := range map[string]string{
		"":                              over("  below: {proxy: [\"http://192.0.2.1:3128\", \"h2://192.0.2.2\"]" + resolver),
		"192.0.2.1:3128 carries connec": over("  below: {proxy: [\"h2://192.0.2.2\", \"http://192.0.2.1:3128\"]" + resolver),
		// The last hop counts, whichever channel it is of.
		"leave room for 1300": over("  ground: {proxy: \"h2://192.0.2.2\"" + resolver + "  below: {over: ground, proxy: \"h3://192.0.2.3\"" + resolver),
	} {
		_, ps := tunnels(t, text)
		found := slices.ContainsFunc(ps, func(p Problem) bool { return strings.Contains(p.Error(), want) })
		if want == "" && len(ps) > 0 || want != "" && !found {
			t.Errorf("want %q in %v\nof\n%s", want, ps, text)
		}
	}
}

func TestWireGuard_TellsNoProxyUnderneathOfACountry(t *testing.T) {
	_, ps := tunnels(t, `
channels:
  exits: {proxy: "socks5://acme[-cc-{country}]:hunter2@192.0.2.7", resolver: {upstreams: [quad9]}}
  vpn:
    over: exits
    wireguard: {private_key_file: a.key, mtu: 1280, address: [10.2.0.2/32], `+onePeer+`}
    resolver: {upstreams: [quad9]}
routes: [{to: "*", channel: vpn, country: de}]
`)
	wantOne(t, ps, 8, 43, "`vpn` has no proxy that is told a country")
}
