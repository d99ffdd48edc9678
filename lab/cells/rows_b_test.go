package cells

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/name"
	"watertight/stamp"
)

func TestB_FailingOpen(t *testing.T) {
	t.Parallel()
	for _, answer := range []struct {
		id, code string
		handler  dnstest.Handler
	}{
		{"B1/nxdomain", "DNS_NXDOMAIN", dnstest.RCode(3)},
		{"B1/servfail", "DNS_SERVFAIL", dnstest.RCode(2)},
		{"B1/refused", "DNS_SERVFAIL", dnstest.RCode(5)},
		{"B1/nothing found", "DNS_NODATA", dnstest.RCode(0)},
		{"B1/malformed", "DNS_SERVFAIL", dnstest.Malformed},
		{"B1/time-out", "DNS_TIMEOUT", dnstest.Silent},
	} {
		var second *internet.Resolver
		play(t, answer.id, lab.Cell{
			Arrange: func(t testing.TB, s *lab.Scene) {
				second = lab.Must(s.AddResolver("dns2.example.net"))(t)
				s.Permitted = append(s.Permitted, second.Peers()...)
			},
			Start: with(func(s *lab.Scene) string { return direct(s, s.Resolver.DoTURL(), second.DoTURL()) }),
			Before: func(_ testing.TB, s *lab.Scene) {
				s.Resolver.Handle(answer.handler)
				if answer.code == "DNS_TIMEOUT" {
					second.Handle(answer.handler)
				}
			},
			Refused: answer.code,
			After: func(t testing.TB, s *lab.Scene) {
				// Only silence lets the next upstream of the configuration have a try, and that one is silent too.
				if n := asked(second, s.Canary); n > 0 && answer.code != "DNS_TIMEOUT" {
					t.Errorf("the second upstream was asked %d times after an answer that is final", n)
				}
			},
		})
	}

	play(t, "B2/a channel in a route", stillborn(func(s *lab.Scene) string {
		return dot(s) + "routes:\n  - {to: \"*\", channel: dirct}\n"
	}, "watertight.yaml:", "dirct", "direct"))
	play(t, "B2/a channel underneath", stillborn(func(s *lab.Scene) string {
		return dot(s) + "  far: {over: drect, proxy: \"socks5://" + s.Origin.Addr().String() + "\", resolve: exit}\nroutes:\n  - {to: \"*\", channel: far}\n"
	}, "watertight.yaml:", "drect", "direct"))
	play(t, "B2/a preset", stillborn(func(s *lab.Scene) string {
		return "channels:\n  direct: {resolver: {upstreams: [quad8]}}\n"
	}, "watertight.yaml:", "quad8", "quad9"))
	play(t, "B2/a key", stillborn(func(s *lab.Scene) string { return "chanels: {}\n" + dot(s) }, "watertight.yaml:", "chanels", "channels"))

	play(t, "B3/no route matches", lab.Cell{
		Start: with(func(s *lab.Scene) string {
			return dot(s) + "routes:\n  - {to: other.example.net, channel: direct}\n"
		}),
		Refused: "POLICY_ROUTE", After: nobodyAsked,
	})
	play(t, "B3/a route that refuses", lab.Cell{
		Start: with(func(s *lab.Scene) string {
			return dot(s) + "routes:\n  - {to: ." + lab.Zone + ", channel: refuse}\n  - {to: \"*\", channel: direct}\n"
		}),
		Refused: "POLICY_ROUTE", After: nobodyAsked,
	})
	play(t, "B3/no configuration", emptyConfiguration())

	target := lab.Must(stamp.Stamp{Kind: stamp.ODoHTarget, Host: name.Must("dns.example.net:443"), Path: "/dns-query"}.Encode())(t)
	play(t, "B4/a target of ODoH without its relay", stillborn(func(s *lab.Scene) string { return direct(s, target) }, "without a relay"))
	dnscrypt := lab.Must(stamp.Stamp{Kind: stamp.DNSCrypt, Addr: netip.MustParseAddrPort("192.0.2.53:443"), Provider: "2.dnscrypt-cert.example.net"}.Encode())(t)
	play(t, "B4/a stamp of DNSCrypt with what only TLS has", stillborn(func(s *lab.Scene) string { return direct(s, dnscrypt) }, "the key in its stamp"))
	for _, via := range transports {
		if !via.datagrams {
			continue
		}
		for _, kind := range kinds {
			if kind.datagrams() {
				continue
			}
			hop := kind.scheme + "://192.0.2.7:1080"
			play(t, "B4/"+via.name+" through "+kind.name, stillborn(func(s *lab.Scene) string {
				return dot(s) + "  far: {proxy: \"" + hop + "\", resolver: " + resolver(s, via.written(s, "")) + "}\nroutes:\n  - {to: \"*\", channel: far}\n"
			}, "datagrams", hop))
			play(t, "B4/"+via.name+" over a channel through "+kind.name, stillborn(func(s *lab.Scene) string {
				return dot(s) + "  far: {proxy: \"" + hop + "\", resolver: " + resolver(s, s.Resolver.DoTURL()) + "}\n" +
					"  top: {over: far, resolver: " + resolver(s, via.written(s, "")) + "}\nroutes:\n  - {to: \"*\", channel: top}\n"
			}, "datagrams", hop))
		}
	}
	play(t, "B4/a hop of another kind", stillborn(func(s *lab.Scene) string {
		return dot(s) + "  far: {proxy: \"wireguard://" + s.Origin.Addr().String() + "\", resolve: exit}\nroutes:\n  - {to: \"*\", channel: far}\n"
	}, "wireguard"))

	for _, url := range []string{"udp://9.9.9.9", "tcp://9.9.9.9:53", "9.9.9.9", "http://9.9.9.9/dns-query"} {
		play(t, "B5/written as "+url, stillborn(func(s *lab.Scene) string { return direct(s, url) }, "clear", "9.9.9.9"))
	}
	play(t, "B5/plain DNS allowed", stillborn(func(s *lab.Scene) string { return dot(s) + "policy: {plain_dns: allow}\n" }, "plain_dns"))
	for _, via := range transports {
		play(t, "B5/"+via.name+" is gone and port 53 answers", lab.Cell{Start: with(via.config), Before: gone, Refused: "RESOLVER_UNREACHABLE"})
		if !via.tls {
			continue
		}
		play(t, "B5/"+via.name+"/an older TLS", lab.Cell{
			Start: with(via.config), Refused: "RESOLVER_UNTRUSTED",
			Before: func(t testing.TB, s *lab.Scene) {
				swap(t, s, s.CA.Issue(nil, s.Resolver.Certified()), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })
			},
		})
	}
	play(t, "B5/doh/the protocol is not agreed on", lab.Cell{
		Start: with(doh), Refused: "RESOLVER_UNREACHABLE",
		Before: func(t testing.TB, s *lab.Scene) {
			swap(t, s, s.CA.Issue(nil, s.Resolver.Addrs()), func(c *tls.Config) { c.NextProtos = nil })
		},
	})

	t.Run("B7", specialNames)

	play(t, "B8/a captive portal", lab.Cell{
		Start: with(doh), Refused: "RESOLVER_UNREACHABLE",
		Before: func(_ testing.TB, s *lab.Scene) { s.Resolver.Handle(dnstest.Captive) },
	})
	play(t, "B8/a wrong clock", lab.Cell{
		Start: with(dot), Refused: "RESOLVER_UNTRUSTED",
		Before: func(t testing.TB, s *lab.Scene) {
			swap(t, s, s.CA.IssueLeaf(dnstest.Leaf{IPs: s.Resolver.Addrs(), NotBefore: time.Now().Add(24 * time.Hour)}))
		},
	})
	for _, via := range transports {
		play(t, "B8/a clock behind what was known before/"+via.name, behind(via.config))
	}
}

// nobodyAsked fails the test if the resolver was asked for anything.
func nobodyAsked(t testing.TB, s *lab.Scene) {
	t.Helper()
	if all := names(s.Resolver); all != "" {
		t.Errorf("the resolver was asked for: %s", all)
	}
}

// emptyConfiguration is the program without a configuration file: the sealed defaults, with the real addresses of the
// default resolver.
func emptyConfiguration() lab.Cell {
	return lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			quad9 := []netip.Addr{
				netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("149.112.112.112"),
				netip.MustParseAddr("2620:fe::fe"), netip.MustParseAddr("2620:fe::9"),
			}
			h := lab.Must(s.AddHost("quad9", quad9...))(t)
			gone(t, s)
			s.Resolver = lab.Must(s.ResolverOn(h, "dns.quad9.net", s.CA.Issue([]string{"dns.quad9.net"}, h.Addrs())))(t)
			s.Permitted = append(s.Resolver.Peers(), s.Origin.Peers()...)
			s.Asking = []*internet.Host{h}
		},
		Start: func(t testing.TB, s *lab.Scene) string {
			program := lab.Self(s.Client, lab.WatertightRole, "run")
			program.Env = append(program.Env, "SSL_CERT_FILE="+s.CAFile, "SSL_CERT_DIR="+s.Dir)
			p := lab.Must(program.Start(t.Context()))(t)
			lab.Must(p.AwaitOutput(t.Context(), "ready:"))(t)
			return lab.ProxyAddress
		},
	}
}

// specialNames plays names that are never to leave the program: not one packet is spoken because of them.
func specialNames(t *testing.T) {
	cases := []struct{ id, suffix, code string }{
		{"B7/local", ".local", "DNS_NXDOMAIN"},
		{"B7/lan", ".lan", "DNS_NXDOMAIN"},
		{"B7/home", ".home", "DNS_NXDOMAIN"},
		{"B7/corp", ".corp", "DNS_NXDOMAIN"},
		{"B7/internal", ".internal", "DNS_NXDOMAIN"},
		{"B7/home.arpa", ".home.arpa", "DNS_NXDOMAIN"},
		{"B7/single label", "", "DNS_NXDOMAIN"},
		{"B7/onion", ".onion", "DNS_NXDOMAIN"},
		{"B7/alt", ".alt", "DNS_NXDOMAIN"},
		{"B7/test", ".test", "DNS_NXDOMAIN"},
		{"B7/invalid", ".invalid", "DNS_NXDOMAIN"},
		{"B7/localhost", ".localhost", "POLICY_PRIVATE_TARGET"},
		{"B7/canary domain of browsers", ".use-application-dns.net", "DNS_NXDOMAIN"},
		{"B7/private reverse zone", ".10.in-addr.arpa", "DNS_NXDOMAIN"},
		{"B7/service discovery", "._udp.1.1.168.192.in-addr.arpa", "DNS_NXDOMAIN"},
		{"B7/resolver.arpa", ".resolver.arpa", "DNS_NODATA"},
		{"B7/upper case and a dot at the end", ".LOCAL.", "DNS_NXDOMAIN"},
	}
	for _, families := range internet.AllFamilies() {
		t.Run(string(families), func(t *testing.T) {
			run(t, lab.Cell{Families: families, Start: with(dot), After: func(tb testing.TB, s *lab.Scene) {
				for _, c := range cases {
					t.Run(c.id, func(t *testing.T) {
						before := conversed(t, s)
						refused(t, s, s.Label+c.suffix, c.code)
						if after := conversed(t, s); after != before {
							t.Errorf("%d packets were exchanged because of a special name", after-before)
						}
					})
				}
				s.StopPrograms() // what it would do later, it has done by now
				if text := strings.ReplaceAll(names(s.Resolver), s.Canary, ""); strings.TrimSpace(text) != "" {
					tb.Errorf("the resolver was asked for more than the client's call: %s", text)
				}
			}})
		})
	}
	// Where there is no resolver to ask, they are answered all the same: nobody is needed for that.
	play(t, "B7/without a resolver", lab.Cell{
		Start: with(dot), Before: gone, Refused: "RESOLVER_UNREACHABLE",
		After: func(t testing.TB, s *lab.Scene) { refused(t, s, s.Label+".local", "DNS_NXDOMAIN") },
	})
	// Nor is an exit that resolves told of them.
	for _, kind := range kinds {
		t.Run("B7/with an exit that resolves/"+kind.name, func(t *testing.T) {
			far := &farChannel{kind: kind}
			c := far.cell("exit")
			c.After = func(t testing.TB, s *lab.Scene) {
				for _, c := range cases {
					refused(t, s, s.Label+c.suffix, c.code)
				}
				if log := far.hop.log(); !slices.Equal(log, []string{s.Canary + ":443"}) {
					t.Errorf("the hop was asked for %v", log)
				}
			}
			run(t, c)
		})
	}
}
