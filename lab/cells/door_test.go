package cells

import (
	"fmt"
	"strings"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
)

// dnsAddress is where the DNS door of a cell is.
const dnsAddress = "127.0.0.1:5353"

// withDoor is a configuration with a DNS door.
func withDoor(config func(*lab.Scene) string) func(testing.TB, *lab.Scene) string {
	return func(t testing.TB, s *lab.Scene) string {
		t.Helper()
		p := lab.Must(lab.Self(s.Client, lab.WatertightRole, "run", "-c", write(t, s, config(s)), "--dns", dnsAddress).Start(t.Context()))(t)
		if _, err := p.AwaitOutput(t.Context(), "ready: "); err != nil {
			t.Fatalf("%v:\n%s", err, p.Sofar().Text())
		}
		return lab.ProxyAddress
	}
}

// dig asks the door with dig, and gives what it prints.
func dig(t testing.TB, s *lab.Scene, args ...string) internet.Result {
	t.Helper()
	host, port, _ := strings.Cut(dnsAddress, ":")
	r := lab.Run(t, s.Client.Program("dig", append([]string{"@" + host, "-p", port, "+tries=1", "+timeout=10"}, args...)...))
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// told fails the test unless dig printed each of these.
func told(t testing.TB, r internet.Result, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(r.Text(), w) {
			t.Errorf("dig was not told %q:\n%s", w, r.Text())
		}
	}
}

// TestDoor plays what programs ask that resolve by themselves. The way into the network is new; what leaves is held by
// the same capture as everything else.
func TestDoor(t *testing.T) {
	t.Parallel()
	lab.Need(t, "dig")
	for _, via := range transports {
		for _, families := range via.families() {
			play(t, "a name is asked of the channel's resolver/"+via.name+"/"+string(families), lab.Cell{
				Families: families, Start: withDoor(via.config), After: func(t testing.TB, s *lab.Scene) {
					host := other(s, "door")
					for _, how := range []string{"+notcp", "+tcp"} {
						told(t, dig(t, s, host, "TXT", how), "status: NOERROR")
					}
					for _, a := range s.Origin.Addrs() {
						kind := "A"
						if a.Is6() {
							kind = "AAAA"
						}
						told(t, dig(t, s, host, kind, "+notcp"), "status: NOERROR", a.String())
						told(t, dig(t, s, host, kind, "+tcp"), "status: NOERROR", a.String())
					}
					if asked(s.Resolver, host) == 0 {
						t.Error("the channel's resolver was not asked")
					}
					told(t, dig(t, s, "printer.local", "A"), "NXDOMAIN")
					told(t, dig(t, s, "example.com", "ANY"), "HINFO")
				},
			})
		}
	}
	for _, via := range transports {
		play(t, "with its resolver gone nothing is answered and nothing leaves/"+via.name, lab.Cell{
			Start: withDoor(via.config), After: func(t testing.TB, s *lab.Scene) {
				gone(t, s)
				told(t, dig(t, s, other(s, "gone"), "A"), "status: SERVFAIL", "EDE: ", "RESOLVER_UNREACHABLE")
			},
		})
	}
	play(t, "an answer that leads into a private network is refused", lab.Cell{
		Start: withDoor(dot), After: func(t testing.TB, s *lab.Scene) {
			s.Resolver.Handle(dnstest.Zone{other(s, "rebind") + ". 60 A 10.0.0.7"}.Handler())
			told(t, dig(t, s, other(s, "rebind"), "A"), "EDE: ", "POLICY_PRIVATE_TARGET")
		},
	})
	play(t, "D10/a hint that leads into a private network is refused with its record, and any other record is passed on whole", lab.Cell{
		Start: withDoor(dot), After: func(t testing.TB, s *lab.Scene) {
			const ech = "AEX+DQBBpQAgACBsaSY1RTx7Y0Q0RkRERERERERERERERERERERERAAEAAEAAQASY2xvdWRmbGFyZS1lY2guY29tAAA="
			s.Resolver.Handle(dnstest.Zone{
				other(s, "rebind") + ". 60 HTTPS 1 . alpn=h2 ipv4hint=10.0.0.7",
				other(s, "rebind6") + ". 60 HTTPS 1 . alpn=h2 ipv6hint=64:ff9b::a00:7",
				other(s, "whole") + ". 60 HTTPS 1 . alpn=h2,h3 ipv4hint=" + v4(s) + " ech=" + ech + " key65280=\"kept\"",
			}.Handler())
			for _, host := range []string{"rebind", "rebind6"} {
				told(t, dig(t, s, other(s, host), "HTTPS"), "EDE: ", "POLICY_PRIVATE_TARGET")
			}
			told(t, dig(t, s, other(s, "whole"), "HTTPS"), "NOERROR", "alpn=\"h2,h3\"", "ipv4hint="+v4(s), "ech="+ech, "key65280=\"kept\"")
		},
	})
	t.Run("a name takes the channel of its route", doorFollowsTheRoutes)
	t.Run("over TLS, QUIC and HTTPS, with certificates that change", doorOverTLS)
	t.Run("where certificates are demanded, from anywhere", doorWithCertificates)
}

// doorFollowsTheRoutes asks for one name in each of two channels, and for one that no route leads to.
func doorFollowsTheRoutes(t *testing.T) {
	var second *internet.Resolver
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			second = lab.Must(s.AddResolver("dns2.example.net"))(t)
			s.Permitted, s.Asking = append(s.Permitted, second.Peers()...), append(s.Asking, second.Host)
		},
		Start: withDoor(func(s *lab.Scene) string {
			return dot(s) + "  second: {resolver: " + resolver(s, second.DoTURL()) + "}\nroutes:\n" +
				fmt.Sprintf("  - {to: second-%[1]s, channel: second}\n  - {to: never-%[1]s, channel: refuse}\n  - {to: \"*\", channel: direct}\n", s.Canary)
		}),
		After: func(t testing.TB, s *lab.Scene) {
			told(t, dig(t, s, "second-"+s.Canary, "A"), "status: NOERROR")
			told(t, dig(t, s, "_443._tcp.second-"+s.Canary, "TXT"), "status: N")
			if n := s.Resolver.Count("second-"+s.Canary, dnswire.A); n != 0 || second.Count("second-"+s.Canary, dnswire.A) != 1 {
				t.Errorf("the resolver of the other channel was asked %d times", n)
			}
			if strings.Contains(names(s.Resolver), "second-") {
				t.Errorf("the resolver of `direct` saw: %s", names(s.Resolver))
			}
			told(t, dig(t, s, "never-"+s.Canary, "A"), "EDE: ", "POLICY_ROUTE")
			for _, r := range []*internet.Resolver{s.Resolver, second} {
				if strings.Contains(names(r), "never-") {
					t.Errorf("a name that is refused was asked for: %s", names(r))
				}
			}
			told(t, dig(t, s, ".", "NS"), "a.root-servers.net.")
		},
	})
}
