package cells

import (
	"fmt"
	"slices"

	"watertight/capture"
	"watertight/lab"
	"watertight/lab/internet"
)

// transport is a way in which the scene's resolver is asked.
type transport struct {
	name string
	// upstream is what the configuration says of it, without the braces. More can be added behind it.
	upstream func(*lab.Scene) string
	// peers are whom it exchanges packets with, where that is anybody but the resolver over TLS or QUIC.
	peers func(*lab.Scene) []capture.Peer

	datagrams bool // it travels in them alone
	tls       bool // it has connections, whose far end proves who it is by a certificate of X.509
	one       bool // cells that differ in nothing but the families are played in one of them
}

// transports are all that there are. Where a relay is used, it is all that may be spoken to.
var transports = []transport{
	{name: "dot", tls: true, upstream: func(s *lab.Scene) string { return trusted(s, s.Resolver.DoTURL()) }},
	{name: "doh", tls: true, upstream: func(s *lab.Scene) string { return trusted(s, s.Resolver.DoHURL()) }},
	{name: "doq", tls: true, datagrams: true, upstream: func(s *lab.Scene) string { return trusted(s, s.Resolver.DoQURL()) }},
	{name: "doh3", tls: true, datagrams: true, upstream: func(s *lab.Scene) string { return trusted(s, s.Resolver.DoH3URL()) }},
	{
		name: "dnscrypt", one: true,
		upstream: func(s *lab.Scene) string {
			return fmt.Sprintf("url: %q", s.Resolver.CryptStamp(s.Resolver.Provider.Key()))
		},
		peers: func(s *lab.Scene) []capture.Peer { return s.Resolver.CryptPeers() },
	},
	{
		name: "dnscrypt through a relay", one: true,
		upstream: func(s *lab.Scene) string {
			return fmt.Sprintf("url: %q, relay: %q", s.Resolver.CryptStamp(s.Resolver.Provider.Key()), relays(s).CryptStamp())
		},
		peers: func(s *lab.Scene) []capture.Peer { return relays(s).CryptPeers() },
	},
	{
		name: "odoh", tls: true, one: true,
		upstream: func(s *lab.Scene) string {
			return trusted(s, relays(s).TargetStamp()) + ", relay: " + quoted(relays(s).ODoHStamp())
		},
		peers: func(s *lab.Scene) []capture.Peer { return relays(s).ODoHPeers() },
	},
}

func trusted(s *lab.Scene, url string) string { return fmt.Sprintf("url: %q, ca: %q", url, s.CAFile) }

func quoted(text string) string { return fmt.Sprintf("%q", text) }

// relays gives the scene's relays, which are there once somebody asks for them.
func relays(s *lab.Scene) *internet.Relays {
	if s.Resolver.Relays == nil {
		if err := s.Resolver.AddRelays(); err != nil {
			panic(err)
		}
	}
	return s.Resolver.Relays
}

// config is a configuration with the channel direct alone.
func (via transport) config(s *lab.Scene) string { return via.with(s, "") }

// with is config with more said of the upstream, beginning with a comma.
func (via transport) with(s *lab.Scene, more string) string {
	via.permit(s)
	return direct(s, via.written(s, more))
}

// written is the upstream as a flow map.
func (via transport) written(s *lab.Scene, more string) string {
	return "{" + via.upstream(s) + more + "}"
}

// permit lets the client's host exchange packets with whom the transport needs, and not with the scene's resolver
// otherwise.
func (via transport) permit(s *lab.Scene) {
	if via.peers == nil {
		return
	}
	s.Permitted = slices.DeleteFunc(s.Permitted, func(p capture.Peer) bool { return slices.Contains(s.Resolver.Peers(), p) })
	s.Permitted = append(s.Permitted, via.peers(s)...)
}

// families are those in which a cell is played that is the same in all.
func (via transport) families() []internet.Families {
	if via.one {
		return []internet.Families{internet.Dual}
	}
	return internet.AllFamilies()
}
