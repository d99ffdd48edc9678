package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"watertight/fault"
)

// guard says why a request is not for this gateway, or comes from a web page of somebody else; nil where neither is. A page
// in a browser can make the browser ask loopback addresses, and by a name of its own that is suddenly the name of such an
// address (DNS rebinding) it could even read the answers.
func guard(r *http.Request, called Terms) *fault.Error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case r.Method == http.MethodConnect || r.URL.IsAbs() || r.RequestURI == "*":
		return &fault.Error{
			Code: fault.BadRequest, Message: "this is the gateway and not a proxy",
			Hint: "give clients the proxy port as a proxy (`watertight env`), and this address as the beginning of a base URL",
		}
	case r.Method == http.MethodTrace: // its answer would show the fields that the configuration sets
		return &fault.Error{Code: fault.BadRequest, Message: "TRACE is not passed on", Hint: "ask in another way"}
	case !isCalled(r.Host, ownPort(r), local, called.Hosts):
		return &fault.Error{
			Code: fault.PolicyRoute, Message: "the Host field does not name this gateway",
			Hint: "call it by the address on which it listens, or add the name to `hosts` of `listen.gateway`",
		}
	case isForeignPage(r, called.Origins):
		return &fault.Error{
			Code: fault.PolicyRoute, Message: "a web page of another site asks, and the gateway is not for it",
			Hint: "add the page's origin to `origins` of `listen.gateway` if it may use the gateway",
		}
	}
	return nil
}

// isCalled says whether a Host field names a listener: the address that the client connected to, `localhost` for one on
// loopback, or one of hosts.
func isCalled(host, defaultPort string, local net.Addr, hosts []string) bool {
	host = strings.ToLower(host)
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), defaultPort
	}
	if slices.Contains(hosts, host) || slices.Contains(hosts, name) || slices.Contains(hosts, "["+name+"]") {
		return true
	}
	a, ok := addrOf(local)
	if !ok || port != portText(a.Port()) {
		return false
	}
	if called, err := netip.ParseAddr(name); err == nil {
		return called.Unmap() == a.Addr()
	}
	return name == "localhost" && a.Addr().IsLoopback()
}

// isForeignPage says whether a browser sent the request for a page that is neither of this gateway nor one of origins.
// Browsers say so in Sec-Fetch-Site (Fetch Metadata) and in Origin (RFC 6454); other programs send neither.
func isForeignPage(r *http.Request, origins []string) bool {
	origin := r.Header.Values("Origin")
	switch {
	case len(origin) > 1:
		return true
	case len(origin) == 1 && slices.Contains(origins, strings.ToLower(origin[0])):
		return false
	case len(origin) == 1 && !strings.EqualFold(origin[0], ownOrigin(r)):
		return true
	}
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "none" && site != "same-origin" {
			return true
		}
	}
	return false
}

// ownOrigin is the gateway's own, as the client called it.
func ownOrigin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// ownPort is that of a Host field without one.
func ownPort(r *http.Request) string {
	if r.TLS != nil {
		return "443"
	}
	return "80"
}

// addrOf gives the address and the port of an address of the network.
func addrOf(a net.Addr) (netip.AddrPort, bool) {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), ap.IsValid()
}
