// Package config is what the user asked for: the configuration file, read strictly, checked as a whole, and made
// into plain data that the daemon builds from.
//
// It promises that every error of a file is reported in one run, each with its place, what is wrong and how to mend
// it; that a key it does not know is an error; that nothing written is dropped in silence; and that no secret
// stands in an error or in what [Config.Show] prints. It never looks a name up, never reaches the network, and it
// reads no file but the configuration and those that the configuration names.
package config

import (
	"net/netip"
	"time"

	"watertight/gate"
	"watertight/hop"
	"watertight/resolve"
	"watertight/route"
	"watertight/upstream"
)

// DirectName is the channel that always exists: it stands on the ground, every other stands on it in the end.
const DirectName = "direct"

// ViaName is the channel that the command line's --via makes.
const ViaName = "via"

// RefuseName is no channel: a route to it refuses what it matches.
const RefuseName = "refuse"

// NoState is the word for `state` that keeps nothing.
const NoState = "none"

// The defaults. Docs, schema and [Default] are made from them.
const (
	DefaultListen          = "127.0.0.1:8080"
	DefaultUpstream        = "quad9"
	DefaultResolverTimeout = 5 * time.Second
	DefaultCacheSize       = 16 // MiB
	DefaultConnections     = 20_000
	DefaultDrain           = 30 * time.Second
)

// Config is a whole configuration with every default filled in. It is plain data: copy it, compare it, but build
// one with [Parse], [Load] or [Default], which check what the parts promise about each other.
type Config struct {
	// File is where it was read from; empty if no file was.
	File     string
	Listen   Listen
	DNS      DNS
	Channels []Channel // `direct` is always among them; the rest as written, or `via` of the command line
	Routes   []Route   // first match wins. None: everything takes `direct`. Some: what none matches is refused
	Gateway  []Gateway // where the gateway's paths lead
	ACME     ACME      // how certificates of listeners are obtained
	LeakTest LeakTest  // how the running program tests itself
	Guard    *Guard    // what the host's guard lets through; nil where the key is not written
	Policy   Policy
	Limits   Limits
	Log      Log
	// State is the directory for what is kept from one run to the next; empty: that of the environment; or NoState.
	State string
	// Warnings are what is allowed but deserves a line in the log. They hold no secret.
	Warnings []Problem

	// written holds, by key path, the text of a value that has a reference to a secret in it: what Show prints.
	written map[string]string
}

// Listen says where the program listens.
type Listen struct {
	Proxy []ProxyListener // the mixed port; at least one
	Admin []AdminListener // health, metrics, status; none by default
	DNS   []DNSListener   // for programs that resolve by themselves; none by default

	Gateway []GatewayListener // for programs that take a base URL; none by default
	// Transparent is for what the firewall hands over; none by default.
	Transparent []TransparentListener
}

// Listener is one listening socket.
type Listener struct {
	Address netip.AddrPort // port 0: the kernel chooses
	// AllowInsecure is the user's word that an address beyond loopback may be served without TLS and users.
	AllowInsecure bool
}

// DNSListener is a socket, or a pair of them, on which DNS is spoken.
type DNSListener struct {
	Listener
	Scheme string // SchemeTLS, SchemeQUIC or SchemeHTTPS; empty for UDP and TCP
	ServerTLS
}

// DNS is what the DNS door tells of itself.
type DNS struct {
	// IDServer and VersionBind are what it says to who asks for id.server and version.bind in class CHAOS (RFC 4892): at
	// most 255 octets. Empty: that is refused.
	IDServer, VersionBind string
}

// socket is where a listener listens.
type socket struct {
	address  netip.AddrPort
	tcp, udp bool
}

// sockets gives those of every listener, by the key under which it stands.
func (l Listen) sockets() map[string][]socket {
	all := map[string][]socket{}
	for _, one := range l.Proxy {
		all["listen.proxy"] = append(all["listen.proxy"], socket{one.Address, true, one.H3})
	}
	for _, one := range l.Admin {
		all["listen.admin"] = append(all["listen.admin"], socket{one.Address, true, false})
	}
	for _, one := range l.Gateway {
		all["listen.gateway"] = append(all["listen.gateway"], socket{one.Address, true, false})
	}
	for _, one := range l.DNS {
		all["listen.dns"] = append(all["listen.dns"], socket{one.Address, one.TCP(), one.UDP()})
	}
	for _, one := range l.Transparent {
		all["listen.transparent"] = append(all["listen.transparent"], socket{one.Address, true, one.UDP})
	}
	return all
}

// TCP says whether a listener has a socket of TCP.
func (l DNSListener) TCP() bool { return l.Scheme != SchemeQUIC }

// UDP says whether a listener has a socket of UDP.
func (l DNSListener) UDP() bool { return l.Scheme != SchemeTLS }

// Schemes of `listen.dns`.
const (
	SchemeTLS   = "tls"   // DNS over TLS (RFC 7858)
	SchemeQUIC  = "quic"  // DNS over QUIC (RFC 9250)
	SchemeHTTPS = "https" // DNS over HTTPS (RFC 8484) with HTTP/2, HTTP/1.1 and, over UDP, HTTP/3, at DoHPath
)

// DoHPath is where DNS over HTTPS is served.
const DoHPath = "/dns-query"

// Channel is a way out together with its resolver.
type Channel struct {
	Name string
	// Over is the channel underneath, which carries and resolves the first hop. Empty for `direct` only.
	Over string
	// Proxies is the chain, first hop first. Empty: the way out of the channel underneath, with another resolver.
	Proxies []hop.Proxy
	// WireGuard is a tunnel in place of the chain; nil: there is none.
	WireGuard *WireGuard
	// Pool is in place of Proxies where each connection takes one of many; nil for none.
	Pool *Pool
	// ResolveAtExit says that the last proxy gets the name and nobody looks it up before; Resolver is then empty.
	ResolveAtExit bool
	Resolver      Resolver

	proxySources []proxySource // what each proxy was made from
}

// Resolver is a channel's resolver.
type Resolver struct {
	Upstreams []upstream.Upstream // in order of preference; each has its addresses
	Strategy  resolve.Strategy    // which of Upstreams are asked about a name
	Forward   []string            // special-use suffixes that are asked of the upstreams all the same
	DNSSEC    resolve.DNSSEC      // whether answers are validated, and by what
	Timeout   time.Duration       // of one look-up, all upstreams together
	CacheSize int                 // MiB that answers may take; 0: none are kept but failures
	Stale     time.Duration       // how long an expired answer may stand in; 0: never
	Prefetch  bool                // ask again for what is asked for often, before it expires

	// As it was written: what Show prints.
	forward, trust, negative []string

	sources []source // what each upstream was made from
	tunnel  bool     // plain DNS may be asked, inside the channel's tunnel
}

// Route sends what one of its patterns matches to a channel, or refuses it.
type Route struct {
	To      []route.Pattern
	Users   []route.UserPattern // whom it is for; empty: everyone
	Channel string              // empty if Refuse
	Refuse  bool                // `channel: refuse`
	// Labels are what it asks of the way out.
	Labels route.Labels
	Line   int // of the file, from 1; 0 for a route that the command line made
}

// Policy says what is refused whatever the route.
type Policy struct {
	PlainHTTP        route.Mode // refuse or allow: an http:// request leaves in the clear
	PlainDNS         route.Mode // always refuse
	ForeignResolvers route.Mode // refuse or allow: DoT and DoQ ports and known DoH names, reached through the proxy
	PrivateTargets   PrivateTargets
	ClientResolved   route.Mode // report, refuse or allow: an address that our resolver never gave out
	Contained        route.Mode // the same for contained programs: exec.client_resolved
}

// PrivateTargets says which addresses that are not public may be reached.
type PrivateTargets struct {
	Allow    bool           // all of them; Networks is then empty
	Networks []netip.Prefix // these; with none and not Allow, all are refused
}

// Limits bounds what clients can use.
type Limits struct {
	Connections int             // client connections at once, over all doors
	PerUser     gate.UserLimits // of each user; zero: none
	Drain       time.Duration   // how long a stop or a reload waits for open tunnels before it cuts them
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
	Names  bool   // log the names that clients ask for, at every level
}

// Channel gives the channel of a name.
func (c *Config) Channel(name string) (Channel, bool) {
	for _, ch := range c.Channels {
		if ch.Name == name {
			return ch, true
		}
	}
	return Channel{}, false
}
