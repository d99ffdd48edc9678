package control

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestThePACFileHasOneWayAndLooksNothingUp(t *testing.T) {
	s := &source{proxies: []Proxy{{netip.MustParseAddrPort("127.0.0.1:8080"), false}}}
	r, body := send(t, admin(t, s), get("/proxy.pac"))
	if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/x-ns-proxy-autoconfig" {
		t.Errorf("%d, %q", r.StatusCode, r.Header.Get("Content-Type"))
	}
	if !strings.Contains(body, `return "PROXY 127.0.0.1:8080";`) {
		t.Errorf("it says %s", body)
	}
	for _, never := range []string{"DIRECT", "SOCKS", "isInNet", "dnsResolve", "isResolvable", "myIpAddress"} {
		if strings.Contains(body, never) {
			t.Errorf("it says %s: %s", never, body)
		}
	}
}

func TestAPACFileThatWouldNameNoProxyIsNotThere(t *testing.T) {
	r, _ := send(t, admin(t, &source{proxies: []Proxy{{netip.MustParseAddrPort("192.0.2.1:8080"), false}}}), get("/proxy.pac"))
	if r.StatusCode != http.StatusNotFound {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestTheProxyIsOneThatTheBrowserReaches(t *testing.T) {
	proxies := func(at ...string) (all []Proxy) {
		for _, a := range at {
			all = append(all, Proxy{netip.MustParseAddrPort(a), strings.HasSuffix(a, "8443")})
		}
		return all
	}
	for _, tt := range []struct {
		all        []Proxy
		here, want string
	}{
		{proxies("127.0.0.1:8080"), "127.0.0.1", "127.0.0.1:8080"},
		{proxies("[::1]:8080"), "127.0.0.1", "[::1]:8080"},
		{proxies("127.0.0.1:8080", "192.0.2.1:8443"), "192.0.2.1", "192.0.2.1:8443"},
		{proxies("127.0.0.1:8080", "192.0.2.1:8443"), "192.0.2.2", ""},
		{proxies("192.0.2.1:8080"), "127.0.0.1", ""},
		{proxies("0.0.0.0:8080"), "192.0.2.1", "192.0.2.1:8080"},
		{proxies("0.0.0.0:8080"), "2001:db8::1", ""},
		{proxies("[::]:8080"), "2001:db8::1", "[2001:db8::1]:8080"},
		{proxies("[::]:8080"), "192.0.2.1", "192.0.2.1:8080"},
		{nil, "127.0.0.1", ""},
	} {
		p, ok := reachable(tt.all, netip.MustParseAddr(tt.here))
		if ok != (tt.want != "") || ok && p.Address.String() != tt.want || p.TLS != strings.HasSuffix(tt.want, "8443") {
			t.Errorf("from %s of %v: %v, %v; want %q", tt.here, tt.all, p, ok, tt.want)
		}
	}
}
