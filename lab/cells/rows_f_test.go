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

// twoChannels is a configuration with the channels `one` and `two`, each with a resolver of its own over TLS, and one
// of them in use.
type twoChannels struct{ one, two *internet.Resolver }

func (c *twoChannels) arrange(t testing.TB, s *lab.Scene) {
	t.Helper()
	c.one = lab.Must(s.AddResolver("one.example.net"))(t)
	c.two = lab.Must(s.AddResolver("two.example.net"))(t)
	s.Permitted = append(s.Permitted, append(c.one.Peers(), c.two.Peers()...)...)
	s.Asking = []*internet.Host{c.one.Host, c.two.Host}
}

func (c *twoChannels) config(s *lab.Scene, used string) string {
	unused := map[string]string{"one": "two", "two": "one"}[used]
	return dot(s) +
		"  one: {resolver: " + resolver(s, c.one.DoTURL()) + "}\n" +
		"  two: {resolver: " + resolver(s, c.two.DoTURL()) + "}\n" +
		"routes:\n  - {to: never.example.net, channel: " + unused + "}\n  - {to: \"*\", channel: " + used + "}\n"
}

func (c *twoChannels) use(used string) func(*lab.Scene) string {
	return func(s *lab.Scene) string { return c.config(s, used) }
}

func TestF_CacheAndLinkage(t *testing.T) {
	t.Parallel()
	for _, families := range internet.AllFamilies() {
		t.Run("F1/two channels/"+string(families), func(t *testing.T) { ownCaches(t, families) })
	}
	t.Run("F1/a channel that changed", func(t *testing.T) {
		var proxy running
		run(t, lab.Cell{Start: proxy.with(dot), After: func(t testing.TB, s *lab.Scene) {
			once := asked(s.Resolver, s.Canary)
			write(t, s, dot(s))
			reload(t, proxy, "was reloaded", 1)
			served(t, s, s.Canary)
			if n := asked(s.Resolver, s.Canary); n != once {
				t.Errorf("a channel that did not change asked %d times, then %d times", once, n)
			}
			write(t, s, strings.Replace(dot(s), "timeout: 5s", "timeout: 3s", 1))
			reload(t, proxy, "was reloaded", 2)
			served(t, s, s.Canary)
			if n := asked(s.Resolver, s.Canary); n == once {
				t.Error("a channel that changed kept its cache")
			}
		}})
	})

	play(t, "F2/a failure is remembered, and for the question alone", lab.Cell{
		Start: with(dot), Refused: "(DNS_NXDOMAIN)",
		Before: func(_ testing.TB, s *lab.Scene) {
			s.Resolver.Handle(dnstest.Zone{other(s, "there") + ". 60 A " + v4(s)}.Handler())
		},
		After: func(t testing.TB, s *lab.Scene) {
			once := asked(s.Resolver, s.Canary)
			refused(t, s, s.Canary, "DNS_NXDOMAIN")
			if n := asked(s.Resolver, s.Canary); n != once {
				t.Errorf("a negative answer was asked for %d times more", n-once)
			}
			served(t, s, other(s, "there"))
		},
	})
	play(t, "F2/an expired answer is not used", lab.Cell{
		Start: with(dot), Refused: "(DNS_SERVFAIL)",
		Before: func(t testing.TB, s *lab.Scene) {
			s.Resolver.Handle(dnstest.Zone{s.Canary + ". 1 A 192.0.2.1"}.Handler()) // refused by policy, but cached
			refused(t, s, s.Canary, "POLICY_PRIVATE_TARGET")
			s.Resolver.Handle(dnstest.RCode(2))
			await(t, "the record to expire", func() bool {
				return !strings.Contains(call(t, s, s.Canary).Text(), "POLICY_PRIVATE_TARGET")
			})
		},
	})

	for _, via := range transports {
		play(t, "F3/"+via.name, lab.Cell{Start: with(via.config), After: func(t testing.TB, s *lab.Scene) {
			for _, q := range questions(t, s) {
				if !q.EDNS || !q.Subnet.IsValid() || q.Subnet.Bits() != 0 {
					t.Errorf("the client subnet of a question is %v", q.Subnet)
				}
			}
		}})
		play(t, "F4/"+via.name, lab.Cell{Start: with(via.config), After: func(t testing.TB, s *lab.Scene) {
			served(t, s, other(s, "a-rather-long-name-that-makes-more-octets"))
			for _, q := range questions(t, s) {
				if q.Transport == dnstest.DNSCrypt || q.Transport == dnstest.ODoH {
					continue // padded outside of the message: see the rows of the stamps
				}
				if q.Size%128 != 0 || q.Padding < 0 {
					t.Errorf("a question has %d octets, of which %d pad it", q.Size, q.Padding)
				}
				if q.Transport != dnstest.DoH {
					continue
				}
				if q.ID != 0 || q.Method != "POST" || q.Path != "/dns-query" {
					t.Errorf("a question has the ID %d, by %s %s", q.ID, q.Method, q.Path)
				}
				for key := range q.Header {
					if key != "Accept" && key != "Content-Type" && key != "Content-Length" {
						t.Errorf("a question has the header %s: %s", key, q.Header[key])
					}
				}
			}
		}})
	}

	var second *internet.Resolver
	play(t, "F5/one resolver sees a name", lab.Cell{
		Arrange: func(t testing.TB, s *lab.Scene) {
			second = lab.Must(s.AddResolver("dns2.example.net"))(t)
			s.Permitted = append(s.Permitted, second.Peers()...)
		},
		Start: with(func(s *lab.Scene) string { return direct(s, s.Resolver.DoTURL(), second.DoTURL()) }),
		After: func(t testing.TB, s *lab.Scene) {
			for i := range 5 {
				served(t, s, other(s, fmt.Sprint("more", i)))
			}
			if text := names(second); text != "" {
				t.Errorf("the second resolver saw: %s", text)
			}
		},
	})

	play(t, "F5/who would see a name is told and nobody is asked", explainsOnly())

	for _, strategy := range []struct{ text, sees string }{{"{race: 2}", "2"}, {"random", "1"}} {
		play(t, "F5/"+strategy.text, lab.Cell{
			Arrange: func(t testing.TB, s *lab.Scene) {
				second = lab.Must(s.AddResolver("dns2.example.net"))(t)
				s.Permitted = append(s.Permitted, second.Peers()...)
				s.Asking = append(s.Asking, second.Host)
			},
			Start: with(func(s *lab.Scene) string {
				return strings.Replace(direct(s, s.Resolver.DoTURL(), second.DoTURL()), "timeout: 5s", "timeout: 5s, strategy: "+strategy.text, 1)
			}),
			After: func(t testing.TB, s *lab.Scene) { seenAsSaid(t, s, second, strategy.sees) },
		})
	}

	for _, via := range transports {
		if !via.tls {
			continue
		}
		t.Run("F6/"+via.name, func(t *testing.T) { noTicketsAcross(t, via.config) })
	}
}

// seenAsSaid looks names up, and wants each to have been seen by as many resolvers as the metrics say.
func seenAsSaid(t testing.TB, s *lab.Scene, second *internet.Resolver, sees string) {
	t.Helper()
	_, text := admin(t, s, "/metrics")
	for _, line := range []string{`watertight_resolvers_per_name{channel="direct"} ` + sees, `watertight_resolvers{channel="direct"} 2`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics do not say %s", line)
		}
	}
	for i := range 24 {
		served(t, s, other(s, fmt.Sprint("more", i)))
	}
	seen := func(host string) (n int) {
		for _, r := range []*internet.Resolver{s.Resolver, second} {
			if asked(r, host) > 0 {
				n++
			}
		}
		return n
	}
	for i := range 24 {
		host := other(s, fmt.Sprint("more", i))
		if sees == "2" { // the one that lost the race may be late
			await(t, "both resolvers to see "+host, func() bool { return seen(host) == 2 })
		} else if n := seen(host); n != 1 {
			t.Errorf("%s was seen by %d resolvers", host, n)
		}
	}
	if text := names(second); text == "" {
		t.Error("the second resolver saw nothing, so that this cell proves nothing")
	}
}

func v4(s *lab.Scene) string { return s.Origin.Addr4.String() }

// questions gives every question that the resolver got.
func questions(t testing.TB, s *lab.Scene) []dnstest.Query {
	t.Helper()
	all := s.Resolver.Log()
	if len(all) < 2 {
		t.Errorf("the resolver was asked %d times only", len(all))
	}
	return all
}

// ownCaches lets one name be asked for in one channel and then in the other: what the first knows is not the second's.
func ownCaches(t *testing.T, families internet.Families) {
	var proxy running
	c := new(twoChannels)
	run(t, lab.Cell{Families: families, Arrange: c.arrange, Start: proxy.with(c.use("one")), After: func(t testing.TB, s *lab.Scene) {
		if asked(c.one, s.Canary) == 0 || asked(c.two, s.Canary) > 0 {
			t.Errorf("by channel one: %d and %d questions", asked(c.one, s.Canary), asked(c.two, s.Canary))
		}
		once := asked(c.one, s.Canary)
		write(t, s, c.config(s, "two"))
		reload(t, proxy, "was reloaded", 1)
		served(t, s, s.Canary)
		if asked(c.one, s.Canary) != once || asked(c.two, s.Canary) == 0 {
			t.Errorf("by channel two: %d and %d questions", asked(c.one, s.Canary)-once, asked(c.two, s.Canary))
		}
		nobodyAsked(t, s)
	}})
}

// noTicketsAcross has two channels with one resolver: each has connections and sessions of its own, and a channel
// that changed begins anew. The positive control is that a session is resumed within a channel.
func noTicketsAcross(t *testing.T, upstream func(*lab.Scene) string) {
	var proxy running
	config := func(timeout string) func(*lab.Scene) string {
		return func(s *lab.Scene) string {
			_, section, _ := strings.Cut(upstream(s), "direct: ")
			section = strings.Replace(section, "timeout: 5s", "timeout: "+timeout, 1)
			return upstream(s) + "  second: " + section + "routes:\n  - {to: second-" + s.Canary + ", channel: second}\n  - {to: \"*\", channel: direct}\n"
		}
	}
	about := func(s *lab.Scene, host string) (last dnstest.Query) {
		for _, q := range s.Resolver.Log() {
			if q.Name == host && q.Type == dnswire.A {
				last = q
			}
		}
		return last
	}
	run(t, lab.Cell{Start: proxy.with(config("3s")), After: func(t testing.TB, s *lab.Scene) {
		served(t, s, other(s, "second"))
		first, second := about(s, s.Canary), about(s, other(s, "second"))
		if first.Conn == 0 || first.Conn == second.Conn {
			t.Errorf("two channels asked in the connections %d and %d", first.Conn, second.Conn)
		}
		for _, q := range s.Resolver.Log() {
			if q.Resumed {
				t.Errorf("a first connection resumed a session: %+v", q.Question)
			}
		}
		s.Resolver.DropConns()
		served(t, s, other(s, "third"))
		if q := about(s, other(s, "third")); !q.Resumed {
			t.Error("no session is ever resumed, so that this cell proves nothing")
		}
		before := s.Resolver.Conns()
		write(t, s, config("4s")(s))
		reload(t, proxy, "was reloaded", 1)
		served(t, s, other(s, "second"))
		if q := about(s, other(s, "second")); q.Conn <= before {
			t.Error("a channel that changed did not ask again")
		}
		for _, q := range s.Resolver.Log() {
			if q.Conn > before && q.Resumed {
				t.Errorf("a channel that changed resumed a session of the one before: %+v", q.Question)
			}
		}
	}})
}

// explainsOnly is the command that tells who would see a name. It is no proxy, so that the client's call fails; and nobody is
// permitted, so that a packet of any kind is a leak.
func explainsOnly() lab.Cell {
	return lab.Cell{
		Refused: "*",
		Arrange: func(_ testing.TB, s *lab.Scene) { s.Permitted, s.Readers, s.Asking = nil, nil, nil },
		Start: func(t testing.TB, s *lab.Scene) string {
			config := write(t, s, direct(s, s.Resolver.DoTURL(), s.Resolver.DoQURL())+
				"  far: {proxy: \"socks5://gw."+lab.Zone+":1080\", resolver: "+resolver(s, s.Resolver.DoHURL())+"}\n"+
				"routes:\n  - {to: far."+s.Canary+", channel: far}\n  - {to: \"*\", channel: direct}\n")
			for target, says := range map[string]string{s.Canary: "seen by 1 of 2 resolvers", "https://far." + s.Canary + "/": "gw." + lab.Zone + " is looked up in the channel direct"} {
				r := lab.Run(t, lab.Self(s.Client, lab.WatertightRole, "explain", target, "-c", config))
				if r.Err != nil || r.Code != 0 || !strings.Contains(r.Stdout, says) {
					t.Errorf("%v, exit code %d: %s", r.Err, r.Code, r.Text())
				}
			}
			return lab.ProxyAddress
		},
	}
}
