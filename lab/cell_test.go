package lab_test

import (
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// nobody is a resolv.conf that leads to an address where nothing listens, and which crosses no link.
const nobody = "nameserver 127.0.0.9\n"

// sealedByHand is a proxy that does not leak, made of what the lab has: the ordinary proxy in a world where its
// resolv.conf names nobody and its hosts file knows the name. It stands for the proxy under test.
func sealedByHand(t testing.TB, s *lab.Scene) string {
	p := lab.Self(s.Client, lab.OrdinaryRole, "proxy", "127.0.0.1:8080")
	p.Resolv = nobody
	p.Hosts = s.Origin.Addr().String() + " " + s.Canary + "\n"
	process := lab.Must(p.Start(t.Context()))(t)
	lab.Must(process.AwaitOutput(t.Context(), "listening"))(t)
	// It asks nobody, so somebody else must have asked the authority.
	lab.Must(s.Resolver.Ask(s.Authority.At(53), query(t, s.Canary)))(t)
	return "127.0.0.1:8080"
}

func TestCell_PassesAProxyThatGivesNothingAway(t *testing.T) {
	for _, families := range internet.AllFamilies() {
		for _, scheme := range lab.Curl.Schemes {
			t.Run(string(families)+"/"+scheme, func(t *testing.T) {
				e := lab.Cell{Families: families, Client: lab.Curl, Scheme: scheme, Start: sealedByHand}.Run(t)
				if !e.Delivered {
					t.Error("the call did not arrive")
				}
			})
		}
	}
}

func TestCell_AcceptsAnExplicitErrorInsteadOfADelivery(t *testing.T) {
	cell := lab.Cell{Families: internet.Dual, Client: lab.Curl, Refused: "502", Start: func(t testing.TB, s *lab.Scene) string {
		p := lab.Self(s.Client, lab.OrdinaryRole, "proxy", "127.0.0.1:8080")
		p.Resolv = nobody // knows no name
		process := lab.Must(p.Start(t.Context()))(t)
		lab.Must(process.AwaitOutput(t.Context(), "listening"))(t)
		return "127.0.0.1:8080"
	}}
	cell.Run(t)
}

func TestScene_SeesEveryKindOfLeakAlone(t *testing.T) {
	udp := func(t *testing.T, s *lab.Scene, to *internet.Host, port uint16, text string) {
		t.Helper()
		conn := lab.Must(s.Client.ListenUDP(0))(t)
		lab.Must(conn.WriteToUDPAddrPort([]byte(text), to.At(port)))(t)
	}
	cases := []struct {
		name, want string
		leak       func(t *testing.T, s *lab.Scene)
	}{
		{"a packet to a stranger", "a packet outside the permitted peers", func(t *testing.T, s *lab.Scene) {
			udp(t, s, s.Authority.Host, 9999, "nothing of interest")
		}},
		{"the permitted host on another port", "a packet outside the permitted peers", func(t *testing.T, s *lab.Scene) {
			udp(t, s, s.Resolver.Host, 8443, "nothing of interest")
		}},
		{"the name to a peer who may not read it", "the name, as text", func(t *testing.T, s *lab.Scene) {
			s.Permitted = append(s.Permitted, s.Authority.Peers(capture.UDP, 9999)...)
			udp(t, s, s.Authority.Host, 9999, "GET "+strings.ToUpper(s.Canary))
		}},
		{"a question to the provider", "the provider was asked", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Client.Ask(s.Authority.At(53), query(t, s.Canary)))(t)
		}},
		{"a question to a resolver on the host itself", "the provider was asked", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Client.Ask(netip.MustParseAddrPort("127.0.0.53:53"), query(t, s.Canary)))(t)
		}},
		{"a question to the resolver that a library assumes", "the name, as", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Client.Ask(netip.MustParseAddrPort("[::1]:53"), query(t, s.Canary)))(t)
		}},
		{"a question by a stranger", "the authority was asked by a stranger", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Origin.Ask(s.Authority.At(53), query(t, s.Canary)))(t)
		}},
		{"a question by a stranger, for a further canary", "the authority was asked by a stranger", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Origin.Ask(s.Authority.At(53), query(t, "second-"+s.Canary)))(t)
		}},
		{"a question by a stranger, with a search list", "the authority was asked by a stranger", func(t *testing.T, s *lab.Scene) {
			lab.Must(s.Origin.Ask(s.Authority.At(53), query(t, s.Canary+".corp.example")))(t)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := lab.NewScene(t, internet.Dual)
			c.leak(t, s)
			leaks := strings.Join(s.Leaks(s.Gather(t, internet.Result{})), "\n")
			if !strings.Contains(leaks, c.want) {
				t.Errorf("not seen: %s; seen:\n%s", c.want, leaks)
			}
		})
	}
}
