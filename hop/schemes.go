package hop

import (
	"maps"
	"slices"
)

// Schemes of proxies.
const (
	SchemeSOCKS5    = "socks5"
	SchemeSOCKS4a   = "socks4a"
	SchemeHTTP      = "http"
	SchemeHTTPS     = "https"      // HTTP CONNECT over TLS
	SchemeSOCKS5TLS = "socks5+tls" // SOCKS5 over TLS
	SchemeH2        = "h2"         // HTTP/2 CONNECT and connect-udp over TLS (RFC 9113, section 8.5; RFC 8441; RFC 9298)
	SchemeH3        = "h3"         // HTTP/3 CONNECT and connect-udp (RFC 9114, section 4.4; RFC 9298)
)

// traits is what tells schemes apart before anything is sent.
type traits struct {
	kind string // what people call such a proxy
	port uint16 // where it listens unless the URL says otherwise; 0: the URL has to
	// tls says that the proxy proves who it is, and that those on the way to it are kept from reading what it is asked and
	// what it carries.
	tls      bool
	http     bool // a user is one of HTTP (RFC 7617)
	password bool // the protocol has room for one
	v6       bool // the protocol has room for an IPv6 address
	// datagrams says that the protocol carries them, no less hidden than connections.
	datagrams bool
	// inStream says that they travel in a connection to the proxy: what is before it need not carry them.
	inStream bool
}

// socksPort is what IANA has for socks. HTTP proxies in clear text have no port that most of them use.
const socksPort = 1080

var schemes = map[string]traits{
	SchemeSOCKS5:    {kind: "a SOCKS5 proxy", port: socksPort, password: true, v6: true, datagrams: true},
	SchemeSOCKS4a:   {kind: "a SOCKS4a proxy", port: socksPort},
	SchemeHTTP:      {kind: "an HTTP proxy", http: true, password: true, v6: true},
	SchemeHTTPS:     {kind: "an HTTP proxy", port: 443, tls: true, http: true, password: true, v6: true},
	SchemeH2:        {kind: "an HTTP/2 proxy", port: 443, tls: true, http: true, password: true, v6: true, datagrams: true, inStream: true},
	SchemeH3:        {kind: "an HTTP/3 proxy", port: 443, tls: true, http: true, password: true, v6: true, datagrams: true},
	SchemeSOCKS5TLS: {kind: "a SOCKS5 proxy", port: socksPort, tls: true, password: true, v6: true},
}

// Schemes gives the schemes of all proxies, sorted.
func Schemes() []string { return slices.Sorted(maps.Keys(schemes)) }

// Encrypted says whether those on the way to the proxy are kept from reading what it is asked and what it carries. Where they
// are not, they read the target as the proxy gets it, and whatever the client itself does not encrypt.
func (p Proxy) Encrypted() bool { return schemes[p.Scheme].tls }

// CarriesIPv6 says whether the proxy can be asked for an IPv6 address.
func (p Proxy) CarriesIPv6() bool { return schemes[p.Scheme].v6 }

// CarriesDatagrams says whether the proxy speaks a protocol that carries datagrams. Whether it is willing shows when it is
// asked.
func (p Proxy) CarriesDatagrams() bool { return schemes[p.Scheme].datagrams }

// Blocker gives the proxy of a chain that keeps datagrams from passing it, if there is one.
func Blocker(proxies []Proxy) (p Proxy, found bool) {
	for _, p := range slices.Backward(proxies) {
		switch s := schemes[p.Scheme]; {
		case !s.datagrams:
			return p, true
		case s.inStream:
			return Proxy{}, false
		}
	}
	return Proxy{}, false
}

// InStream says that datagrams reach one of the proxies in a connection: what the chain stands on need not carry any.
func InStream(proxies []Proxy) bool {
	return slices.ContainsFunc(proxies, func(p Proxy) bool { return schemes[p.Scheme].inStream })
}

// aliases are other ways to write a scheme, which mean the same here: no name is ever resolved before a proxy gets it.
var aliases = map[string]string{
	"socks5h": SchemeSOCKS5,
	"socks5s": SchemeSOCKS5TLS,
}

// unsupported are schemes that people write, with why they are not taken.
var unsupported = map[string]string{
	"masque":    "write h3:// for a proxy that speaks connect-udp over HTTP/3",
	"wireguard": "a tunnel is no proxy, and stands under `wireguard` of a channel",
	"ssh":       "SSH is not carried by this version",
	"ss":        "Shadowsocks is not carried by this version",
	"socks":     "the version of SOCKS is missing",
	"socks4":    "SOCKS 4 has no names: write socks4a:// if the proxy speaks 4a",
	"tcp":       "it names no proxy protocol",
	"udp":       "it names no proxy protocol",
}
