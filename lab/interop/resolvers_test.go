package interop

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

// resolver is a kind of resolver that others wrote.
type resolver struct {
	name  string
	start func(t testing.TB, h *internet.Host, cert tls.Certificate, forward netip.AddrPort) *internet.Process
}

func resolvers() []resolver {
	return []resolver{
		{"unbound", servers.Unbound},
		{"knot-resolver", servers.KnotResolver},
		{"dnsdist", servers.DNSDist},
		{"BIND", servers.BIND},
	}
}

// transport is how a resolver is asked.
type transport struct {
	name string
	url  func(h *internet.Host) string
	port uint16
}

func transports() []transport {
	return []transport{
		{"dot", func(h *internet.Host) string { return "tls://" + text(h.Addr()) }, servers.PortDoT},
		{"doh", func(h *internet.Host) string { return "https://" + text(h.Addr()) + "/dns-query" }, servers.PortHTTPS},
	}
}

// upstream is a real resolver in the place of the scene's own.
type upstream struct {
	resolver
	transport
	forward func(s *lab.Scene) netip.AddrPort // nil: to the authority

	host    *internet.Host
	process *internet.Process
}

// arrange starts the resolver on a host of its own, which becomes the only one that may be asked and that may ask.
func (u *upstream) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	u.host = lab.Must(s.AddHost("upstream"))(t)
	u.run(t, s, s.CA)
	s.Permitted = append(u.host.Peers(capture.TCP, u.port), s.Origin.Peers()...)
	s.Asking = []*internet.Host{u.host}
}

// run starts the resolver, with a certificate of this authority.
func (u *upstream) run(t testing.TB, s *lab.Scene, ca *dnstest.CA) {
	t.Helper()
	forward := s.Authority.At(servers.PortDNS)
	if u.forward != nil {
		forward = u.forward(s)
	}
	u.process = u.resolver.start(t, u.host, ca.Issue([]string{"dns.example.net"}, u.host.Addrs()), forward)
}

func (u *upstream) startProxy(t testing.TB, s *lab.Scene) string {
	t.Helper()
	lab.StartWatertight(t, s, lab.DirectConfig(s, u.url(u.host)))
	return lab.ProxyAddress
}

// eachUpstream runs a test for every resolver and transport.
func eachUpstream(t *testing.T, test func(t *testing.T, u *upstream)) {
	t.Helper()
	for _, r := range resolvers() {
		for _, tr := range transports() {
			t.Run(r.name+"/"+tr.name, func(t *testing.T) { test(t, &upstream{resolver: r, transport: tr}) })
		}
	}
}

// must does a step of an arrangement.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kindOfAnswer is something that a resolver can say about a name.
type kindOfAnswer struct {
	name    string
	publish func(t testing.TB, s *lab.Scene)
	refused string
}

func kindsOfAnswers() []kindOfAnswer {
	return []kindOfAnswer{
		{name: "A", publish: func(t testing.TB, s *lab.Scene) {
			must(t, s.Authority.Add(fmt.Sprintf("%s. 60 A %s", s.Canary, s.Origin.Addr4)))
		}},
		{name: "AAAA", publish: func(t testing.TB, s *lab.Scene) {
			must(t, s.Authority.Add(fmt.Sprintf("%s. 60 AAAA %s", s.Canary, s.Origin.Addr6)))
		}},
		{name: "CNAME", publish: func(t testing.TB, s *lab.Scene) {
			must(t, s.Authority.Add(fmt.Sprintf("%s. 60 CNAME alias-%s.%s.", s.Canary, s.Label, lab.Zone)))
		}},
		{name: "large answer", publish: publishLarge},
		{name: "NXDOMAIN", refused: "DNS_NXDOMAIN", publish: func(_ testing.TB, s *lab.Scene) {
			s.Canary = s.Label + ".void.example.net"
		}},
		{name: "NODATA", refused: "DNS_NODATA", publish: func(t testing.TB, s *lab.Scene) {
			must(t, s.Authority.Add(s.Canary+`. 60 TXT "no address here"`))
		}},
	}
}

// hundred gives addresses for a host that has many.
func hundred() []netip.Addr {
	var all []netip.Addr
	for i := range byte(100) {
		all = append(all, netip.AddrFrom4([4]byte{151, 217, 9, 10 + i}))
	}
	return all
}

// publishLarge gives the canary more addresses than a datagram of 1232 octets holds, all of them the origin's.
func publishLarge(t testing.TB, s *lab.Scene) {
	t.Helper()
	h := lab.Must(s.AddHost("large", hundred()...))(t)
	s.Origin = lab.Must(s.OriginOn(h, s.CA.Issue([]string{"*." + lab.Zone}, nil)))(t)
	s.Permitted = append(s.Permitted, s.Origin.Peers()...)
	s.Readers = s.Origin.Peers()
	must(t, s.Authority.Publish(s.Canary, h))
}

func TestResolvers_EveryKindOfAnswerIsUnderstood(t *testing.T) {
	t.Parallel()
	eachUpstream(t, func(t *testing.T, u *upstream) {
		for _, kind := range kindsOfAnswers() {
			t.Run(kind.name, func(t *testing.T) {
				lab.Cell{
					Families: internet.Dual, Client: lab.Curl, Refused: kind.refused, Start: u.startProxy,
					Arrange: func(t testing.TB, s *lab.Scene) {
						u.arrange(t, s)
						kind.publish(t, s)
					},
					After: untrapped,
				}.Run(t)
			})
		}
	})
}

func TestResolvers_AreReachedOverEitherFamily(t *testing.T) {
	for _, families := range []internet.Families{internet.V4, internet.V6} {
		t.Run(string(families), func(t *testing.T) {
			eachUpstream(t, func(t *testing.T, u *upstream) {
				lab.Cell{Families: families, Client: lab.Curl, Arrange: u.arrange, Start: u.startProxy}.Run(t)
			})
		})
	}
}

// The zone is nsd's alone here: the lab's own authority knows nobody under this name.
func TestResolvers_InFrontOfNSDGiveItsRecords(t *testing.T) {
	lab.Curl.Require(t)
	eachUpstream(t, func(t *testing.T, u *upstream) {
		s := lab.NewScene(t, internet.Dual)
		zone := s.Label + ".nsd.example.net"
		s.Canary = "api." + zone
		origin := lab.Must(s.OriginOn(lab.Must(s.AddHost("api", hundred()...))(t), s.CA.Issue([]string{"*." + zone}, nil)))(t)
		s.Origin, s.Readers = origin, origin.Peers() // before arrange, which permits the origin's peers
		var records strings.Builder
		fmt.Fprintf(&records, "api A %s\napi AAAA %s\nonly4 A %s\nonly6 AAAA %s\nalias CNAME api\nempty TXT \"x\"\n",
			origin.Addr4, origin.Addr6, origin.Addr4, origin.Addr6)
		for _, a := range hundred() { // more than nsd puts into a datagram
			fmt.Fprintf(&records, "large A %s\n", a)
		}
		authority := lab.Must(s.AddHost("nsd"))(t)
		servers.NSD(t, authority, zone, records.String())
		u.forward = func(*lab.Scene) netip.AddrPort { return authority.At(servers.PortDNS) }
		u.arrange(t, s)
		u.startProxy(t, s)

		var last internet.Result
		for _, c := range []struct{ name, want string }{
			{"only4", ""},
			{"only6", ""},
			{"alias", ""},
			{"large", ""},
			{"empty", "DNS_NODATA"},
			{"nobody", "DNS_NXDOMAIN"},
			{"api", ""},
		} {
			last = lab.Run(t, lab.Curl.Program(s.Client, lab.Call{
				URL: "https://" + c.name + "." + zone + "/", Proxy: "http://" + lab.ProxyAddress, CAFile: s.CAFile,
			}))
			if c.want == "" && last.Code != 0 || c.want != "" && (last.Code == 0 || !strings.Contains(last.Text(), c.want)) {
				t.Errorf("%s: want %q; curl said (exit code %d):\n%s", c.name, c.want, last.Code, last.Text())
			}
		}
		untrapped(t, s)
		e := s.Gather(t, last)
		for _, leak := range s.Leaks(e) {
			t.Error("LEAK:", leak)
		}
		if !e.Delivered || len(e.Authority) != 0 {
			t.Errorf("delivered: %v; somebody but nsd was asked: %v", e.Delivered, e.Authority)
		}
	})
}

// The connection that was idle is gone; the next look-up opens another.
func TestResolvers_ThatWereRestartedAreUsedAgain(t *testing.T) {
	eachUpstream(t, func(t *testing.T, u *upstream) {
		lab.Cell{
			Families: internet.Dual, Client: lab.Curl, Arrange: u.arrange, Start: u.startProxy, After: untrapped,
			Before: func(t testing.TB, s *lab.Scene) {
				mustReach(t, s, "before")
				lab.Settle(t, s)
				u.process.Kill()
				u.run(t, s, s.CA)
			},
		}.Run(t)
	})
}

func TestResolvers_ThatComeBackWithAnotherCertificateAreNotTrusted(t *testing.T) {
	eachUpstream(t, func(t *testing.T, u *upstream) {
		lab.Cell{
			Families: internet.Dual, Client: lab.Curl, Arrange: u.arrange, Start: u.startProxy, Refused: "RESOLVER_UNTRUSTED",
			Before: func(t testing.TB, s *lab.Scene) {
				mustReach(t, s, "before")
				lab.Settle(t, s)
				u.process.Kill()
				u.run(t, s, dnstest.NewCA())
			},
		}.Run(t)
	})
}

func TestResolvers_ThatStopMeanARefusalUntilTheyAreBack(t *testing.T) {
	eachUpstream(t, func(t *testing.T, u *upstream) {
		lab.Cell{
			Families: internet.Dual, Client: lab.Curl, Arrange: u.arrange, Start: u.startProxy, Refused: "RESOLVER_UNREACHABLE",
			Before: func(t testing.TB, s *lab.Scene) {
				mustReach(t, s, "before")
				lab.Settle(t, s)
				u.process.Kill()
			},
			After: func(t testing.TB, s *lab.Scene) {
				u.run(t, s, s.CA)
				mustReachAgain(t, s, "after")
				untrapped(t, s)
			},
		}.Run(t)
	})
}
