package cells

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"watertight/fault"
	"watertight/lab"
	"watertight/lab/internet"
	"watertight/stamp"
)

// The matrix: what can be said of an upstream × how it is asked × what leads there. In each cell either what is said is
// proven to have an effect, or the program is proven not to start with it. A cell that could do neither has no outcome,
// and fails.
//
// All of it is played in memory, with the program's own rooms from the configuration to the answer. Over real packets
// and with the program as a process, every transport is played over every way, with some of the options each, so that
// every option is played with every transport and over every way.

// row is a transport of the matrix.
type row struct {
	name    string
	url     string     // of those that have one, with %s for the host
	port    uint16     // where it is asked
	stamp   stamp.Kind // of the server that is dialled; Plain: no stamp can say it
	packets bool       // it travels in datagrams alone
	relay   bool       // a relay is dialled, and the resolver never
}

var rows = []row{
	{name: "DoT", url: "tls://%s", port: 853, stamp: stamp.DoT},
	{name: "DoH", url: "https://%s/dns-query", port: 443, stamp: stamp.DoH},
	{name: "DoH by GET", url: "https://%s/dns-query{?dns}", port: 443},
	{name: "DoH3", url: "h3://%s/dns-query", port: 443, packets: true},
	{name: "DoQ", url: "quic://%s", port: 853, stamp: stamp.DoQ, packets: true},
	{name: "DNSCrypt", port: portCrypt, stamp: stamp.DNSCrypt},
	{name: "DNSCrypt through a relay", port: portCrypt, stamp: stamp.DNSCrypt, relay: true},
	{name: "ODoH", port: 443, stamp: stamp.ODoHRelay, relay: true},
}

const portCrypt = 8443

func (r row) crypt() bool { return r.stamp == stamp.DNSCrypt }

// pathTo is what leads to the upstream: hops, the first one first.
type pathTo struct {
	name string
	hops []kind
}

// datagrams says whether every hop carries them.
func (w pathTo) datagrams() bool {
	return !slices.ContainsFunc(w.hops, func(k kind) bool { return !k.datagrams() })
}

var paths = []pathTo{
	{"direct", nil},
	{"SOCKS5", kinds[:1]},
	{"HTTP", kinds[1:]},
	{"a chain of both", kinds},
}

// inQUIC are the ways whose proxies travel in datagrams themselves. They are played in memory; over real packets see
// TestDatagrams_GoThroughHTTP3OrNowhere.
var inQUIC = []pathTo{
	{"HTTP/3", []kind{kindH3}},
	{"a chain of SOCKS5 and HTTP/3", []kind{kinds[0], kindH3}},
}

var kindH3 = kind{name: "h3", scheme: "h3", port: 443}

// site is where everybody is, and what proves who they are.
type site struct {
	resolver, relay, vacant netip.Addr // nobody is at the vacant one
	hops                    []netip.AddrPort
	ca, otherCA             string // files
	pin, otherPin           string
	provider                string
	key                     [32]byte
	hash                    [32]byte // of the authority's certificate
}

// Names that the certificates cover.
const (
	resolverName = "dns.example.net"
	relayName    = "relay.dns.example.net"
	targetName   = "target.dns.example.net"
)

// said is an upstream as the configuration has it: the values of its keys.
type said map[string]string

func (s said) String() string {
	var keys []string
	for key, value := range s {
		if key == "url" || key == "relay" || key == "ca" {
			value = fmt.Sprintf("%q", value)
		}
		keys = append(keys, key+": "+value)
	}
	slices.Sort(keys)
	return "{" + strings.Join(keys, ", ") + "}"
}

// outcome is what has to come of a cell. The zero outcome is none.
type outcome struct {
	answered bool
	code     fault.Code // of the refusal
	dies     string     // what the program says instead of starting
	at       netip.Addr // who is dialled, where it is nobody that the row says
	kills    string     // "relay" or "hop": what is dead
}

func refusal(code fault.Code) outcome { return outcome{code: code} }
func death(says string) outcome       { return outcome{dies: says} }

var answered = outcome{answered: true}

// said is the row's upstream with what it cannot be without.
func (r row) said(p *site) said {
	switch {
	case r.crypt() && r.relay:
		return said{"url": p.crypt(p.key), "relay": p.cryptRelay()}
	case r.crypt():
		return said{"url": p.crypt(p.key)}
	case r.relay:
		target := stamp.Stamp{Kind: stamp.ODoHTarget, Host: targetAt(targetName, r.port), Path: "/dns-query"}
		return said{"url": sdns(target), "relay": p.odohRelay(p.relay.String()), "ca": p.ca}
	}
	return said{"url": fmt.Sprintf(r.url, p.resolver), "ca": p.ca}
}

// choice is something that can be said of an upstream.
type choice struct {
	name string
	// say says it, and gives what has to come of it.
	say func(r row, w pathTo, p *site, s said) outcome
}

var choices = []choice{
	{"nothing more", func(row, pathTo, *site, said) outcome { return answered }},
	{"its pin", func(r row, _ pathTo, p *site, s said) outcome { return pinnedTo(r, s, p.pin, answered) }},
	{"a wrong pin", func(r row, _ pathTo, p *site, s said) outcome {
		return pinnedTo(r, s, p.otherPin, refusal(fault.ResolverUntrusted))
	}},
	{"its authority", func(r row, _ pathTo, p *site, s said) outcome { return by(r, s, p.ca, answered) }},
	{"another authority", func(r row, _ pathTo, p *site, s said) outcome {
		return by(r, s, p.otherCA, refusal(fault.ResolverUntrusted))
	}},
	{"its name", func(r row, _ pathTo, _ *site, s said) outcome { return called(r, s, resolverName, answered) }},
	{"another name", func(r row, _ pathTo, _ *site, s said) outcome {
		return called(r, s, "other.example.net", refusal(fault.ResolverUntrusted))
	}},
	{"its stamp's hash or key", func(r row, _ pathTo, p *site, s said) outcome { return proven(r, p, s, p.hash, p.key, answered) }},
	{"another hash or key in its stamp", func(r row, _ pathTo, p *site, s said) outcome {
		return proven(r, p, s, [32]byte{1}, [32]byte{1}, refusal(fault.ResolverUntrusted))
	}},
	{"its address", func(r row, _ pathTo, p *site, s said) outcome {
		at := p.resolver
		if r.relay {
			at = p.relay
		}
		return found(r, p, s, at, answered)
	}},
	{"an address where nobody is", func(r row, _ pathTo, p *site, s said) outcome {
		return found(r, p, s, p.vacant, outcome{code: fault.ResolverUnreachable, at: p.vacant})
	}},
	{"a relay that is dead", func(r row, _ pathTo, p *site, s said) outcome {
		dead := outcome{code: fault.ResolverUnreachable, kills: "relay", at: p.relay}
		if r.url != "" {
			s["relay"] = p.cryptRelay()
			return death("leave `relay` out")
		}
		if r.crypt() {
			s["relay"] = p.cryptRelay()
		}
		return dead
	}},
	{"a relay of another kind", func(r row, _ pathTo, p *site, s said) outcome {
		s["relay"] = p.odohRelay(p.relay.String())
		if r.stamp == stamp.ODoHRelay {
			s["relay"] = p.cryptRelay()
		}
		if r.url != "" {
			return death("leave `relay` out")
		}
		return death("goes through one of the kind")
	}},
	{"a hop that is dead", func(_ row, w pathTo, _ *site, _ said) outcome {
		if len(w.hops) == 0 { // what is said of a hop in `direct`
			return death("`direct`")
		}
		return outcome{code: fault.HopRefused, kills: "hop"}
	}},
}

// pinnedTo says a pin.
func pinnedTo(r row, s said, pin string, effect outcome) outcome {
	s["pins"] = "[" + pin + "]"
	if r.crypt() {
		return death("leave `pins` out")
	}
	return effect
}

// by says an authority.
func by(r row, s said, file string, effect outcome) outcome {
	s["ca"] = file
	if r.crypt() {
		return death("leave `ca` out")
	}
	return effect
}

// called says a name.
func called(r row, s said, name string, effect outcome) outcome {
	s["name"] = name
	if r.url == "" {
		return death("leave `name` out")
	}
	return effect
}

// proven says in a stamp what the server proves itself by.
func proven(r row, p *site, s said, hash, key [32]byte, effect outcome) outcome {
	switch r.stamp {
	case stamp.Plain:
		s["hashes"] = "[AAAA]" // nor has the configuration a key for it
		return death("hashes")
	case stamp.DNSCrypt:
		s["url"] = p.crypt(key)
	case stamp.ODoHRelay:
		s["relay"] = p.odohRelay(p.relay.String(), hash)
	default:
		st := stamp.Stamp{Kind: r.stamp, Addr: netip.AddrPortFrom(p.resolver, r.port), Host: targetAt(p.resolver.String(), r.port), Hashes: [][32]byte{hash}}
		if r.stamp == stamp.DoH {
			st.Path = "/dns-query"
		}
		s["url"] = sdns(st)
	}
	return effect
}

// found says an address, of a server that is known by its name.
func found(r row, p *site, s said, at netip.Addr, effect outcome) outcome {
	s["addresses"] = fmt.Sprintf("[%q]", at)
	switch {
	case r.crypt():
		return death("leave `addresses` out")
	case r.relay:
		s["relay"] = p.odohRelay(relayName)
	default:
		s["url"] = fmt.Sprintf(r.url, resolverName)
	}
	return effect
}

// configuration is the whole, with the scene's own resolver below.
func (w pathTo) configuration(p *site, below string, s said, dead bool) string {
	section := "resolver: {timeout: 5s, upstreams: [" + s.String() + "]}"
	var chain []string
	for i, k := range w.hops {
		url := fmt.Sprintf("%q", fmt.Sprintf("%s://%v", k.scheme, p.hops[i]))
		if k.scheme == kindH3.scheme {
			url = fmt.Sprintf("{url: %s, ca: %q}", url, p.ca)
		}
		chain = append(chain, url)
	}
	switch {
	case len(chain) == 0 && dead:
		return "channels:\n  direct: {proxy: \"socks5://192.0.2.7\", " + section + "}\n"
	case len(chain) == 0:
		return "channels:\n  direct: {" + section + "}\n"
	}
	return "channels:\n  direct: {resolver: {upstreams: [" + below + "]}}\n  far: {proxy: [" + strings.Join(chain, ", ") + "], " + section +
		"}\nroutes: [{to: \"*\", channel: far}]\n"
}

// result is what came of a cell.
type result struct {
	started bool
	said    string // all that was said, where it did not start
	code    string
	records int
}

// world is an internet on which cells are played.
type world interface {
	site(t testing.TB) *site
	below() string // the resolver of the channel underneath, as the configuration has it
	// resolve lets the program ask for the secret name with a configuration.
	resolve(t testing.TB, config string) result
	kill(t testing.TB, w pathTo, part string)
	asked() int // how often the resolver of the row was asked for the secret name
	// relayed says how much its relays passed on.
	relayed() int
}

// prove plays one cell, and says what has to be dialled at the end of the way: nothing where the program does not start.
func prove(t testing.TB, in world, r row, w pathTo, c choice) (end netip.AddrPort) {
	t.Helper()
	p := in.site(t)
	s := r.said(p)
	want := c.say(r, w, p, s)
	switch {
	case r.packets && !w.datagrams() && want.dies == "":
		want = death("datagrams") // whatever else is said
	case r.packets && len(w.hops) > 0 && want.at == p.vacant:
		want.code = fault.DNSTimeout // a relay does not say that nobody is there
	}
	if want.kills != "" {
		in.kill(t, w, want.kills)
	}
	before, passed := in.asked(), in.relayed()
	got := in.resolve(t, w.configuration(p, in.below(), s, c.name == "a hop that is dead"))
	asked := in.asked() - before
	switch {
	case want.dies != "":
		if got.started || !strings.Contains(got.said, want.dies) || asked > 0 {
			t.Errorf("it started (%v), asked %d times, and did not say %q but: %s", got.started, asked, want.dies, got.said)
		}
		return netip.AddrPort{}
	case !got.started:
		t.Errorf("it did not start: %s", got.said)
	case want.answered && (got.code != "" || got.records != 1 || asked != 1):
		t.Errorf("it was to be answered; it asked %d times, and got %d records (%s)", asked, got.records, got.code)
	case want.answered && r.relay == (in.relayed() == passed):
		t.Errorf("the relays passed on %d packets or requests", in.relayed()-passed)
	case want.code != "" && (got.code != string(want.code) || asked > 0):
		t.Errorf("it was to be refused with %s; it asked %d times, and got %d records (%s)", want.code, asked, got.records, got.code)
	case !want.answered && want.code == "":
		t.Error("this cell neither proves that what is said has an effect nor that the program does not start with it")
	}
	at := p.resolver
	if r.relay {
		at = p.relay
	}
	if want.at.IsValid() {
		at = want.at
	}
	return netip.AddrPortFrom(at, r.port)
}

func TestMatrix_InMemory(t *testing.T) {
	dir := t.TempDir()
	for _, r := range rows {
		for _, w := range slices.Concat(paths, inQUIC) {
			for _, c := range slices.Concat(choices, echChoices) {
				t.Run(r.name+"/"+w.name+"/"+c.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { newMemory(t, dir, r, w).play(t, c) })
				})
			}
		}
	}
}

// TestMatrix_OverRealPackets plays every third choice on one internet for each transport and way, and begins with
// another one in each.
func TestMatrix_OverRealPackets(t *testing.T) {
	play(t, "what leaks is seen", lab.Cell{Families: internet.V4, Start: with(dot)}) // it begins with the controls
	for i, r := range rows {
		for j, w := range paths {
			t.Run(r.name+"/"+w.name, func(t *testing.T) {
				t.Parallel()
				s := lab.NewScene(t, internet.V4)
				l := newPackets(t, s, r, w)
				for k, c := range choices {
					if (i+j+k)%3 == 0 && !strings.HasSuffix(c.name, "dead") {
						l.play(t, r, w, c)
					}
				}
				for k, c := range choices { // what was killed does not come back
					if (i+j+k)%3 == 0 && strings.HasSuffix(c.name, "dead") {
						l.play(t, r, w, c)
						break
					}
				}
				l.verdict(t, s)
			})
		}
	}
}
