package leaktest

import (
	"net/netip"

	"watertight/dnswire"
	"watertight/visit"
)

var strangeResolver = netip.MustParseAddrPort("192.0.2.55:853")

// goesWrong lets something go wrong with copies after what was done to them.
func goesWrong(in string, how window) func(w *world) {
	return func(w *world) { w.windows, w.cutOf = map[string]*window{in: &how}, "out" }
}

// asksIn gives somebody who asks, too, for what copies ask after something was done to them.
func asksIn(in string, who netip.Addr) func(w *world) {
	return func(w *world) {
		w.also = by(func(_ visit.Branch, by string, _ dnswire.Type) bool { return by == in }, who)
	}
}

func elsewhere(to string) window {
	return window{tries: []Attempt{{To: netip.MustParseAddrPort(to)}}}
}

// has gives a configuration with names of the program's own, and a packet with a question for one of them.
func has(n OwnName, ours bool) func(w *world) {
	return func(w *world) {
		w.about.Names = append(w.about.Names, n)
		s := Sighting{What: "label", Form: "wire", Label: n.Host, Ours: ours, Process: "somebody (7)"}
		w.seen = sighting(s)
		s.What, s.Form, s.Label = "dns", "", ""
		w.seen.Sightings = append(sighting(s).Sightings, w.seen.Sightings...)
	}
}

// ownEnviron is the environment of the program itself.
func ownEnviron(lines ...string) func(o *Options) { return func(o *Options) { o.Own = lines } }

var (
	hopName      = OwnName{"gw.provider.example", "a hop of the channel out", "A5"}
	resolverName = OwnName{"dns.provider.example", "a resolver of the channel out", "A1"}
	hookName     = OwnName{"hooks.example.net", "the webhook", "E1"}
)

// leakyWindows are worlds that leak for a moment, or beside what users ask for.
func leakyWindows() []seeded {
	return []seeded{
		{name: "a resolver's own name is asked for in clear", id: "PACKETS", cause: "A1", says: "dns.provider.example", seed: has(resolverName, true)},
		{name: "a hop's own name is asked for in clear", id: "PACKETS", cause: "A5", says: "a hop of the channel out", seed: has(hopName, true)},
		{name: "the webhook's name is asked for in clear", id: "PACKETS", cause: "E1", says: "the webhook", seed: has(hookName, true)},
		{name: "this program asks in clear for a name that nobody wants", id: "PACKETS", cause: "E1", says: "none of the test's", seed: sees(Sighting{What: "dns", Ours: true})},
		{name: "a library asks the host while the program starts", id: "TRAP", cause: "C1", says: "before any request", seed: func(w *world) { w.counts, w.early = Counters{TrappedLookups: 2}, true }},
		{name: "a channel that is not ready answers", id: "NOT-READY", cause: "C1", says: "not ready yet", seed: goesWrong("unready", window{answers: true})},
		{name: "a channel that is not ready connects", id: "NOT-READY", cause: "C1", says: "it connected", seed: goesWrong("unready", window{connects: true})},
		{name: "a channel that is not ready tries somewhere else", id: "NOT-READY", cause: "C1", says: "192.0.2.55:853", seed: goesWrong("unready", elsewhere("192.0.2.55:853"))},
		{name: "a channel that a reload took away answers", id: "RETIRED", cause: "C2", says: "though it is closed", seed: goesWrong("retired", window{answers: true})},
		{name: "a channel that a reload took away connects", id: "RETIRED", cause: "C2", says: "it connected", seed: goesWrong("retired", window{connects: true})},
		{name: "what a reload interrupts is asked somewhere else", id: "RETIRED", cause: "C2", says: "192.0.2.55:853", seed: goesWrong("retired", elsewhere("192.0.2.55:853"))},
		{name: "what a reload interrupts is asked of another", id: "RETIRED", cause: "C2", says: "a question under way", seed: asksCopies(visit.Slow)},
		{name: "what was learnt in another network is answered", id: "NETWORK-CHANGED", cause: "C3", says: "learnt before", seed: goesWrong("changed", window{answers: true})},
		{name: "in another network the resolver of that is asked", id: "NETWORK-CHANGED", cause: "C3", seed: asksIn("changed", stranger)},
		{name: "in another network somebody else is tried", id: "NETWORK-CHANGED", cause: "C3", says: "192.0.2.55:853", seed: goesWrong("changed", elsewhere("192.0.2.55:853"))},
		{name: "in another network this host asks", id: "NETWORK-CHANGED", cause: "D5", says: "this host's own address", seed: asksIn("changed", home)},
		{name: "a connection that was lost is made to another", id: "CONNECTED-AGAIN", cause: "C4", says: "192.0.2.55:853", seed: goesWrong("again", elsewhere("192.0.2.55:853"))},
		{name: "a connection that was lost is made in clear", id: "CONNECTED-AGAIN", cause: "B5", says: "198.18.60.53:53", seed: goesWrong("again", elsewhere("198.18.60.53:53"))},
		{name: "the resolver is connected to past the hops", id: "CUT-SILENT", cause: "D5", says: "by itself, and not through its hops", seed: cutTries(Attempt{To: pastHops})},
		{name: "datagrams for the resolver go past the hops", id: "CUT-REFUSED", cause: "D2", says: "send datagrams", seed: cutTries(Attempt{To: pastHops, Packets: true})},
		{name: "the relay is left out", id: "CUT-SILENT", cause: "D3", says: "its relay alone", seed: relayed(cutTries(Attempt{To: behindRelay}))},
		{name: "a pool whose members are dead answers", id: "CUT-REFUSED", cause: "B6", seed: pooled(func(w *world) { w.cutAnswers = true })},
		{name: "a pool whose members are dead is left out", id: "CUT-SILENT", cause: "B6", says: "192.0.2.55:853", seed: pooled(cutTries(Attempt{To: strangeResolver}))},
		{name: "after a connection was lost another is asked", id: "CONNECTED-AGAIN", cause: "C4", seed: asksIn("again", stranger)},
		{
			name: "the proxy of this program's environment is used when a connection is made again", id: "CONNECTED-AGAIN", cause: "E2", says: "203.0.113.8:3128",
			seed: goesWrong("again", elsewhere("203.0.113.8:3128")), change: ownEnviron("HTTPS_PROXY=http://203.0.113.8:3128"),
		},
		{
			name: "the proxy of this program's environment is used before it is ready", id: "NOT-READY", cause: "E2", says: "the proxy of this program's environment",
			seed: goesWrong("unready", elsewhere("203.0.113.8:1080")), change: ownEnviron("all_proxy=socks5://203.0.113.8"),
		},
	}
}

var (
	pastHops    = netip.AddrPortFrom(nearby, 443)
	behindRelay = netip.MustParseAddrPort("198.18.61.53:8443")
)

func cutTries(a Attempt) func(w *world) {
	return func(w *world) { w.cutTries, w.cutOf = []Attempt{a}, "out" }
}

// pooled has the channel out take one of many hops.
func pooled(then func(w *world)) func(w *world) {
	return func(w *world) { w.changeOut, w.cutOf = func(c *Channel) { c.Pool = true }, "out"; then(w) }
}

// relayed has a resolver of the channel out stand behind a relay.
func relayed(then func(w *world)) func(w *world) {
	return func(w *world) { w.changeOut = func(c *Channel) { c.Behind = []netip.AddrPort{behindRelay} }; then(w) }
}

// asksCopies gives a stranger for one branch that copies ask for.
func asksCopies(b visit.Branch) func(w *world) {
	return func(w *world) {
		w.also = by(func(branch visit.Branch, by string, _ dnswire.Type) bool { return branch == b && by == "copy" }, stranger)
	}
}

// sealedWindows look as if they leaked.
func sealedWindows() []seeded {
	return []seeded{
		{name: "the resolver comes back by another of its addresses", seed: goesWrong("again", window{tries: []Attempt{{To: strangeResolver, Named: true}}})},
		{name: "another program asks for the name of a hop", seed: has(hopName, false)},
		{name: "the program has a proxy in its environment, and does not use it", change: ownEnviron("HTTPS_PROXY=http://203.0.113.8:3128", "no_proxy=*")},
		{name: "its environment is no environment of proxies", change: ownEnviron("HTTPS_PROXY=:// %", "ALL_PROXY=proxy.example.net", "http_proxy=http://[::1]:99999", "PATH=/bin")},
	}
}
