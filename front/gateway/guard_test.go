package gateway

import (
	"io"
	"net/http"
	"slices"
	"testing"

	"watertight/fault"
	"watertight/gate"
	"watertight/name"
)

func TestOnlyWhoCallsTheGatewayByItsNameIsServed(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	for host, served := range map[string]bool{
		"127.0.0.1:8088": true, "localhost:8088": true, "LOCALHOST:8088": true, "[::ffff:127.0.0.1]:8088": true,
		"127.0.0.1": false, "127.0.0.1:80": false, "127.0.0.2:8088": false, "localhost": false, "[::1]:8088": false,
		"evil.example:8088": false, "localhost.evil.example:8088": false, "api.example.com": false, "": false,
		"gw.internal": true, "gw.internal:8088": true, "gw.internal:1": true, "other.internal:99": true, "other.internal:98": false,
	} {
		w.terms = Terms{Rules: gate.Open(), Hosts: []string{"gw.internal", "other.internal:99"}}
		_, r, resp := w.raw("GET /openai/ HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if served {
			if resp.StatusCode != 200 {
				t.Errorf("%q: %s", host, resp.Status)
			}
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		w.refusal(resp, string(body), fault.PolicyRoute)
		_ = r
	}
}

func TestAWebPageOfAnotherSiteIsNotServed(t *testing.T) {
	var origins []string
	w := newWorld(t, func(_ http.ResponseWriter, r *http.Request) { origins = append(origins, r.Header.Get("Origin")) })
	w.terms = Terms{Rules: gate.Open(), Origins: []string{"https://app.example.net"}}
	for _, c := range []struct {
		origin, site string
		served       bool
	}{
		{"", "", true},
		{"", "none", true},
		{"", "same-origin", true},
		{"http://127.0.0.1:8088", "same-origin", true},
		{"https://app.example.net", "cross-site", true},
		{"https://APP.example.net", "", true},
		{"", "cross-site", false},
		{"", "same-site", false},
		{"null", "", false},
		{"https://evil.example", "", false},
		{"http://127.0.0.1:9999", "same-site", false},
		{"https://app.example.net:1", "", false},
		{"http://app.example.net", "", false},
		{"https://127.0.0.1:8088", "", false},
	} {
		r := w.request("GET", "/openai/", nil)
		for name, v := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if v != "" {
				r.Header.Set(name, v)
			}
		}
		resp, body := w.do(w.client(false), r)
		if c.served != (resp.StatusCode == 200) {
			t.Errorf("%+v: %s", c, resp.Status)
		}
		if !c.served {
			w.refusal(resp, body, fault.PolicyRoute)
		}
	}
	if want := []string{"", "", "", "https://" + originName, "https://app.example.net", "https://APP.example.net"}; !slices.Equal(origins, want) {
		t.Errorf("the origin got %q", origins)
	}
}

func TestWhatIsNoRequestForAGatewayIsRefused(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("the origin was asked") })
	for _, line := range []string{
		"CONNECT api.example.com:443", "GET http://api.example.com/openai/", "TRACE /openai/", "OPTIONS *",
		"GET /openai/../admin", "GET /openai/%2e%2E/admin", "GET /openai/x/.", "GET /openai/..%2fadmin", "GET /openai/..;a/admin",
		"GET /https//x", "GET /https/api.example.com:0/", "GET /https/a@api.example.com/",
	} {
		_, _, resp := w.raw(line + " HTTP/1.1\r\nHost: 127.0.0.1:8088\r\n\r\n")
		body, _ := io.ReadAll(resp.Body)
		w.refusal(resp, string(body), fault.BadRequest)
	}
	if w.dialled() != 0 || len(w.asks) != 0 {
		t.Error("something was dialled, or asked for")
	}
}

func TestNoHostIsReachedThatIsNotListed(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, r.Host+r.RequestURI) })
	for _, path := range []string{"/", "/openaix/", "/https/", "/https/evil.example/", "/https/example.com/", "/https/api.example.com.evil.example/", "/http/api.example.com/", "/https/127.0.0.1/", "/HTTPS/api.example.com/"} {
		resp, body := w.get(path)
		if path == "/https/" {
			w.refusal(resp, body, fault.BadRequest)
			continue
		}
		w.refusal(resp, body, fault.PolicyRoute)
	}
	if w.dialled() != 0 || len(w.asks) != 0 {
		t.Error("something was dialled, or asked for")
	}
	every := Entry{Path: "/", To: name.Must("two.example.com:443"), ToPath: "/base/", Roots: authorities.Pool(), Way: w}
	w.table = table(t, append([]Entry{every}, w.entries...)...)
	for path, want := range map[string]string{
		"/any/path": "two.example.com/base/any/path", "/": "two.example.com/base/", // and the generic form stays
		"/https/api.example.com/v1?x": "api.example.com/v1?x", "/https/API.example.com.:443": "api.example.com/", "/https/two.example.com//": "two.example.com/",
		"/openai": "api.example.com/", "/openai//v1/": "api.example.com/v1/",
	} {
		if resp, body := w.get(path); resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %s %q", path, resp.Status, body)
		}
	}
}
