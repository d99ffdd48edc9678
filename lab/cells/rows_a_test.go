package cells

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"watertight/dnswire"
	"watertight/lab"
	"watertight/lab/dnstest"
	"watertight/lab/internet"
	"watertight/name"
	"watertight/socks"
)

func TestA_TheResolversAndTheHopsOwnNames(t *testing.T) {
	t.Parallel()
	named := func(s *lab.Scene) string { return "tls://" + s.Resolver.Name }
	play(t, "A1/a name without an address", stillborn(func(s *lab.Scene) string { return direct(s, named(s)) },
		"dns.example.net is given by its name", "write its addresses"))
	play(t, "A1/a name with its address", lab.Cell{Start: with(func(s *lab.Scene) string {
		return direct(s, fmt.Sprintf("{url: %q, addresses: [%q], ca: %q}", named(s), s.Resolver.Addr(), s.CAFile))
	})})

	for _, families := range internet.AllFamilies() {
		for _, url := range []string{"tls://dns2.example.net", "https://dns2.example.net/dns-query"} {
			t.Run("A1/a name in a channel over another/"+string(families)+"/"+url[:3], func(t *testing.T) {
				far := &farChannel{kind: kinds[0], named: url}
				c := far.cell("here")
				c.Families = families
				c.After = func(t testing.TB, s *lab.Scene) {
					if asked(s.Resolver, "dns2.example.net") == 0 || asked(far.resolver, "dns2.example.net") > 0 {
						t.Errorf("the resolver underneath was asked for: %s; and itself: %s", names(s.Resolver), names(far.resolver))
					}
				}
				run(t, c)
			})
		}
	}

	// The provider answers whatever it is asked, so a last resort would work well here.
	play(t, "A2", lab.Cell{Start: with(dot), Refused: "RESOLVER_UNREACHABLE", Before: gone})
	play(t, "A3", lab.Cell{Start: with(func(s *lab.Scene) string {
		return direct(s, fmt.Sprintf("{url: %q, addresses: [%q], ca: %q}", "https://dns.example.net/dns-query", s.Resolver.Addr(), s.CAFile))
	})})

	t.Run("A4", everyConsumerOfTheResolver)

	for _, families := range internet.AllFamilies() {
		for _, kind := range kinds {
			t.Run("A5/"+string(families)+"/"+kind.name, func(t *testing.T) {
				far := &farChannel{kind: kind}
				c := far.cell("here")
				c.Families = families
				run(t, c)
			})
		}
	}
	t.Run("A5/the hop does not exist", func(t *testing.T) {
		far := &farChannel{kind: kinds[0], missing: true}
		c := far.cell("exit") // so that the hop is dialled for the client and not for the resolver
		c.Refused = "HOP_REFUSED"
		run(t, c)
	})

	play(t, "A6", lab.Cell{Start: with(dot), After: func(t testing.TB, s *lab.Scene) {
		for _, kind := range []dnswire.Type{dnswire.HTTPS, dnswire.SRV, dnswire.TXT, dnswire.PTR} {
			lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "resolve", s.Canary, kind.String(), "-c", s.Dir+"/watertight.yaml"))
			if n := s.Resolver.DoT.Count(s.Canary, kind); n != 1 {
				t.Errorf("the channel's resolver was asked %d times for %s", n, kind)
			}
		}
	}})

	t.Run("A7/the name in a reply of SOCKS", func(t *testing.T) {
		far := &farChannel{kind: kinds[0]}
		c := far.cell("here")
		arrange := c.Arrange
		c.Arrange = func(t testing.TB, s *lab.Scene) {
			arrange(t, s)
			far.hop.bound = other(s, "bound")
		}
		c.After = neverAsked("bound")
		run(t, c)
	})
	play(t, "A7/a redirect", lab.Cell{
		Start: with(doh), Refused: "RESOLVER_UNREACHABLE", After: neverAsked("elsewhere"),
		Before: func(_ testing.TB, s *lab.Scene) {
			s.Resolver.Handle(dnstest.Redirect("https://" + other(s, "elsewhere") + "/dns-query"))
		},
	})
	play(t, "A7/an alternative service", lab.Cell{
		Start: with(doh),
		Arrange: func(_ testing.TB, s *lab.Scene) {
			s.Resolver.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
				r := s.Resolver.Recurse(ctx, q)
				r.Header = map[string][]string{"Alt-Svc": {fmt.Sprintf("h2=%q; ma=3600; persist=1", other(s, "elsewhere")+":443")}}
				return r
			})
		},
		After: func(t testing.TB, s *lab.Scene) {
			s.Resolver.DoH.DropConns() // what comes next needs a new connection, to the same place
			served(t, s, other(s, "second"))
			neverAsked("elsewhere")(t, s)
		},
	})

	for _, via := range transports {
		if !via.tls {
			continue // what it proves itself by, it has in its stamp: see the rows of the stamps
		}
		pinning := func(pin func(*lab.Scene) string) func(*lab.Scene) string {
			return func(s *lab.Scene) string { return via.with(s, fmt.Sprintf(", pins: [%q]", pin(s))) }
		}
		t.Run("A8/"+via.name+"/the pinned key, also on resumption", func(t *testing.T) {
			run(t, lab.Cell{
				Start: with(pinning(func(s *lab.Scene) string { return s.CA.Pin() })),
				After: func(t testing.TB, s *lab.Scene) {
					s.Resolver.DropConns()
					served(t, s, other(s, "second"))
					log := s.Resolver.Log()
					if !slices.ContainsFunc(log, func(q dnstest.Query) bool { return q.Resumed }) {
						t.Error("no session was resumed, so that this cell says nothing about resumption")
					}
				},
			})
		})
		t.Run("A8/"+via.name+"/a wrong pin", func(t *testing.T) {
			t.Parallel()
			e := run(t, lab.Cell{
				Start:   new(running).unready(pinning(func(*lab.Scene) string { return dnstest.NewCA().Pin() })),
				Refused: "(NOT_READY)",
				After:   nobodyAsked,
			})
			if text := e.Client.Text(); !strings.Contains(text, "none of its keys is pinned") {
				t.Errorf("the client was not told why: %s", text)
			}
		})
		t.Run("A8/"+via.name+"/a key that changed", func(t *testing.T) {
			cert := map[*lab.Scene]string{}
			run(t, lab.Cell{
				Arrange: func(t testing.TB, s *lab.Scene) {
					relays(s) // they are given the certificate too
					c := s.CA.Issue(nil, s.Resolver.Certified())
					cert[s] = dnstest.Pin(c)
					swap(t, s, c)
				},
				Start:   with(pinning(func(s *lab.Scene) string { return cert[s] })),
				Before:  func(t testing.TB, s *lab.Scene) { swap(t, s, s.CA.Issue(nil, s.Resolver.Certified())) },
				Refused: "RESOLVER_UNTRUSTED",
			})
		})
	}
}

// neverAsked fails the test if the authority was asked for a further canary, by whomever, or the scene's resolver was:
// one that does not recurse, as where it redirects, tells the authority of nothing.
func neverAsked(prefix string) func(testing.TB, *lab.Scene) {
	return func(t testing.TB, s *lab.Scene) {
		t.Helper()
		if log := s.Authority.LogOf(other(s, prefix)); len(log) > 0 {
			t.Errorf("a name that nobody called was looked up: %v", log)
		}
		if strings.Contains(names(s.Resolver), other(s, prefix)) {
			t.Errorf("a name that nobody called was asked of the channel's resolver: %s", names(s.Resolver))
		}
	}
}

// everyConsumerOfTheResolver plays each way by which a name gets to the channel's resolver, with a resolver that proves
// who it is and with one that does not: all have to agree.
func everyConsumerOfTheResolver(t *testing.T) {
	consumers := []struct {
		id  string
		use func(t testing.TB, s *lab.Scene) (ok bool, text string)
	}{
		{"A4/a tunnel", func(t testing.TB, s *lab.Scene) (bool, string) {
			r := call(t, s, s.Canary)
			return r.Code == 0, r.Text()
		}},
		{"A4/the readiness probe", func(t testing.TB, s *lab.Scene) (bool, string) {
			status, text := admin(t, s, "/readyz")
			return status == "200", text
		}},
		{"A4/resolve of SOCKS", func(t testing.TB, s *lab.Scene) (bool, string) {
			reply := socksRequest(t, s, socks.Resolve, s.Canary)
			return reply == socks.Succeeded, reply.String()
		}},
		{"A4/the command resolve", func(t testing.TB, s *lab.Scene) (bool, string) {
			r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "resolve", s.Canary, "-c", s.Dir+"/watertight.yaml"))
			return r.Code == 0, r.Text()
		}},
	}
	all := func(trusted bool, of ...int) func(testing.TB, *lab.Scene) {
		return func(t testing.TB, s *lab.Scene) {
			for _, i := range of {
				if ok, text := consumers[i].use(t, s); ok != trusted {
					t.Errorf("%s, resolver trusted: %v; succeeded: %v; it said: %s", consumers[i].id, trusted, ok, text)
				}
			}
		}
	}
	for _, o := range options {
		config := func(s *lab.Scene) string {
			return direct(s, fmt.Sprintf("{url: %q, ca: %q%s}", s.Resolver.DoTURL(), s.CAFile, o.more(s)))
		}
		good := func(t testing.TB, s *lab.Scene) { swap(t, s, o.good(s)) }
		bad := func(t testing.TB, s *lab.Scene) { swap(t, s, o.bad(s)) }
		play(t, o.id+"/trusted", lab.Cell{Arrange: good, Start: with(config), After: all(true, 0, 1, 2, 3)})
		play(t, o.id+"/not trusted", lab.Cell{
			Arrange: good, Start: with(config), Before: bad, Refused: "RESOLVER_UNTRUSTED", After: all(false, 0, 2, 3),
		})
		t.Run(o.id+"/never trusted", func(t *testing.T) {
			t.Parallel()
			run(t, lab.Cell{Arrange: bad, Start: new(running).unready(config), Refused: "NOT_READY", After: all(false, 1)})
		})
	}
}

// options are what a configuration can say about who a resolver is, each with a certificate that satisfies it and one
// that satisfies all the others.
var options = []struct {
	id        string
	more      func(*lab.Scene) string
	good, bad func(*lab.Scene) tls.Certificate
}{
	{
		"ca", func(*lab.Scene) string { return "" },
		func(s *lab.Scene) tls.Certificate { return s.CA.Issue(nil, s.Resolver.Addrs()) },
		func(s *lab.Scene) tls.Certificate { return dnstest.NewCA().Issue(nil, s.Resolver.Addrs()) },
	},
	{
		"pins", func(s *lab.Scene) string { return fmt.Sprintf(", pins: [%q]", dnstest.Pin(pinned(s))) },
		pinned,
		func(s *lab.Scene) tls.Certificate { return s.CA.Issue(nil, s.Resolver.Addrs()) },
	},
	{
		"name", func(*lab.Scene) string { return ", name: dns.example.net" },
		func(s *lab.Scene) tls.Certificate { return s.CA.Issue([]string{"dns.example.net"}, nil) },
		func(s *lab.Scene) tls.Certificate { return s.CA.Issue(nil, s.Resolver.Addrs()) },
	},
}

// pinnedOnes are the certificates that configurations pin, by internet.
var pinnedOnes sync.Map

func pinned(s *lab.Scene) tls.Certificate {
	c, _ := pinnedOnes.LoadOrStore(s.Dir, s.CA.Issue(nil, s.Resolver.Addrs()))
	return c.(tls.Certificate)
}

// socksRequest sends one request of SOCKS5 to the proxy, from the client's host, and gives the reply.
func socksRequest(t testing.TB, s *lab.Scene, command socks.Command, host string) socks.Reply {
	t.Helper()
	conn := lab.Must(s.Client.Dial(t.Context(), proxyAt))(t)
	defer conn.Close()
	var buf socks.Buffer
	if _, err := conn.Write(socks.AppendGreeting(nil, socks.MethodNone)); err != nil {
		t.Fatal(err)
	}
	if method := lab.Must(socks.ReadMethod(conn, &buf))(t); method != socks.MethodNone {
		t.Fatalf("the proxy chose the method %d", method)
	}
	target := lab.Must(name.Parse(host + ":443"))(t)
	if _, err := conn.Write(socks.AppendRequest(nil, command, target)); err != nil {
		t.Fatal(err)
	}
	reply, _, err := socks.ReadReply(conn, &buf)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// asked says how often a resolver was asked for the addresses of a name, over all transports.
func asked(r *internet.Resolver, host string) int {
	return r.Count(host, dnswire.A) + r.Count(host, dnswire.AAAA)
}

// names gives the names that a resolver was asked for, apart from the root's.
func names(r *internet.Resolver) string {
	var all []string
	for _, q := range r.Log() {
		if q.Name != "" {
			all = append(all, q.Name)
		}
	}
	return strings.Join(all, " ")
}
