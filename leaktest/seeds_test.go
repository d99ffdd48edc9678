package leaktest

import (
	"net/netip"
	"slices"
	"strings"

	"watertight/dnswire"
	"watertight/visit"
)

// seeded is a world that leaks in one way, or in none.
type seeded struct {
	name   string
	seed   func(w *world)
	change func(o *Options)
	id     string // the case that finds it
	cause  string
	says   string
}

// run runs the test in that world.
func (s seeded) run(w *world) *Report {
	if s.seed != nil {
		s.seed(w)
	}
	if s.change == nil {
		return w.run()
	}
	return w.run(s.change)
}

// by gives a stranger for questions of one kind.
func by(want func(branch visit.Branch, by string, t dnswire.Type) bool, who netip.Addr) func(string, visit.Branch, string, dnswire.Type) []netip.Addr {
	return func(_ string, b visit.Branch, by string, t dnswire.Type) []netip.Addr {
		if want(b, by, t) {
			return []netip.Addr{who}
		}
		return nil
	}
}

func sighting(s Sighting) Observed {
	s.Interface, s.From, s.To, s.Proto = "eth0", netip.AddrPortFrom(home, 4000), netip.MustParseAddrPort("203.0.113.53:53"), "udp"
	return Observed{Interfaces: []string{"eth0"}, Sightings: []Sighting{s}}
}

// leaky are worlds that leak in one way each.
func leaky() []seeded {
	return append(append([]seeded{
		{
			name: "a second resolver is asked when the first fails", id: "FAILING-NAME", cause: "B1", says: "203.0.113.99 (AS64666, Stranger, US)",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, _ string, _ dnswire.Type) bool { return b == visit.Servfail }, stranger)
			},
		},
		{
			name: "a second resolver is asked when nobody answers", id: "FAILING-NAME", cause: "B1",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, _ string, _ dnswire.Type) bool { return b == visit.Silent }, stranger)
			},
		},
		{
			name: "an unsigned resolver is asked where signatures are bogus", id: "FAILING-NAME", cause: "B1",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, _ string, _ dnswire.Type) bool { return b == visit.Bogus }, stranger)
			},
		},
		{
			name: "this host asks beside its channels", id: "NAME-BY-CHANNEL", cause: "D5", says: "this host's own address 198.18.1.7",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, by string, _ dnswire.Type) bool { return b == visit.Plain && by == "" }, home)
			},
		},
		{
			name: "the resolver of another channel is asked, by a door", id: "NAME-BY-DOOR", cause: "D5", says: "the resolver of the channel direct",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, by string, _ dnswire.Type) bool { return by == "SOCKS5" }, below)
			},
		},
		{
			name: "the name is resolved and sent by name too", id: "NAME-BY-DOOR", cause: "D4", says: "the exit 198.18.60.9",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, by string, _ dnswire.Type) bool { return by == "HTTP CONNECT" }, exit)
			},
		},
		{
			name: "a connection leaves past the hops", id: "NAME-BY-DOOR", cause: "D5", says: "not through the hops of the channel out",
			seed: func(w *world) { w.exitOf["out"] = home },
		},
		{
			name: "datagrams are resolved elsewhere", id: "DATAGRAM-BY-DOOR", cause: "D1",
			seed: func(w *world) {
				w.also = by(func(_ visit.Branch, by string, _ dnswire.Type) bool { return by == "datagram" }, stranger)
			},
		},
		{
			name: "the DNS door asks another too", id: "DNS-DOOR", cause: "D5",
			seed: func(w *world) {
				w.also = by(func(_ visit.Branch, by string, _ dnswire.Type) bool { return by == "dns" }, stranger)
			},
		},
		{
			name: "the gateway is an open proxy", id: "GATEWAY-CLOSED", cause: "D4",
			seed: func(w *world) { w.carries = func(target string) bool { return target == "gateway" } },
		},
		{
			name: "what has expired is refreshed elsewhere", id: "EXPIRED-NAME", cause: "C5",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, _ string, _ dnswire.Type) bool { return b == visit.Short }, stranger)
			},
		},
		{
			name: "HTTPS records are asked of another", id: "HTTPS-RECORD", cause: "A6",
			seed: func(w *world) {
				w.also = by(func(_ visit.Branch, by string, t dnswire.Type) bool { return t == dnswire.HTTPS && by == "" }, stranger)
			},
		},
		{
			name: "one cache serves both channels", id: "CACHE-APART", cause: "F1", says: "only the resolver of direct was asked",
			seed: func(w *world) { w.shared = true },
		},
		{
			name: "a channel answers though it is cut off", id: "CUT-REFUSED", cause: "B1", says: "though the resolver cannot be reached",
			seed: func(w *world) { w.cutAnswers = true },
		},
		{
			name: "a channel that is cut off tries somewhere else", id: "CUT-SILENT", cause: "B1", says: "192.0.2.53:853",
			seed: func(w *world) { w.cutTries = []Attempt{{To: netip.MustParseAddrPort("192.0.2.53:853")}} },
		},
		{
			name: "a resolver of others is reached", id: "FOREIGN-RESOLVER", cause: "G11", says: "dns.google:443",
			seed: func(w *world) { w.carries = func(target string) bool { return target == "dns.google:443" } },
		},
		{
			name: "a port of clear text is dialled", id: "PLAIN-DNS", cause: "B5", says: "it was dialled before it failed",
			seed: func(w *world) { w.dials = func(target string) bool { return target == "192.0.2.53:53" } },
		},
		{
			name: "an address that was given to nobody is carried", id: "CLIENT-RESOLVED", cause: "H1",
			seed: func(w *world) { w.carries = func(target string) bool { return target == "192.31.196.80:443" } },
		},
		{
			name: "names of a local network go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "a name under local",
			seed: func(w *world) { w.local = func(host string) bool { return !strings.HasSuffix(host, ".local") } },
		},
		{
			name: "clients look names up by themselves", id: "ENVIRONMENT", cause: "H1", says: "curl",
			change: func(o *Options) {
				o.Environ = append(o.Environ, "https_proxy=socks5://127.0.0.1:8080")
			},
		},
		{
			name: "the resolver is in another country", id: "RESOLVER-COUNTRY", cause: "F7", says: "the resolver is in DE and the exit in NO",
			seed: func(w *world) {
				w.abroad = true
			},
		},
		{
			name: "the resolver tells this host's network", id: "RESOLVER-HABITS", cause: "F3", says: "198.18.1.0/24",
			seed: func(w *world) { w.subnet = "198.18.1.0/24" },
		},
		{
			name: "a name is seen on the wire", id: "PACKETS", cause: "D5", says: "in a question in clear",
			seed: func(w *world) {
				w.seen = sighting(Sighting{What: "label", Form: "wire", Label: "aaaaaaaaaaaaaaaaaaaa"})
			},
		},
		{
			name: "a name is seen in another form", id: "PACKETS", cause: "D4", says: "base64",
			seed: func(w *world) {
				w.seen = sighting(Sighting{What: "label", Form: "base64", Label: "aaaaaaaaaaaaaaaaaaaa"})
			},
		},
		{
			name: "this program asks in clear", id: "PACKETS", cause: "B5", says: "mdns",
			seed: func(w *world) { w.seen = sighting(Sighting{What: "mdns", Ours: true}) },
		},
		{
			name: "this process has a socket in clear", id: "SOCKETS", cause: "B5",
			seed: func(w *world) {
				w.seen = Observed{Interfaces: []string{"eth0"}, Sockets: []string{"udp to 203.0.113.53:53"}}
			},
		},
		{
			name: "a library asks the host", id: "TRAP", cause: "A2",
			seed: func(w *world) { w.counts = Counters{TrappedLookups: 1} },
		},
	}, leakyToo()...), slices.Concat(leakyWindows(), leakyInside(), leakyHands(), leakyGuards(), leakyUsers())...)
}
