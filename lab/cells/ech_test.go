package cells

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"watertight/capture"
	"watertight/dnswire"
	"watertight/fault"
	"watertight/lab"
	"watertight/lab/dnstest"
)

// publicName is what an onlooker may read in place of the resolver's name.
const publicName = "front.example.org"

// ownKinds are the transports with how each is written for a resolver that is known by its name, and the question for the
// record of that name.
var ownKinds = []struct {
	name, url string
	own       string // what stands before the name in the question
	kind      dnswire.Type
	alpn      string
}{
	{"dot", "tls://%s", "_dns.", dnswire.SVCB, "dot"},
	{"doh", "https://%s/dns-query", "", dnswire.HTTPS, "h2"},
	{"doq", "quic://%s", "_dns.", dnswire.SVCB, "doq"},
	{"doh3", "h3://%s/dns-query", "", dnswire.HTTPS, "h3"},
}

// TestA_D_TheResolversOwnName plays what becomes of it: who is asked for its record, and who can read it.
func TestA_D_TheResolversOwnName(t *testing.T) {
	for _, k := range ownKinds {
		named := func(s *lab.Scene, more string) string {
			return direct(s, fmt.Sprintf("{url: %q, addresses: [%q], ca: %q%s}", fmt.Sprintf(k.url, s.Resolver.Name), s.Resolver.Addr(), s.CAFile, more))
		}
		hiding := func(t testing.TB, s *lab.Scene, keys *dnstest.ECH) {
			swap(t, s, s.CA.Issue([]string{s.Resolver.Name, publicName}, nil), dnstest.Takes(keys))
		}
		keys := dnstest.NewECH(publicName, 1)

		t.Run("D10/keys of the configuration/"+k.name, func(t *testing.T) {
			var resolver string
			e := run(t, lab.Cell{
				Arrange: func(t testing.TB, s *lab.Scene) { hiding(t, s, keys); resolver = s.Resolver.Name },
				Start:   with(func(s *lab.Scene) string { return named(s, fmt.Sprintf(", ech: %q", keys.Text())) }),
				After: func(t testing.TB, s *lab.Scene) {
					s.Resolver.DropConns()
					served(t, s, other(s, "second"))
				},
			})
			if got := hellos(e, resolver); got != publicName+" "+publicName {
				t.Errorf("an onlooker read in the hellos to the resolver: %s", got)
			}
			for _, hit := range capture.Search(e.Packets, resolver) {
				t.Errorf("LEAK: the resolver's name, as %s, in %v", hit.Form, hit.Packet)
			}
		})

		t.Run("D10/keys that the resolver rejects/"+k.name, func(t *testing.T) {
			t.Parallel()
			var resolver string
			e := run(t, lab.Cell{
				Arrange: func(t testing.TB, s *lab.Scene) {
					swap(t, s, s.CA.Issue([]string{s.Resolver.Name, publicName}, nil)) // it takes none, and sends none
					resolver = s.Resolver.Name
				},
				Start: new(running).unready(func(s *lab.Scene) string { return named(s, fmt.Sprintf(", ech: %q", keys.Text())) }),
				After: nobodyAsked, Refused: "(NOT_READY)",
			})
			if got := hellos(e, resolver); strings.Contains(got, resolver) || !strings.Contains(got, publicName) {
				t.Errorf("an onlooker read in the hellos to the resolver: %s", got)
			}
			for _, hit := range capture.Search(e.Packets, resolver) {
				t.Errorf("LEAK: the resolver's name, as %s, in %v", hit.Form, hit.Packet)
			}
		})

		t.Run("A6/the record of the resolver's own name/"+k.name, func(t *testing.T) {
			var own, resolver string
			e := run(t, lab.Cell{
				Arrange: func(t testing.TB, s *lab.Scene) {
					hiding(t, s, keys)
					resolver, own = s.Resolver.Name, k.own+s.Resolver.Name
					record := lab.Must(dnswire.ParseRecord(fmt.Sprintf("%s. 300 %s 1 . alpn=%s ech=%s", own, k.kind, k.alpn, keys.Text())))(t)
					s.Resolver.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
						if q.Name == own && q.Type == k.kind {
							return q.Send(dnswire.Reply{Answer: []dnswire.Record{record}})
						}
						return s.Resolver.Recurse(ctx, q)
					})
				},
				Start: with(func(s *lab.Scene) string { return named(s, "") }),
				After: func(t testing.TB, s *lab.Scene) {
					await(t, "the resolver to be asked for its own record", func() bool { return s.Resolver.Count(own, k.kind) == 1 })
					for range 2 {
						s.Resolver.DropConns()
						served(t, s, strings.ToLower(other(s, fmt.Sprint("call", s.Resolver.Conns()))))
					}
					if log := s.Authority.LogOf(own); len(log) > 0 {
						t.Errorf("somebody else was asked for the record: %v", log)
					}
					if n := s.Resolver.Count(own, k.kind); n != 1 {
						t.Errorf("the record was asked for %d times", n)
					}
				},
			})
			// The first connection shows the name, which is the proof that the others would have.
			if got := hellos(e, resolver); got != resolver+" "+publicName+" "+publicName {
				t.Errorf("an onlooker read in the hellos to the resolver: %s", got)
			}
		})
	}

	play(t, "A7/an alternative service of the same host", lab.Cell{
		Start: with(doh),
		Arrange: func(_ testing.TB, s *lab.Scene) {
			s.Resolver.DoH.Handle(func(ctx context.Context, q *dnstest.Query) dnstest.Reply {
				r := s.Resolver.Recurse(ctx, q)
				r.Header = map[string][]string{"Alt-Svc": {fmt.Sprintf("h3=%q, h3=\":443\"; ma=3600", other(s, "elsewhere")+":443")}}
				return r
			})
		},
		After: func(t testing.TB, s *lab.Scene) {
			await(t, "a connection over HTTP/3", func() bool { return s.Resolver.DoH3.Conns() > 0 })
			served(t, s, other(s, "second"))
			await(t, "the connection over HTTP/2 to be left", func() bool { return s.Resolver.DoH.Live() == 0 })
			served(t, s, other(s, "third"))
			if n := s.Resolver.DoH3.Count(other(s, "third"), dnswire.A); n != 1 {
				t.Errorf("it was asked %d times over HTTP/3", n)
			}
			neverAsked("elsewhere")(t, s)
		},
	})
}

// hellos gives the server names that an onlooker at the client's link reads in the hellos to a resolver or its front, in
// their order.
func hellos(e *lab.Evidence, resolver string) string {
	var names []string
	for _, r := range capture.Names(e.Packets) {
		if r.Point == "client" && r.Means == capture.BySNI && slices.Contains([]string{resolver, publicName}, r.Name) {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, " ")
}

// matrixKeys are those that the resolvers of the matrix in memory take; nobody has a certificate for its public name.
var matrixKeys = dnstest.NewECH(publicName, 1)

// echChoices belong into the matrix. Over real packets the cells above play them.
var echChoices = []choice{
	{"the keys that it takes for hellos", func(r row, _ pathTo, _ *site, s said) outcome { return hidden(r, s, matrixKeys, answered) }},
	{"other keys for hellos", func(r row, _ pathTo, _ *site, s said) outcome {
		return hidden(r, s, dnstest.NewECH(publicName, 2), refusal(fault.ResolverUntrusted))
	}},
}

// hidden says keys of ECH.
func hidden(r row, s said, keys *dnstest.ECH, effect outcome) outcome {
	s["ech"] = fmt.Sprintf("%q", keys.Text())
	if r.crypt() {
		return death("leave `ech` out")
	}
	return effect
}
