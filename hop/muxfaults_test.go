package hop

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
	"watertight/name"
)

func TestWhatAnHTTP2ProxyRefusesIsSaid(t *testing.T) {
	status := func(code int, proxyStatus string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			if proxyStatus != "" {
				w.Header().Set("Proxy-Status", proxyStatus)
			}
			w.WriteHeader(code)
			return true
		}
	}
	for title, tt := range map[string]struct {
		refuse func(http.ResponseWriter, *http.Request) bool
		code   fault.Code
		says   string
	}{
		"407":                     {status(407, ""), fault.HopAuth, "refused user and password: 407"},
		"403":                     {status(403, ""), fault.HopRefused, "refused the request: 403"},
		"502":                     {status(502, ""), fault.ConnectUnreachable, "cannot reach the destination"},
		"502 of a name":           {status(502, `p; error=dns_error; rcode="NXDOMAIN"`), fault.DNSNXDomain, "does not exist"},
		"the stream is reset":     {func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, fault.HopRefused, "broke off the request, with the code 2"},
		"the destination is shut": {nil, fault.ConnectRefused, "refused by the destination"},
		"it never answers":        {func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, fault.ConnectTimeout, "did not connect in time"},
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newH2(t)
				h.refuse = tt.refuse
				delete(h.at, "a.example:443")
				c := h.chain(t, "h2://user:hunter2@gw.example")
				_, err := c.Dial(t.Context(), name.Must("a.example:443"))
				f := fault.Of(err)
				if f.Code != tt.code || !strings.Contains(f.Message, "gw.example:443") || !strings.Contains(f.Message, tt.says) || strings.Contains(f.Error(), "hunter2") {
					t.Errorf("got %v", f)
				}
				c.Close()
			})
		})
	}
}

func TestWhoDoesNotSpeakHTTP2IsToldNothing(t *testing.T) {
	p := newPKI(t)
	no, other := p.serverConfig("gw.example"), p.serverConfig("gw.example")
	other.NextProtos = []string{"h2"}
	for title, serve := range map[string]func(net.Conn){
		"it does not say so":           p.overTLS(no, silent),
		"it says so, but is not":       p.overTLS(other, says("220 hello, I am a mail server\r\n")),
		"it says so, and hangs up":     p.overTLS(other, func(net.Conn) {}),
		"it says so, and nothing more": p.overTLS(other, silent),
	} {
		t.Run(title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{buffers: true, at: map[string]func(net.Conn){"gw.example:443": serve}}
				c, err := Chain(under(m, noLookup), p.proxies(t, "h2://gw.example"))
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.Dial(t.Context(), name.Must("a.example:443"))
				if f := fault.Of(err); f.Code != fault.HopRefused || !strings.Contains(f.Message, "the proxy gw.example:443") {
					t.Errorf("got %v", err)
				}
				c.Close()
			})
		})
	}
}

func TestAGivenUpRequestLeavesTheConnectionToTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newH2(t)
		h.refuse = func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.Host, "slow.") {
				<-r.Context().Done()
			}
			return false
		}
		c := h.chain(t)
		kept := dialed(t, c, "a.example:443")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.Dial(ctx, name.Must("slow.example:443")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		hears(t, kept, "still here")
		hears(t, dialed(t, c, "a.example:443"), "and a new one")
		if h.connections() != 1 {
			t.Errorf("%d connections", h.connections())
		}
		kept.Close()
		c.Close()
	})
}

func TestAnHTTP2ProxyHasItsPlaceInAChain(t *testing.T) {
	h := newH2(t)
	h.at["first.example:1080"] = h.socksProxy
	h.at["192.0.2.2:443"] = h.p.overTLS(h.p.serverConfig(), h.httpProxy)
	h.at["192.0.2.3:443"] = h.at["gw.example:443"]
	for _, urls := range [][]string{
		{"h2://gw.example", "https://192.0.2.2"},
		{"socks5://first.example", "https://192.0.2.2"},
		{"h2://gw.example", "https://192.0.2.2", "socks5://192.0.2.4"},
	} {
		h.at["192.0.2.4:1080"] = h.socksProxy
		hears(t, dialed(t, h.chain(t, urls...), "a.example:443"), "through "+strings.Join(urls, ", "))
	}
}
