package cells

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/lab/servers"
)

func TestD_TheRightNameTheWrongPath(t *testing.T) {
	t.Parallel()
	for _, scheme := range lab.Curl.Schemes {
		play(t, "D1/connect/"+scheme, lab.Cell{Scheme: scheme, Start: with(doh)})
	}

	for _, families := range internet.AllFamilies() {
		for _, kind := range kinds {
			t.Run("D4/the exit resolves/"+kind.name+"/"+string(families), func(t *testing.T) { sentToTheHop(t, families, kind, "exit") })
			t.Run("D4/the address is sent/"+kind.name+"/"+string(families), func(t *testing.T) { sentToTheHop(t, families, kind, "here") })
		}
	}
	for _, kind := range kinds {
		t.Run("D5/"+kind.name, func(t *testing.T) { resolverThroughTheHop(t, kind) })
	}
	t.Run("D5/a chain of real proxies", chainOfRealProxies)
	t.Run("D6", rulesNeverLookUp)

	for _, families := range internet.AllFamilies() {
		for _, scheme := range []struct{ name, told string }{{"http", "(CONNECT_REFUSED)"}, {"socks5h", "(5)"}} {
			var empty *internet.Host
			play(t, "D7/"+scheme.name+"/"+string(families), lab.Cell{
				Families: families, Scheme: scheme.name, Start: with(dot), Refused: scheme.told,
				Arrange: func(t testing.TB, s *lab.Scene) {
					empty = lab.Must(s.AddHost("empty"))(t)
					lab.Must(0, s.Authority.Publish(s.Canary, empty))(t)
					s.Permitted = append(s.Permitted, empty.Peers(capture.TCP, 443)...)
				},
				After: func(t testing.TB, s *lab.Scene) {
					text := strings.ToLower(call(t, s, s.Canary).Text())
					for _, want := range []string{"proxy-status: ", "error=connection_refused", "(connect_refused)"} {
						if !strings.Contains(text, want) {
							t.Errorf("the client was not told %q: %s", want, text)
						}
					}
				},
			})
		}
	}

	t.Run("D8", neitherSearchListNorHostsFile)

	for _, via := range transports {
		for _, families := range internet.AllFamilies() {
			play(t, "D9/"+string(families)+"/"+via.name, lab.Cell{Families: families, Start: with(via.config), After: func(t testing.TB, s *lab.Scene) {
				for _, server := range []dnswire.Type{dnswire.A, dnswire.AAAA} {
					if s.Resolver.Count(s.Canary, server) != 1 {
						t.Errorf("the channel's resolver was not asked once for %s: %s", server, names(s.Resolver))
					}
				}
			}})
		}
	}
}

// sentToTheHop plays both ways to use a hop: either it gets the name and nobody here resolves it, or it gets an
// address and never the name.
func sentToTheHop(t *testing.T, families internet.Families, k kind, resolve string) {
	far := &farChannel{kind: k}
	c := far.cell(resolve)
	c.Families = families
	c.After = func(t testing.TB, s *lab.Scene) {
		if n := asked(s.Resolver, s.Canary); n > 0 {
			t.Errorf("the resolver below was asked %d times for a name that is not its own", n)
		}
		log := far.hop.log()
		named := slices.Contains(log, s.Canary+":443")
		addressed := slices.ContainsFunc(s.Origin.Addrs(), func(a netip.Addr) bool {
			return slices.Contains(log, netip.AddrPortFrom(a, 443).String())
		})
		if named != (resolve == "exit") || addressed != (resolve == "here") {
			t.Errorf("with `resolve: %s` the hop was asked for %v", resolve, log)
		}
		if n := asked(far.resolver, s.Canary); (n > 0) != (resolve == "here") {
			t.Errorf("with `resolve: %s` the channel's resolver was asked %d times", resolve, n)
		}
	}
	run(t, c)
}

// resolverThroughTheHop makes sure who it is that speaks to the channel's resolver: the hop.
func resolverThroughTheHop(t *testing.T, k kind) {
	far := &farChannel{kind: k}
	c := far.cell("here")
	c.After = func(t testing.TB, s *lab.Scene) {
		log := far.resolver.DoT.Log()
		if len(log) == 0 {
			t.Error("the channel's resolver was never asked")
		}
		for _, q := range log {
			at, err := netip.ParseAddrPort(q.Client.String())
			if err != nil || !far.hop.Has(at.Addr().Unmap()) {
				t.Errorf("the channel's resolver was asked by %v", q.Client)
			}
		}
	}
	run(t, c)
}

// chainOfRealProxies leads through four of them, each with a name. Only the first is looked up and spoken to here.
func chainOfRealProxies(t *testing.T) {
	var last *internet.Resolver
	login := servers.Login{User: "somebody", Password: "pass-word_1"}
	run(t, lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			hops := []func(h *internet.Host){
				func(h *internet.Host) { servers.Microsocks(t, h, login) },
				func(h *internet.Host) { servers.Tinyproxy(t, h, login) },
				func(h *internet.Host) { servers.Dante(t, h) },
				func(h *internet.Host) { servers.Squid(t, h, servers.Login{}) },
			}
			for i, start := range hops {
				h := lab.Must(s.AddHost(fmt.Sprint("hop", i)))(t)
				start(h)
				lab.Must(0, s.Authority.Publish(hopName(s, i), h))(t)
				if i == 0 {
					s.Permitted = append(s.Resolver.Peers(), h.Peers(capture.TCP, servers.PortSOCKS)...)
					s.Readers = h.Peers(capture.TCP, servers.PortSOCKS)
				}
			}
			last = lab.Must(s.AddResolver("dns2.example.net"))(t)
			s.Asking = []*internet.Host{last.Host}
		},
		Start: with(func(s *lab.Scene) string {
			const user = "somebody:pass-word_1@"
			chain := fmt.Sprintf("[%q, %q, %q, %q]", "socks5://"+user+hopName(s, 0)+":1080", "http://"+user+hopName(s, 1)+":3128",
				"socks5://"+hopName(s, 2)+":1080", "http://"+hopName(s, 3)+":3128")
			return direct(s, s.Resolver.DoHURL()) + "  far: {proxy: " + chain + ", resolver: " + resolver(s, last.DoHURL()) + "}\n" +
				"routes:\n  - {to: \"*\", channel: far}\n"
		}),
		After: func(t testing.TB, s *lab.Scene) {
			if n := asked(s.Resolver, hopName(s, 0)); n == 0 {
				t.Error("the first hop's name was not resolved in the channel underneath")
			}
		},
	})
}

func hopName(s *lab.Scene, i int) string { return fmt.Sprintf("hop%d-%s.example.net", i, s.Label) }

// rulesNeverLookUp has rules on addresses before the one that decides, on the name: nobody is asked.
func rulesNeverLookUp(t *testing.T) {
	play(t, "D6/refused after rules on addresses", lab.Cell{
		Start: with(func(s *lab.Scene) string {
			return dot(s) + "routes:\n  - {to: [10.0.0.0/8, \"2001:db8::/32\"], channel: direct}\n  - {to: \"*\", channel: refuse}\n"
		}),
		Refused: "(POLICY_ROUTE)", After: nobodyAsked,
	})
	t.Run("D6/sent by name after rules on addresses", func(t *testing.T) {
		far := &farChannel{kind: kinds[0]}
		run(t, lab.Cell{
			Arrange: func(t testing.TB, s *lab.Scene) {
				far.arrange(t, s)
				s.Asking = []*internet.Host{far.hop.Host}
			},
			Start: with(func(s *lab.Scene) string {
				return strings.Replace(far.config(s, "exit"), "routes:\n", "routes:\n  - {to: [10.0.0.0/8, 151.216.0.0/16, \"::/0\"], channel: direct}\n", 1)
			}),
			After: func(t testing.TB, s *lab.Scene) {
				if n := asked(s.Resolver, s.Canary); n > 0 {
					t.Errorf("a rule asked the resolver %d times", n)
				}
			},
		})
	})
}

// neitherSearchListNorHostsFile gives the program's host a search list, many dots to wait for, and a hosts file that
// leads the canary astray.
func neitherSearchListNorHostsFile(t *testing.T) {
	var astray *internet.Origin
	const list = "corp.example"
	play(t, "D8/of the host", lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			astray = lab.Must(s.AddOrigin("astray", "*."+list))(t)
		},
		Start: func(t testing.TB, s *lab.Scene) string {
			program := lab.Self(s.Client, lab.WatertightRole, "run", "-c", write(t, s, doh(s)))
			program.Resolv = fmt.Sprintf("search %s\noptions ndots:9\nnameserver %s\n", list, s.Client.Nameservers()[0])
			program.Hosts = fmt.Sprintf("%s %s single\n", astray.Addr(), s.Canary)
			program.Env = append(program.Env, "LOCALDOMAIN="+list, "RES_OPTIONS=ndots:9", "HOSTALIASES=/etc/hosts")
			p := lab.Must(program.Start(t.Context()))(t)
			lab.Must(p.AwaitOutput(t.Context(), "ready:"))(t)
			return lab.ProxyAddress
		},
		After: func(t testing.TB, s *lab.Scene) {
			refused(t, s, "single", "DNS_NXDOMAIN")
			refused(t, s, "missing-"+s.Label+".example.net", "DNS_NXDOMAIN")
			if visits := astray.Visits(); len(visits) > 0 {
				t.Errorf("the hosts file was obeyed: %v", visits)
			}
			if text := names(s.Resolver); strings.Contains(text, list) || strings.Contains(text, "single") {
				t.Errorf("the search list was obeyed: %s", text)
			}
		},
	})
}
