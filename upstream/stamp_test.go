package upstream_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"watertight/lab/dnstest"
	"watertight/name"
	"watertight/stamp"
	"watertight/upstream"
)

func encode(t testing.TB, s stamp.Stamp) string {
	t.Helper()
	text, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhatAStampSaysIsInTheUpstream(t *testing.T) {
	hash := [32]byte{1, 2, 3}
	bootstrap := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")}
	known := build(t, upstream.Spec{URL: "tls://dns.google"}).Addrs
	for _, c := range []struct {
		stamp     stamp.Stamp
		addresses []string
		want      upstream.Upstream
	}{
		{
			stamp.Stamp{
				Kind: stamp.DoH, Addr: netip.MustParseAddrPort("192.0.2.1:8443"), Host: name.Must("dns.example.net:8443"), Path: "/q%2f",
				Hashes: [][32]byte{hash}, Bootstraps: bootstrap,
			},
			nil,
			upstream.Upstream{
				Kind: upstream.DoH, Host: "dns.example.net:8443", Path: "/q%2f", ServerName: "dns.example.net",
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:8443")}, Hashes: [][32]byte{hash},
			},
		},
		{
			stamp.Stamp{Kind: stamp.DoT, Addr: netip.MustParseAddrPort("[2001:db8::1]:853"), Host: name.Must("[2001:db8::1]:853")},
			nil,
			upstream.Upstream{
				Kind: upstream.DoT, Host: "[2001:db8::1]", ServerName: "2001:db8::1",
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::1]:853")},
			},
		},
		{
			stamp.Stamp{Kind: stamp.DoQ, Host: name.Must("dns.example.net:853"), Bootstraps: bootstrap},
			[]string{"192.0.2.7"},
			upstream.Upstream{
				Kind: upstream.DoQ, Host: "dns.example.net", ServerName: "dns.example.net",
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:853")},
			},
		},
		{
			stamp.Stamp{Kind: stamp.DoT, Host: name.Must("dns.google:853")},
			nil,
			upstream.Upstream{Kind: upstream.DoT, Host: "dns.google", ServerName: "dns.google", Addrs: known},
		},
		{
			stamp.Stamp{Kind: stamp.DoT, Host: name.Must("192.0.2.9:853")},
			nil,
			upstream.Upstream{
				Kind: upstream.DoT, Host: "192.0.2.9", ServerName: "192.0.2.9",
				Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:853")},
			},
		},
	} {
		text := encode(t, c.stamp)
		c.want.Text = text
		if got := build(t, upstream.Spec{URL: text, Addresses: c.addresses}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\n got %+v\nwant %+v", c.stamp.Kind, got, c.want)
		}
	}
}

func TestAStampTakesPinsInAddition(t *testing.T) {
	text := encode(t, stamp.Stamp{Kind: stamp.DoT, Host: name.Must("192.0.2.9:853"), Hashes: [][32]byte{{1}}})
	u := build(t, upstream.Spec{URL: text, Pins: []string{dnstest.NewCA().Pin()}})
	if len(u.Pins) != 1 || len(u.Hashes) != 1 {
		t.Errorf("%+v", u)
	}
}

const quad9Crypt = "sdns://AQMAAAAAAAAADDkuOS45Ljk6ODQ0MyBnyEe4yHWM0SAkVUO-dWdG3zTfHYTAC4xHA2jfgh2GPhkyLmRuc2NyeXB0LWNlcnQucXVhZDkubmV0"

func TestAStampOfDNSCryptIsAnUpstream_BehindARelayWhereThereIsOne(t *testing.T) {
	quad9, relay := netip.MustParseAddrPort("9.9.9.9:8443"), netip.MustParseAddrPort("192.0.2.1:443")
	direct := build(t, upstream.Spec{URL: quad9Crypt})
	st, err := stamp.Parse(quad9Crypt)
	if err != nil {
		t.Fatal(err)
	}
	want := upstream.Upstream{
		Text: quad9Crypt, Kind: upstream.DNSCrypt, Host: "9.9.9.9:8443", ServerName: "2.dnscrypt-cert.quad9.net",
		PublicKey: st.PublicKey, Addrs: []netip.AddrPort{quad9},
	}
	if !reflect.DeepEqual(direct, want) {
		t.Errorf("got %+v\nwant %+v", direct, want)
	}
	behind := build(t, upstream.Spec{URL: quad9Crypt, Relay: encode(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: relay})})
	want.Relay, want.Behind, want.Addrs = "192.0.2.1", quad9, []netip.AddrPort{relay}
	if !reflect.DeepEqual(behind, want) {
		t.Errorf("got %+v\nwant %+v", behind, want)
	}
}

func TestWhatDNSCryptCannotHonourIsRefused(t *testing.T) {
	at := func(s string) string {
		return encode(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: netip.MustParseAddrPort(s)})
	}
	crypt := func(addr, provider string) string {
		return encode(t, stamp.Stamp{Kind: stamp.DNSCrypt, Addr: netip.MustParseAddrPort(addr), Provider: provider})
	}
	for want, spec := range map[string]upstream.Spec{
		"pins: ":                      {URL: quad9Crypt, Pins: []string{dnstest.NewCA().Pin()}},
		"ca: ":                        {URL: quad9Crypt, CA: caFile(t, dnstest.NewCA())},
		"name: ":                      {URL: quad9Crypt, Name: "x.example"},
		"addresses: ":                 {URL: quad9Crypt, Addresses: []string{"192.0.2.1"}},
		"url: port 5353 is for names": {URL: crypt("192.0.2.1:5353", "2.dnscrypt-cert.x.example")},
		"url: port 53 is for names":   {URL: crypt("192.0.2.1:53", "2.dnscrypt-cert.x.example")},
		"url: dnscrypt: not the name of a provider":                         {URL: crypt("192.0.2.1:443", "x.example")},
		"relay: port 53 is for names":                                       {URL: quad9Crypt, Relay: at("192.0.2.1:53")},
		"relay: the relay and the resolver are one server":                  {URL: quad9Crypt, Relay: at("9.9.9.9:8443")},
		"relay: not a DNS stamp":                                            {URL: quad9Crypt, Relay: "192.0.2.1"},
		"relay: the stamp is of the kind DNSCrypt;":                         {URL: quad9Crypt, Relay: quad9Crypt},
		"relay: DNS over TLS goes through no relay; leave `relay` out":      {URL: "tls://192.0.2.1", Relay: at("192.0.2.1:443")},
		"url: the stamp is of a relay (DNSCrypt relay), and a relay answer": {URL: at("192.0.2.1:443")},
	} {
		if _, err := spec.Build(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func odohTarget(t testing.TB, host string) string {
	return encode(t, stamp.Stamp{Kind: stamp.ODoHTarget, Host: name.Must(host), Path: "/dns-query"})
}

func TestATargetOfODoHIsAnUpstreamBehindItsRelay(t *testing.T) {
	hash, ca := [32]byte{1, 2, 3}, dnstest.NewCA()
	for _, c := range []struct {
		at        netip.AddrPort
		addresses []string
		addrs     string
	}{
		{netip.MustParseAddrPort("192.0.2.1:8443"), nil, "[192.0.2.1:8443]"},
		{netip.AddrPort{}, []string{"192.0.2.2", "2001:db8::2"}, "[192.0.2.2:8443 [2001:db8::2]:8443]"},
	} {
		url := odohTarget(t, "target.example.net:4443")
		u := build(t, upstream.Spec{
			URL: url, Addresses: c.addresses, Pins: []string{ca.Pin()}, CA: caFile(t, ca),
			Relay: encode(t, stamp.Stamp{
				Kind: stamp.ODoHRelay, Addr: c.at, Host: name.Must("relay.example.net:8443"), Path: "/proxy", Hashes: [][32]byte{hash},
				Bootstraps: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
			}),
		})
		if fmt.Sprint(u.Addrs) != c.addrs || len(u.Pins) != 1 || len(u.CA) != 1 {
			t.Errorf("the relay is at %v: %d pins, %d authorities", u.Addrs, len(u.Pins), len(u.CA))
		}
		want := upstream.Upstream{
			Text: url, Kind: upstream.ODoH, Host: "target.example.net:4443", TargetPath: "/dns-query",
			Relay: "relay.example.net:8443", Path: "/proxy", ServerName: "relay.example.net", Hashes: [][32]byte{hash},
			Addrs: u.Addrs, Pins: u.Pins, CA: u.CA,
		}
		if !reflect.DeepEqual(u, want) {
			t.Errorf("got %+v\nwant %+v", u, want)
		}
	}
}

func TestODoHWithoutAnotherHostInBetweenIsRefusedWithTheReason(t *testing.T) {
	target := odohTarget(t, "target.example.net:443")
	relay := func(at, host string) string {
		s := stamp.Stamp{Kind: stamp.ODoHRelay, Host: name.Must(host), Path: "/proxy"}
		if at != "" {
			s.Addr = netip.MustParseAddrPort(at)
		}
		return encode(t, s)
	}
	placed := relay("192.0.2.1:443", "relay.example.net:443")
	for _, c := range []struct {
		spec upstream.Spec
		want string
	}{
		{upstream.Spec{URL: target}, "relay: a target of ODoH that is asked without a relay learns who asks for what; give the stamp of an ODoH relay as `relay`"},
		{upstream.Spec{URL: target, Addresses: []string{"192.0.2.1"}}, "relay: a target of ODoH that is asked without a relay"},
		{upstream.Spec{URL: target, Relay: relay("192.0.2.1:443", "target.example.net:443")}, "relay: the relay and the target are one host"},
		{upstream.Spec{URL: target, Relay: relay("192.0.2.1:8443", "target.example.net:8443")}, "relay: the relay and the target are one host"},
		{upstream.Spec{URL: odohTarget(t, "192.0.2.1:4443"), Relay: placed}, "relay: the relay and the target are one host"},
		{upstream.Spec{URL: target, Relay: target}, "relay: the stamp is of the kind ODoH target; ODoH goes through one of the kind ODoH relay"},
		{upstream.Spec{URL: target, Relay: encode(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: netip.MustParseAddrPort("192.0.2.1:443")})}, "relay: the stamp is of the kind DNSCrypt relay; ODoH goes"},
		{upstream.Spec{URL: quad9Crypt, Relay: placed}, "relay: the stamp is of the kind ODoH relay; DNSCrypt goes"},
		{upstream.Spec{URL: target, Relay: relay("", "relay.example.net:53")}, "relay: port 53"},
		{upstream.Spec{URL: target, Relay: relay("", "relay.example.net:443")}, "addresses: relay.example.net is a name"},
		{upstream.Spec{URL: target, Relay: placed, Addresses: []string{"192.0.2.2"}}, "addresses: the stamp has the address 192.0.2.1 already"},
		{upstream.Spec{URL: target, Relay: placed, Name: "other.example"}, "name: a stamp says whom to expect by itself"},
		{upstream.Spec{URL: "odoh://target.example.net"}, "url: ODoH has no URL; write its stamp"},
	} {
		if _, err := c.spec.Build(); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
	if host, ok := (upstream.Spec{URL: target, Relay: relay("", "relay.example.net:443")}).Host(); !ok || host != "relay.example.net" {
		t.Errorf("the host that needs addresses is %q, %v", host, ok)
	}
	for _, s := range []upstream.Spec{{URL: target}, {URL: target, Relay: placed}} {
		if host, ok := s.Host(); ok {
			t.Errorf("%s needs addresses", host)
		}
	}
}

func TestStampsThatAreRefusedWithTheReason(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:443")
	placed := stamp.Stamp{Kind: stamp.DoT, Addr: netip.MustParseAddrPort("192.0.2.1:853"), Host: name.Must("dns.example.net:853")}
	bare := stamp.Stamp{
		Kind: stamp.DoT, Host: name.Must("dns.example.net:853"), Bootstraps: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53")},
	}
	for _, c := range []struct {
		spec upstream.Spec
		want string
	}{
		{upstream.Spec{URL: encode(t, stamp.Stamp{Kind: stamp.Plain, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")})}, "url: the stamp leads to plain DNS, names would travel in clear text; write tls://[2001:db8::1]"},
		{upstream.Spec{URL: encode(t, stamp.Stamp{Kind: stamp.DNSCryptRelay, Addr: at})}, "url: the stamp is of a relay (DNSCrypt relay)"},
		{upstream.Spec{URL: encode(t, stamp.Stamp{Kind: stamp.ODoHRelay, Addr: at, Host: name.Must("relay.example.net:443"), Path: "/p"})}, "url: the stamp is of a relay (ODoH relay)"},
		{upstream.Spec{URL: encode(t, stamp.Stamp{Kind: stamp.DoT, Host: name.Must("192.0.2.1:53")})}, "url: port 53"},
		{upstream.Spec{URL: encode(t, bare)}, "addresses: dns.example.net is a name"},
		{upstream.Spec{URL: encode(t, placed), Addresses: []string{"192.0.2.2"}}, "addresses: the stamp has the address 192.0.2.1 already"},
		{upstream.Spec{URL: encode(t, placed), Name: "other.example"}, "name: a stamp says whom to expect by itself"},
		{upstream.Spec{URL: "sdns://AA"}, "url: not a DNS stamp that can be used"},
		{upstream.Spec{URL: "SDNS://user:secret@AA"}, "url: an upstream has no user and password"},
		{upstream.Spec{URL: "sdns://" + strings.Repeat("A", 5000)}, "url: "},
	} {
		_, err := c.spec.Build()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q shows the password", err)
		}
		if plain := strings.Contains(c.want, "plain DNS,"); plain != errors.Is(err, upstream.ErrPlain) {
			t.Errorf("%v: ErrPlain is %v", err, !plain)
		}
	}
	if host, ok := (upstream.Spec{URL: encode(t, bare)}).Host(); !ok || host != "dns.example.net" {
		t.Errorf("the host that needs addresses is %q, %v", host, ok)
	}
	if _, ok := (upstream.Spec{URL: encode(t, placed)}).Host(); ok {
		t.Error("a stamp with an address needs none")
	}
}
