package control

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
)

// Proxy is a listener that a browser can be pointed at.
type Proxy struct {
	Address netip.AddrPort
	TLS     bool // it is spoken to over TLS
}

// pacType is the content type of a PAC file: browsers take no other for certain.
const pacType = "application/x-ns-proxy-autoconfig"

// pac gives the PAC file: one way for everything, and none beside it. It calls no function that looks a name up (isInNet,
// dnsResolve, isResolvable, myIpAddress), and does not end in DIRECT, which a browser would take where the proxy is down.
func (s *Server) pac(w http.ResponseWriter, r *http.Request) {
	at, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	var here netip.Addr
	if at != nil {
		here = at.AddrPort().Addr().Unmap()
	}
	p, ok := reachable(s.o.Source.Proxies(), here)
	if !ok {
		refuse(w, http.StatusNotFound, "no `listen.proxy` is at the address that you came to, and a PAC file that names none would lead around the proxy")
		return
	}
	scheme := "PROXY"
	if p.TLS {
		scheme = "HTTPS"
	}
	w.Header().Set("Content-Type", pacType)
	fmt.Fprintf(w, "// Watertight: everything goes to the proxy by its name. Nothing here looks a name up, and nothing goes another way.\n"+
		"function FindProxyForURL(url, host) {\n  return \"%s %s\";\n}\n", scheme, p.Address)
}

// reachable gives the first proxy that whoever came to an address of this host can come to as well: at the same address, or,
// from this host, on another one of loopback.
func reachable(all []Proxy, here netip.Addr) (Proxy, bool) {
	if !here.IsValid() {
		return Proxy{}, false
	}
	for _, p := range all {
		a := p.Address.Addr().Unmap()
		every := a == netip.IPv6Unspecified() || a == netip.IPv4Unspecified() && here.Is4()
		if a == here || every {
			p.Address = netip.AddrPortFrom(here.WithZone(""), p.Address.Port())
			return p, true
		}
	}
	for _, p := range all {
		if here.IsLoopback() && p.Address.Addr().Unmap().IsLoopback() {
			return p, true
		}
	}
	return Proxy{}, false
}
