package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"watertight/fault"
	"watertight/hop"
	"watertight/lab/memory"
	"watertight/name"
)

// explained explains a target by a configuration.
func (w *world) explained(conf, to string) *Explanation {
	w.t.Helper()
	e, err := Explain(w.parse(conf), name.Must(to), false)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// sight gives what is said of a place, by a part of its name.
func (e *Explanation) sight(t *testing.T, kind, place string) Sight {
	t.Helper()
	for _, s := range e.Sees {
		if s.Kind == kind && strings.Contains(s.Place, place) {
			return s
		}
	}
	t.Fatalf("nothing is said of %s %s: %+v", kind, place, e.Sees)
	return Sight{}
}

// parties are those of the world, with what the explanation calls them.
var parties = []struct{ party, kind, place string }{
	{memory.Program, placeNetwork, "your network"},
	{"hop1", placeHop, hop1Name},
	{"hop2", placeHop, hop2Name},
	{"below", placeResolver, belowName},
	{"own", placeResolver, ownName},
}

// called says what the explanation calls each address of the world.
var called = map[netip.Addr]string{
	belowAddr: belowName, ownAddr: ownName, originAt.Addr(): target,
	socksAt.Addr(): hop1Name + ":1080", connectAt.Addr(): hop2Name + ":3128",
}

// The picture is held against the world: who dialled whom, who was asked for which name, and on which links it could be read.
func TestWhatIsExplainedIsWhatHappens(t *testing.T) {
	for _, v := range ways {
		for _, where := range []string{"here", "exit"} {
			if v == straight && where == "exit" {
				continue
			}
			t.Run(string(v)+"/"+where, func(t *testing.T) {
				inWorld(t, v, dot, func(w *world) {
					conf := w.text()
					if where == "exit" {
						conf = w.exit()
						w.nameAtExit()
					}
					e := w.explained(conf, target)
					if e.Verdict != "carried" {
						w.t.Fatalf("%+v", e)
					}
					w.ready(conf)
					w.reaches(target, "origin")
					w.compare(e)
				})
			})
		}
	}
}

// compare holds an explanation against what has happened in the world.
func (w *world) compare(e *Explanation) {
	w.t.Helper()
	readable := strings.Join(w.Readable(canary), "\n")
	for _, p := range parties {
		i := slices.IndexFunc(e.Sees, func(s Sight) bool { return s.Kind == p.kind && strings.Contains(s.Place, p.place) })
		var said Sight
		if i >= 0 {
			said = e.Sees[i]
		}
		var asked, hops []string
		for _, n := range w.Learned(p.party) {
			switch {
			case n == hostName:
				asked = []string{n}
			case strings.Contains(n, hopLabel) && !slices.Contains(hops, n):
				hops = append(hops, n)
			}
		}
		reads := p.kind == placeNetwork && strings.Contains(readable, memory.Program+" > ") || len(asked) > 0
		for _, l := range []struct{ hop, to string }{{"hop1", socksAt.String()}, {"hop2", connectAt.String()}} {
			reads = reads || p.party == l.hop && strings.Contains(readable, " > "+l.to)
		}
		if told := slices.Contains(said.TargetName, inRequest) || slices.Contains(said.TargetName, inQuestion); told != reads {
			w.t.Errorf("%s learns the name: %v, and is said to: %+v", p.party, reads, said)
		}
		slices.Sort(hops)
		if slices.Sort(said.HopNames); fmt.Sprint(hops) != fmt.Sprint(said.HopNames) {
			w.t.Errorf("%s learns the names of proxies %q, and is said to learn %q", p.party, hops, said.HopNames)
		}
		for addr, label := range called {
			from := p.party + " > " + netip.AddrPortFrom(addr, 0).Addr().String()
			dials := slices.ContainsFunc(w.Dialled(), func(l string) bool { return strings.HasPrefix(l, from+":") })
			if dials && !slices.Contains(said.To, label) {
				w.t.Errorf("%s dials %s, and is said to see %q", p.party, label, said.To)
			}
		}
	}
	network := e.sight(w.t, placeNetwork, "")
	if e.Name.By == byExit == network.TargetAddress || e.Name.By == byExit == slices.Contains(network.To, target) {
		w.t.Errorf("where the exit resolves (%s), an address is seen on the way: %+v", e.Name.By, network)
	}
	last := map[way]string{straight: "your network", bySOCKS: hop1Name, byCONNECT: hop2Name, byChain: hop2Name}[w.way]
	kind := placeHop
	if w.way == straight {
		kind = placeNetwork
	}
	for _, label := range e.sight(w.t, kind, last).To { // what the end of the way is said to see, it did dial
		if !slices.ContainsFunc(w.Dialled(), func(l string) bool {
			_, to, _ := strings.Cut(l, " > ")
			return called[netip.MustParseAddrPort(to).Addr()] == label
		}) {
			w.t.Errorf("%s is said to see %s, which nobody dialled", last, label)
		}
	}
}

func TestAnExplanationSaysWhichRouteDecided(t *testing.T) {
	conf := "channels:\n  direct: {resolver: {upstreams: [quad9]}}\n" +
		"  out: {proxy: \"socks5://jo:secret@gw.example.net\", resolve: exit}\n" +
		"routes:\n  - {to: .exit.example.com, channel: out}\n  - {to: [a.example.com, .no.example.com], channel: refuse}\n  - {to: .example.com, channel: direct}\n"
	w := &world{t: t}
	for to, want := range map[string]struct {
		rule, line       int
		pattern, channel string
		code             fault.Code
	}{
		"x.exit.example.com:443": {1, 5, ".exit.example.com", "out", ""},
		"x.no.example.com:443":   {2, 6, ".no.example.com", "", fault.PolicyRoute},
		"www.example.com:443":    {3, 7, ".example.com", "direct", ""},
		"www.example.net:443":    {0, 0, "", "", fault.PolicyRoute},
		"192.0.2.1:443":          {0, 0, "", "", fault.PolicyRoute},
	} {
		e := w.explained(conf, to)
		got := fmt.Sprint(e.Route.Rule, e.Route.Line, e.Route.Pattern, e.Channel, e.Refusal != nil)
		if got != fmt.Sprint(want.rule, want.line, want.pattern, want.channel, want.code != "") || e.Refusal != nil && e.Refusal.Code != want.code {
			t.Errorf("%s: %s, %+v", to, got, e.Refusal)
		}
		if e.Refusal != nil && len(e.Sees) > 0 || strings.Contains(fmt.Sprint(e), "secret") {
			t.Errorf("%s: %+v", to, e)
		}
	}
	if e := w.explained("{}", "www.example.com:443"); e.Route.Rule != 0 || e.Channel != "direct" || e.Refusal != nil {
		t.Errorf("without routes: %+v", e)
	}
}

func TestAnExplanationOfARefusalSaysWhy(t *testing.T) {
	w := &world{t: t}
	for to, want := range map[string]struct {
		conf string
		code fault.Code
		by   string
	}{
		"www.example.com:80":          {"{}", fault.PolicyPlainHTTP, byNobody},
		"www.example.com:853":         {"{}", fault.PolicyForeignResolver, byNobody},
		"dns.google:443":              {"{}", fault.PolicyForeignResolver, byNobody},
		"10.0.0.7:443":                {"{}", fault.PolicyPrivateTarget, byNobody},
		"[64:ff9b::a00:7]:443":        {"{}", fault.PolicyPrivateTarget, byNobody},
		"127.0.0.1:8080":              {"policy: {private_targets: allow}", fault.PolicyPrivateTarget, byNobody}, // the proxy itself
		"127.0.0.1:8081":              {"{listen: {transparent: [\"127.0.0.1:8081\"]}, policy: {private_targets: allow}}", fault.PolicyPrivateTarget, byNobody},
		"printer.local:443":           {"{}", fault.DNSNXDomain, byHere},
		"localhost:443":               {"{}", fault.PolicyPrivateTarget, byHere},
		"printer.home.arpa:443":       {"channels: {direct: {resolver: {upstreams: [quad9], forward: home.arpa}}}", "", byResolver},
		"localhost:444":               {"policy: {private_targets: allow}", "", byHere},
		"single:443":                  {"{}", fault.DNSNXDomain, byHere},
		"www.example.com:443":         {"{}", "", byResolver},
		"93.184.216.34:443":           {"policy: {client_resolved: refuse}", "", byNobody},
		"use-application-dns.net:443": {"{}", fault.DNSNXDomain, byHere},
	} {
		e := w.explained(want.conf, to)
		var code fault.Code
		if e.Refusal != nil {
			code = e.Refusal.Code
		}
		if code != want.code || e.Name.By != want.by || (code != "") != (e.Verdict == "refused") {
			t.Errorf("%s: %q, by %s, %s; want %+v", to, code, e.Name.By, e.Verdict, want)
		}
	}
	e, err := Explain(w.parse("{}"), name.Must("www.example.com:8080"), true)
	if err != nil || e.Refusal == nil || e.Refusal.Code != fault.PolicyPlainHTTP || e.Scheme != "http" {
		t.Errorf("an http:// URL: %+v, %v", e, err)
	}
}

func TestAnExplanationSaysHowManyResolversSeeTheName(t *testing.T) {
	w := &world{t: t}
	for strategy, want := range map[string]string{
		"order": "order 1 3 [always spare spare]", "random": "random 1 3 [share share share]", "{race: 2}": "race 2 3 [always always spare]",
	} {
		e := w.explained("channels: {direct: {resolver: {upstreams: [quad9, dns4eu, tls://192.0.2.1], strategy: "+strategy+
			", dnssec: validate, negative_anchors: corp.example.com, cache: {stale: 1h}}}}", "a.corp.example.com:443")
		n := e.Name
		var sees []string
		for _, r := range n.Resolvers {
			sees = append(sees, r.SeesName)
		}
		if got := fmt.Sprint(n.Strategy, " ", n.Sees, " ", n.MaySee, " ", sees); got != want {
			t.Errorf("%s: %s, want %s", strategy, got, want)
		}
		sees = nil
		for _, s := range e.Sees[1:4] {
			sees = append(sees, s.When)
		}
		if got := fmt.Sprint(sees); !strings.HasSuffix(want, got) {
			t.Errorf("%s: %s, want %s", strategy, got, want)
		}
		if n.DNSSEC != "validate" || n.Negative != "corp.example.com" || n.Stale != 3600 || n.Resolvers[2].Transport != "DNS over TLS" || n.Resolvers[2].Addresses[0] != "192.0.2.1:853" {
			t.Errorf("%+v", n)
		}
	}
}

// What an onlooker reads ends at the first proxy that is spoken to in secret; none of today's is, so all of it is read.
func TestWhoSeesWhat(t *testing.T) {
	w := &world{t: t}
	const relayed = "{url: sdns://BQAAAAAAAAAAEnRhcmdldC5leGFtcGxlLm5ldAovZG5zLXF1ZXJ5, relay: sdns://hQAAAAAAAAAACTE5Mi4wLjIuNwARcmVsYXkuZXhhbXBsZS5vcmcGL3Byb3h5}"
	e := w.explained("channels: {direct: {resolver: {upstreams: ["+relayed+"]}}}", "www.example.com:443")
	relay, resolver := e.sight(t, placeRelay, "relay.example.org"), e.sight(t, placeResolver, "target.example.net")
	if !relay.YourAddress || len(relay.TargetName) > 0 || relay.To[0] != "target.example.net" {
		t.Errorf("the relay: %+v", relay)
	}
	if resolver.YourAddress || resolver.From != "relay.example.org" || resolver.TargetName[0] != inQuestion {
		t.Errorf("the resolver behind a relay: %+v", resolver)
	}
	network, destination := e.sight(t, placeNetwork, ""), e.sight(t, placeDestination, "")
	if fmt.Sprint(network.To) != "[www.example.com:443 relay.example.org]" || network.TargetName[0] != inSNI || network.Content {
		t.Errorf("the network: %+v", network)
	}
	if !destination.YourAddress || !destination.Content {
		t.Errorf("the destination: %+v", destination)
	}

	plain, err := Explain(w.parse("policy: {plain_http: allow}"), name.Must("www.example.com:80"), true)
	if s := plain.sight(t, placeNetwork, ""); err != nil || !s.Content || fmt.Sprint(s.TargetName) != "["+inClear+"]" {
		t.Errorf("in clear text: %+v, %v", s, err)
	}
	address := w.explained("{}", "93.184.216.34:443")
	if s := address.sight(t, placeNetwork, ""); len(s.TargetName) > 0 || !s.TargetAddress || len(address.Sees) != 2 || len(address.Notes) != 2 {
		t.Errorf("an address: %+v", address)
	}
	if guarded := w.explained("guard: {allow: [10.0.0.0/8]}", "93.184.216.34:443"); len(guarded.Notes) != 3 || !strings.Contains(guarded.Notes[2], "`watertight guard status`") {
		t.Errorf("with a guard of the host: %q", guarded.Notes)
	}
}

func TestWhoSeesWhatWhereProxiesAreOverTLS(t *testing.T) {
	w := &world{t: t}
	conf := func(proxies, resolve string) string {
		return "channels: {out: {proxy: [" + proxies + "], " + resolve + "}}\nroutes: [{to: \"*\", channel: out}]\n"
	}
	const plain, tls, other = `"socks5://first.example.net"`, `"h2://gate.example.net"`, `{url: "socks5+tls://192.0.2.9", name: cert.example.net}`
	for _, tt := range []struct {
		proxies, resolve string
		network          string // what it sees: to, how it learns the name, names on the way
		hops             []string
	}{
		{
			tls, "resolve: exit", "[gate.example.net:443] [] [gate.example.net]",
			[]string{"[www.example.com:443] [proxy_request sni] []"},
		},
		{
			tls, "resolver: {upstreams: [quad9]}", "[gate.example.net:443 dns.quad9.net] [] [gate.example.net]",
			[]string{"[www.example.com:443 dns.quad9.net] [sni] []"},
		},
		{ // the first says in clear to whom it leads, and the second who it is
			plain + ", " + other, "resolve: exit", "[first.example.net:1080 192.0.2.9:1080] [] [cert.example.net]",
			[]string{"[192.0.2.9:1080] [] [cert.example.net]", "[www.example.com:443] [proxy_request sni] []"},
		},
		{ // what follows the last proxy over TLS can be read there
			other + ", " + plain, "resolve: exit", "[192.0.2.9:1080] [] [cert.example.net]",
			[]string{"[first.example.net:1080] [proxy_request sni] []", "[www.example.com:443] [proxy_request sni] []"},
		},
	} {
		e := w.explained(conf(tt.proxies, tt.resolve), "www.example.com:443")
		var got []string
		for _, s := range e.Sees {
			slices.Sort(s.TargetName)
			switch s.Kind {
			case placeNetwork:
				s.To = slices.DeleteFunc(s.To, func(to string) bool { return to == "dns.quad9.net" && tt.resolve == "resolve: exit" }) // asked for the proxy's name
				got = append([]string{fmt.Sprint(s.To, s.TargetName, s.HopNames)}, got...)
			case placeHop:
				got = append(got, fmt.Sprint(s.To, s.TargetName, s.HopNames))
			}
		}
		if want := append([]string{tt.network}, tt.hops...); !slices.Equal(got, want) {
			t.Errorf("%s, %s:\n got %q\nwant %q", tt.proxies, tt.resolve, got, want)
		}
	}
}

func TestAnExplanationNamesOnlyTheAddressesThatTheWayCarries(t *testing.T) {
	w := &world{t: t}
	e := w.explained("channels: {out: {proxy: \"socks4a://192.0.2.9\", resolver: {upstreams: [quad9]}}}\nroutes: [{to: \"*\", channel: out}]\n", "www.example.com:443")
	if got := fmt.Sprint(e.Name.Resolvers[0].Addresses); got != "[9.9.9.9:443 149.112.112.112:443]" {
		t.Errorf("dialled are said to be %s", got)
	}
}

// What nobody answered says nothing of ECH: neither that there is none.
func TestExplainLive_saysOfECHWhatTheRecordSays(t *testing.T) {
	const ech = ` ech="AEX+DQBBWwAgACCBdNrnZxqNrUXSyimqqnfmNG4lHtVsbmaaIeRoUoFWFQAEAAEAAQAScHVibGljLmV4YW1wbGUuY29tAAA="`
	for record, want := range map[string]string{hostName + ". 60 HTTPS 1 . alpn=h2" + ech: "true", hostName + ". 60 HTTPS 1 . alpn=h2": "false", "": "nil"} {
		inWorld(t, straight, dot, func(w *world) {
			conf := w.text()
			e := w.explained(conf, hostName+":443")
			var ground hop.Ground = nowhere{}
			if record != "" {
				w.own.Fail(always(zoneOf(append(slices.Clone(records), record)...)))
				ground = w.shared().ground
			}
			asked, err := e.LookOn(w.t.Context(), ground, w.parse(conf), name.MustHost(hostName))
			if err != nil || !asked {
				w.t.Fatal(asked, err)
			}
			got := "nil"
			if e.Seen.ECH != nil {
				got = fmt.Sprint(*e.Seen.ECH)
			}
			if got != want {
				w.t.Errorf("%q: %s, not %s: %+v", record, got, want, e.Seen.Resolution.Answers)
			}
		})
	}
}
