package leaktest

import (
	"net/netip"
	"strings"

	"watertight/dnswire"
	"watertight/visit"
)

// asks gives a stranger for one branch that is asked for in a channel.
func asks(b visit.Branch, who netip.Addr) func(w *world) {
	return func(w *world) {
		w.also = by(func(branch visit.Branch, by string, _ dnswire.Type) bool { return branch == b && by == "" }, who)
	}
}

// asksBy gives a stranger for what comes by a door.
func asksBy(door string, who netip.Addr) func(w *world) {
	return func(w *world) {
		w.also = by(func(b visit.Branch, by string, _ dnswire.Type) bool {
			return by == door && (b == visit.Plain || b == visit.V4)
		}, who)
	}
}

func carriesOnly(target string) func(w *world) {
	return func(w *world) { w.carries = func(t string) bool { return t == target } }
}

func dialsOnly(target string) func(w *world) {
	return func(w *world) { w.dials = func(t string) bool { return t == target } }
}

// notHere leaves the names of one suffix to the resolver.
func notHere(suffix string) func(w *world) {
	return func(w *world) { w.local = func(host string) bool { return !strings.HasSuffix(host, suffix) } }
}

func environ(lines ...string) func(o *Options) { return func(o *Options) { o.Environ = lines } }

const ourProxy = "http://127.0.0.1:8080"

func leakyToo() []seeded {
	return []seeded{
		{name: "another is asked where the resolver refuses", id: "FAILING-NAME", cause: "B1", seed: asks(visit.Refused, stranger)},
		{name: "another is asked for what does not exist", id: "FAILING-NAME", cause: "B1", seed: asks(visit.Nxdomain, stranger)},
		{name: "another is asked where the resolver is slow", id: "FAILING-NAME", cause: "B1", seed: asks(visit.Slow, stranger)},
		{name: "another is asked where the answer does not fit", id: "FAILING-NAME", cause: "B1", seed: asks(visit.TCP, stranger)},
		{
			name: "what fails by a door is asked of another", id: "FAILING-NAME", cause: "B1",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, by string, _ dnswire.Type) bool { return b == visit.Nxdomain && by == "SOCKS5" }, stranger)
			},
		},
		{
			name: "what fails is asked by this host", id: "FAILING-NAME", cause: "D5", says: "this host's own address",
			seed: asks(visit.Servfail, home),
		},
		{
			name: "a channel whose resolver is dead answers", id: "CUT-RESOLVER", cause: "B1", says: "whose resolver alone",
			seed: func(w *world) { w.deadAnswers = true },
		},
		{
			name: "a channel whose resolver is dead tries somewhere else", id: "CUT-RESOLVER", cause: "B1", says: "192.0.2.54:853",
			seed: func(w *world) { w.deadTries = []Attempt{{To: netip.MustParseAddrPort("192.0.2.54:853")}} },
		},
		{
			name: "IPv6 addresses are asked of another", id: "NAME-BY-CHANNEL", cause: "D9",
			seed: func(w *world) {
				w.also = by(func(_ visit.Branch, by string, t dnswire.Type) bool { return t == dnswire.AAAA && by == "" }, stranger)
			},
		},
		{
			name: "another is asked for addresses", id: "NAME-BY-CHANNEL", cause: "D5",
			seed: func(w *world) {
				w.also = by(func(b visit.Branch, by string, t dnswire.Type) bool {
					return b == visit.Plain && by == "" && t != dnswire.HTTPS
				}, stranger)
			},
		},
		{name: "SOCKS4a is resolved by this host", id: "NAME-BY-DOOR", cause: "D5", says: "SOCKS4a", seed: asksBy("SOCKS4", home)},
		{name: "SOCKS5 is resolved by another", id: "NAME-BY-DOOR", cause: "D4", says: "SOCKS5", seed: asksBy("SOCKS5", stranger)},
		{name: "datagrams are resolved by this host", id: "DATAGRAM-BY-DOOR", cause: "D5", seed: asksBy("datagram", home)},
		{name: "datagrams are resolved at the exit too", id: "DATAGRAM-BY-DOOR", cause: "D4", seed: asksBy("datagram", exit)},
		{name: "the DNS door asks this host's resolver", id: "DNS-DOOR", cause: "D5", seed: asksBy("dns", home)},
		{name: "a name by the gateway is resolved by another", id: "NAME-BY-GATEWAY", cause: "D4", says: "/https/NAME/", seed: asksBy("gateway", stranger)},
		{name: "a name by the gateway is resolved by this host", id: "NAME-BY-GATEWAY", cause: "D5", says: "this host's own address", seed: asksBy("gateway", home)},
		{name: "a request in clear is looked up before it is refused", id: "PLAIN-HTTP", cause: "D4", says: "nobody was to be asked", seed: asksBy("GET", stranger)},
		{name: "a request in clear is carried though it is refused by policy", id: "PLAIN-HTTP", cause: "D4", says: "connected", seed: carriesOnly("http://")},
		{
			name: "a request in clear is resolved by this host", id: "PLAIN-HTTP", cause: "D5",
			seed: func(w *world) { w.about.Policy.PlainHTTP = "allow"; asksBy("GET", home)(w) },
		},
		{name: "what has expired is refreshed by this host", id: "EXPIRED-NAME", cause: "D5", seed: asks(visit.Short, home)},
		{name: "the known DNS over HTTPS by its address", id: "FOREIGN-RESOLVER", cause: "G11", says: "8.8.8.8:443", seed: carriesOnly("8.8.8.8:443")},
		{name: "the known DNS over HTTPS in IPv6", id: "FOREIGN-RESOLVER", cause: "G11", seed: carriesOnly("[2606:4700:4700::1111]:443")},
		{name: "DNS over TLS of others", id: "FOREIGN-RESOLVER", cause: "G11", says: "192.0.2.53:853", seed: dialsOnly("192.0.2.53:853")},
		{name: "DNS in clear, IPv6", id: "PLAIN-DNS", cause: "B5", seed: carriesOnly("[2001:db8::53]:53")},
		{name: "mDNS by a door", id: "PLAIN-DNS", cause: "B5", says: "192.0.2.53:5353", seed: carriesOnly("192.0.2.53:5353")},
		{name: "LLMNR by a door", id: "PLAIN-DNS", cause: "B5", says: "192.0.2.53:5355", seed: dialsOnly("192.0.2.53:5355")},
		{name: "NetBIOS by a door", id: "PLAIN-DNS", cause: "B5", says: "192.0.2.53:137", seed: carriesOnly("192.0.2.53:137")},
		{name: "an address that was given to nobody, IPv6", id: "CLIENT-RESOLVED", cause: "H1", seed: dialsOnly("[2001:4:112::80]:443")},
		{name: "onion names go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "under onion", seed: notHere(".onion")},
		{name: "single labels go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "under the root", seed: func(w *world) { w.local = func(host string) bool { return strings.Contains(host, ".") } }},
		{name: "private reverse names go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "under 10.in-addr.arpa", seed: notHere(".10.in-addr.arpa")},
		{name: "names of the home go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "under home.arpa", seed: notHere(".home.arpa")},
		{name: "internal names go to the resolver", id: "SPECIAL-NAME", cause: "B7", says: "under internal", seed: notHere(".internal")},
		{name: "a local name is carried by a door", id: "SPECIAL-NAME", cause: "B7", says: "by HTTP CONNECT, a name under local", seed: func(w *world) { w.carries = func(t string) bool { return strings.HasSuffix(t, ".local:443") } }},
		{name: "a name is seen in SNI", id: "PACKETS", cause: "D4", says: "(sni)", seed: sees(Sighting{What: "label", Form: "sni", Label: "aaaaaaaaaaaaaaaaaaaa"})},
		{name: "a name is seen as Host", id: "PACKETS", cause: "D4", says: "(host)", seed: sees(Sighting{What: "label", Form: "host", Label: "aaaaaaaaaaaaaaaaaaaa"})},
		{name: "a name is seen in hexadecimal", id: "PACKETS", cause: "D4", says: "(hex)", seed: sees(Sighting{What: "label", Form: "hex", Label: "aaaaaaaaaaaaaaaaaaaa"})},
		{name: "a name is seen in base32", id: "PACKETS", cause: "D4", says: "(base32)", seed: sees(Sighting{What: "label", Form: "base32", Label: "aaaaaaaaaaaaaaaaaaaa"})},
		{name: "this program asks a resolver in clear", id: "PACKETS", cause: "B5", says: "(dns)", seed: func(w *world) { w.about.Running = true; sees(Sighting{What: "dns", Ours: true})(w) }},
		{name: "this program asks by LLMNR", id: "PACKETS", cause: "B5", says: "(llmnr)", seed: sees(Sighting{What: "llmnr", Ours: true})},
		{name: "this program asks by NetBIOS", id: "PACKETS", cause: "B5", says: "(netbios)", seed: sees(Sighting{What: "netbios", Ours: true})},
		{name: "this program asks an encrypted resolver that no channel has", id: "PACKETS", cause: "D5", says: "no channel has", seed: sees(Sighting{What: "dot", Ours: true})},
		{name: "NO_PROXY is a star", id: "ENVIRONMENT", cause: "H1", says: "NO_PROXY has a *", change: environ("https_proxy="+ourProxy, "grpc_proxy="+ourProxy, "NO_PROXY=*")},
		{name: "only upper case is set", id: "ENVIRONMENT", cause: "H1", says: "wget", change: environ("HTTPS_PROXY=" + ourProxy)},
		{name: "only ALL_PROXY is set", id: "ENVIRONMENT", cause: "H1", says: "Go", change: environ("ALL_PROXY=" + ourProxy)},
		{name: "the proxy's URL has no scheme", id: "ENVIRONMENT", cause: "H1", says: "gRPC", change: environ("https_proxy=127.0.0.1:8080")},
		{name: "the proxy's URL has an escape in its password", id: "ENVIRONMENT", cause: "H1", says: "an escape in its password", change: environ("https_proxy=http://a:p%40b@127.0.0.1:8080")},
		{name: "Node is told to read the variables, and they have SOCKS", id: "ENVIRONMENT", cause: "H1", says: "Node", change: environ("NODE_USE_ENV_PROXY=1", "https_proxy=socks5h://127.0.0.1:8080")},
		{name: "a variable leads to another proxy", id: "ENVIRONMENT", cause: "H1", says: "another proxy than the rest", change: environ("https_proxy=http://192.0.2.1:3128", "HTTPS_PROXY="+ourProxy)},
	}
}

func sees(s Sighting) func(w *world) { return func(w *world) { w.seen = sighting(s) } }

// leakyInside are worlds in which a contained program finds a way out.
func leakyInside() (all []seeded) {
	for _, d := range insides() {
		all = append(all, seeded{
			name: "inside: it does not hold that " + strings.ToLower(d.Title[:1]) + d.Title[1:], id: d.ID, cause: d.Cause, says: "led elsewhere",
			seed: func(w *world) { w.open = d.ID },
		})
	}
	return all
}
