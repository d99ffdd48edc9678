package leaktest

import (
	"context"
	"errors"
	"net/netip"

	"watertight/dnswire"
	"watertight/visit"
)

func policy(change func(p *Policy)) func(w *world) { return func(w *world) { change(&w.about.Policy) } }

// doors changes the doors of a world.
func doors(change func(all []Door) []Door) func(w *world) {
	return func(w *world) { w.changeDoors = change }
}

// sealedWorlds are worlds without a leak, most of which look a little like one with it.
func sealedWorlds() []seeded {
	other := netip.MustParseAddr("198.18.60.54") // beside the resolver of out
	return []seeded{
		{name: "as it should be"},
		{name: "nothing is known of networks", seed: func(w *world) { w.data = false }},
		{name: "the resolver asks from an address beside the one that it tells", seed: func(w *world) { w.roams, w.roamsTo = true, other }},
		{name: "the same, and nothing is known of networks", seed: func(w *world) { w.data, w.roams, w.roamsTo = false, true, other }},
		{name: "the resolver asks from afar in the same network", seed: func(w *world) { w.roams, w.roamsTo, w.kin = true, netip.MustParseAddr("198.51.100.9"), true }},
		{name: "the resolver asks twice", seed: func(w *world) {
			w.also = by(func(_ visit.Branch, by string, _ dnswire.Type) bool { return by == "SOCKS5" }, nearby)
		}},
		{name: "a policy lets clients ask resolvers of their own", seed: policy(func(p *Policy) { p.ForeignResolvers = "allow" })},
		{name: "it is only reported", seed: policy(func(p *Policy) { p.ForeignResolvers = "report" })},
		{name: "addresses that were given to nobody are reported", seed: policy(func(p *Policy) { p.ClientResolved = "report" })},
		{name: "they are allowed", seed: policy(func(p *Policy) { p.ClientResolved = "allow" })},
		{name: "URLs in clear are carried", seed: policy(func(p *Policy) { p.PlainHTTP = "allow" })},
		{name: "no listener speaks DNS", seed: doors(func(all []Door) []Door { return all[:1] })},
		{name: "there is no gateway", seed: doors(func(all []Door) []Door { return all[:2] })},
		{name: "the gateway has entries", seed: doors(func(all []Door) []Door { all[2].Entries = []string{"/openai/"}; return all })},
		{name: "the gateway has no generic form", seed: doors(func(all []Door) []Door { all[2].Generic = nil; return all })},
		{name: "the generic form of the gateway does not lead to the canary", seed: doors(func(all []Door) []Door {
			all[2].Generic = func(string, uint16) (string, error) { return "", errors.New("it is not listed") }
			return all
		})},
		{name: "the rules of a firewall lead to a listener", seed: doors(func(all []Door) []Door {
			return append(all, Door{Kind: DoorTransparent, At: "127.0.0.1:8089", Unfit: "the test changes no rules"})
		})},
		{name: "a listener takes no datagrams", seed: doors(func(all []Door) []Door { all[0].Relay = nil; return all })},
		{name: "DNS over TCP alone", seed: doors(func(all []Door) []Door { all[1].Datagrams = nil; return all })},
		{name: "one of two listeners asks for a password", seed: doors(func(all []Door) []Door {
			return append(all, Door{Kind: DoorProxy, At: "127.0.0.1:8081", Unfit: "it asks"})
		})},
		{name: "a gateway that cannot be tried", seed: doors(func(all []Door) []Door { all[2].Unfit = "it asks"; return all })},
		{name: "a channel that is cut off tries again where it is configured", seed: func(w *world) { w.cutTries = []Attempt{{To: netip.AddrPortFrom(nearby, 853), Named: true}} }},
		{name: "the resolver passes on that nobody asks", seed: func(w *world) { w.subnet = "0.0.0.0/0" }},
		{name: "the resolver passes the exit's network on", seed: func(w *world) { w.subnet = "198.18.60.0/24" }},
		{name: "the resolver passes on what is no network", seed: func(w *world) { w.subnet = "whoever" }},
		{name: "the leak on purpose is seen on the wire alone", seed: func(w *world) {
			w.control, w.seen = false, sighting(Sighting{What: "label", Form: "wire", Label: "control"})
		}},
		{name: "the leak on purpose is seen in every place", seed: sees(Sighting{What: "label", Form: "wire", Label: "control"})},
		{name: "another program asks in clear", seed: sees(Sighting{What: "dns", Process: "dig"})},
		{name: "another program asks its neighbours", seed: sees(Sighting{What: "mdns", Process: "avahi-daemon"})},
		{name: "another program asks by NetBIOS", seed: sees(Sighting{What: "netbios"})},
		{name: "another program asks by LLMNR", seed: sees(Sighting{What: "llmnr"})},
		{name: "another program asks an encrypted resolver", seed: sees(Sighting{What: "dot"})},
		{name: "many interfaces", seed: func(w *world) { w.seen.Interfaces = []string{"eth0", "wlan0", "lo", "docker0"} }},
		{name: "a connection to a port of clear text was refused", seed: func(w *world) { w.counts = Counters{RefusedDials: 3} }},
		{name: "no variables are set", change: environ("HOME=/root")},
		{name: "there is no environment", change: func(o *Options) { o.Environ = nil }},
		{name: "the variables lead to another proxy", change: environ("https_proxy=http://192.0.2.1:3128", "http_proxy=http://192.0.2.1:3128")},
		{name: "the lower case alone", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy)},
		{name: "all variables", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy, "HTTP_PROXY="+ourProxy, "HTTPS_PROXY="+ourProxy, "all_proxy="+ourProxy, "ALL_PROXY="+ourProxy, "grpc_proxy="+ourProxy, "NODE_USE_ENV_PROXY=1")},
		{name: "localhost, by its name", change: environ("http_proxy=http://localhost:8080", "https_proxy=http://localhost:8080/")},
		{name: "a user and a password", change: environ("http_proxy=http://user:secret@127.0.0.1:8080", "https_proxy=http://user:secret@127.0.0.1:8080")},
		{name: "a scheme in capitals", change: environ("http_proxy=HTTP://127.0.0.1:8080", "https_proxy=HTTP://127.0.0.1:8080")},
		{name: "exceptions for this host", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy, "no_proxy=localhost,127.0.0.1,::1", "NO_PROXY=localhost,127.0.0.1,::1")},
		{name: "exceptions for a domain", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy, "no_proxy=localhost, .corp.example.com")},
		{name: "a star for subdomains", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy, "no_proxy=*.corp.example.com")},
		{name: "SOCKS beside HTTP, for whoever reads no other", change: environ("http_proxy="+ourProxy, "https_proxy="+ourProxy, "all_proxy=socks5h://127.0.0.1:8080")},
		{name: "no program can be contained", change: func(o *Options) { o.Subject = uncontained{o.Subject.(*world)} }},
		{name: "the policy lets contained programs do as they like", seed: func(w *world) { w.open = "nothing" }},
	}
}

// uncontained is a world in which no program can be contained.
type uncontained struct{ *world }

func (uncontained) Inside(context.Context, string) ([]Tried, error) { return nil, ErrUncontained }
