package upstream_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/upstream"
)

func TestPlainDNSIsAnUpstreamOfATunnelAndOfNothingElse(t *testing.T) {
	for text, at := range map[string]string{
		"udp://10.2.0.1": "10.2.0.1:53", "UDP://10.2.0.1/": "10.2.0.1:53", "udp://10.2.0.1:5300": "10.2.0.1:5300", "udp://[fd00::1]": "[fd00::1]:53",
	} {
		u, err := upstream.Spec{URL: text, Tunnel: true}.Build()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if u.Kind != upstream.Plain || !u.Kind.Tunnel() || len(u.Addrs) != 1 || u.Addrs[0] != netip.MustParseAddrPort(at) || u.Named.IsValid() {
			t.Errorf("%s: got %+v", text, u)
		}
		if err := u.Validate(); err != nil {
			t.Error(err)
		}
		for _, s := range []upstream.Spec{{URL: text}, {URL: text, Below: true}, {URL: text, Addresses: []string{"10.2.0.1"}}} {
			if _, err := s.Build(); !errors.Is(err, upstream.ErrPlain) {
				t.Errorf("%s outside a tunnel: %v", text, err)
			}
		}
	}
	for _, text := range []string{"udp://dns.example.com", "udp://10.2.0.1/x", "udp://10.2.0.1?x", "udp://10.2.0.1#x", "udp://u:p@10.2.0.1", "udp://10.2.0.1:0", "udp://10.2.0.1:", "udp://", "udp://0.0.0.0", "udp://224.0.0.1"} {
		if u, err := (upstream.Spec{URL: text, Tunnel: true}).Build(); err == nil {
			t.Errorf("%s: got %+v", text, u)
		}
	}
	for _, text := range []string{"tcp://10.2.0.1", "dns://10.2.0.1", "10.2.0.1", "10.2.0.1:53", "http://10.2.0.1/dns-query"} {
		if _, err := (upstream.Spec{URL: text, Tunnel: true}).Build(); !errors.Is(err, upstream.ErrPlain) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if slices.Contains(upstream.Kinds(), upstream.Plain) {
		t.Error("plain DNS is among the kinds that any channel may ask")
	}
}

func TestPlainDNSHasNothingThatACertificateCouldBeComparedWith(t *testing.T) {
	for field, s := range map[string]upstream.Spec{
		"pins": {Pins: []string{"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}, "ca": {CA: "ca.pem"}, "name": {Name: "dns.example.com"}, "ech": {ECH: "AAAA"}, "relay": {Relay: "sdns://gQ0xOTIuMC4yLjc6NDQz"},
	} {
		s.URL, s.Tunnel = "udp://10.2.0.1", true
		if _, err := s.Build(); err == nil || !strings.Contains(err.Error(), "leave `"+field+"` out") {
			t.Errorf("%s: %v", field, err)
		}
	}
}
