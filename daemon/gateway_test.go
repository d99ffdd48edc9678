package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
	"watertight/route"
)

// gated is a live daemon with a gateway, and an origin that says what it was asked.
type gated struct {
	*live
	conns chan string // where each connection to the origin came from
	hold  chan struct{}
	port  int
	three atomic.Bool // the origin says that it speaks HTTP/3

	hooked func(r *http.Request, body string) // is told of every POST; nil: nobody is
}

func newGated(t *testing.T, entries func(origin string) string, more string) *gated {
	t.Helper()
	g := &gated{conns: make(chan string, 100), hold: make(chan struct{})}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.port = socket.Addr().(*net.TCPAddr).Port
	origin := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if g.three.Load() {
				w.Header().Set("Alt-Svc", fmt.Sprintf(`h3=":%d"`, g.port))
			}
			if r.Method == http.MethodPost && g.hooked != nil {
				body, _ := io.ReadAll(r.Body)
				g.hooked(r, string(body))
			}
			if strings.HasSuffix(r.URL.Path, "/stream") {
				w.WriteHeader(200)
				http.NewResponseController(w).Flush()
				<-g.hold
			}
			fmt.Fprintf(w, "%s%s %s", r.Host, r.RequestURI, r.Header.Get("X-Key"))
		}),
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{authority.CA.Issue([]string{hostName}, []netip.Addr{loopback})}},
		ConnState: func(c net.Conn, s http.ConnState) {
			if s == http.StateNew {
				g.conns <- c.RemoteAddr().String()
			}
		},
	}
	go origin.ServeTLS(socket, "", "")
	t.Cleanup(func() { origin.Close() })
	g.live = newLive(t, g.text(entries, more))
	return g
}

// text is a configuration with a gateway.
func (g *gated) text(entries func(origin string) string, more string) string {
	if !strings.Contains(more, "listen:") {
		more += "listen: {proxy: 127.0.0.1:0, gateway: 127.0.0.1:0}\n"
	}
	return more + "gateway:\n" + entries(fmt.Sprintf("https://%s:%d", hostName, g.port))
}

// one is the usual entry.
func one(origin string) string {
	return fmt.Sprintf("  - {path: /a/, to: \"%s/v1/\", channel: direct, ca: %q, headers: {X-Key: k3v9}}\n", origin, caFile)
}

func (g *gated) base() string { return "http://" + g.at.Gateway[0].String() }

// get asks for a URL, through a proxy unless that is empty, and gives the status and what was said.
func (g *gated) get(url, proxy string, fields ...string) (status int, body string) {
	g.t.Helper()
	resp := g.open2(url, proxy, fields...)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (g *gated) open2(at, proxy string, fields ...string) *http.Response {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), "GET", at, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
		if fields[i] == "Host" {
			r.Host = fields[i+1]
		}
	}
	tr := &http.Transport{DialContext: dialLoopback, DisableKeepAlives: true}
	if proxy != "" {
		u, err := url.Parse(proxy)
		if err != nil {
			g.t.Fatal(err)
		}
		tr.Proxy = http.ProxyURL(u)
	}
	resp, err := (&http.Client{Transport: tr, Timeout: limit}).Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	return resp
}

func dialLoopback(ctx context.Context, _, at string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(at)
	if err != nil {
		return nil, err
	}
	return net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(ap))
}

func TestGateway_LeadsToTheOriginInTheChannelOfItsEntry(t *testing.T) {
	g := newGated(t, func(origin string) string {
		return one(origin) +
			fmt.Sprintf("  - {path: /routed/, to: \"%s/\", ca: %q}\n", origin, caFile) +
			fmt.Sprintf("  - {path: /strange/, to: \"%s/\", channel: direct}\n", origin) +
			fmt.Sprintf("  - {hosts: [%s], channel: direct, ca: %q}\n", hostName, caFile)
	}, "routes: [{to: \"*\", channel: refuse}]\n")
	g.start().awaitReady()
	host := fmt.Sprintf("%s:%d", hostName, g.port)
	for path, want := range map[string]string{
		"/a/x?q":                      "200 " + host + "/v1/x?q k3v9",
		"/https/" + host + "/y":       "200 " + host + "/y ",
		"/routed/":                    "403 " + string(fault.PolicyRoute), // its channel is that of the routes, which refuse
		"/strange/":                   "502 unknown authority",
		"/https/other." + host + "/":  "403 is not listed",
		"/https/" + hostName + ":53/": "403 " + string(fault.PolicyForeignResolver),
		"/https/" + hostName + ":80/": "403 " + string(fault.PolicyPlainHTTP),
		"/none":                       "403 no entry of the gateway",
	} {
		status, body := g.get(g.base()+path, "")
		if code, part, _ := strings.Cut(want, " "); fmt.Sprint(status) != code || !strings.Contains(body, part) {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	if text := g.log.String(); strings.Contains(text, "k3v9") || strings.Contains(text, canary) {
		t.Errorf("the log shows a secret or a name:\n%s", text)
	}
}

func TestGateway_ServesTheNamesAndPagesOfTheConfigurationInForce(t *testing.T) {
	g := newGated(t, one, "")
	g.start().awaitReady()
	asks := func(want int, fields ...string) {
		t.Helper()
		if status, body := g.get(g.base()+"/a/", "", fields...); status != want {
			t.Errorf("%v: %d %s, want %d", fields, status, body, want)
		}
	}
	asks(403, "Host", "gw.internal:1")
	asks(403, "Origin", "https://app.example.net")
	g.mustReload(g.text(one, "listen: {proxy: 127.0.0.1:0, gateway: {address: 127.0.0.1:0, hosts: gw.internal, origins: \"https://app.example.net\"}}\n"))
	asks(200, "Host", "gw.internal:1")
	asks(200, "Origin", "https://app.example.net")
	g.mustReload(g.text(one, ""))
	asks(403, "Host", "gw.internal:1")
	asks(403, "Origin", "https://app.example.net")
}

func TestGateway_IsServedWhereAClientAsksTheProxyForIt(t *testing.T) {
	g := newGated(t, one, "")
	g.start().awaitReady()
	want := fmt.Sprintf("%s:%d/v1/x k3v9", hostName, g.port)
	port := g.at.Gateway[0].Port()
	for _, proxy := range []string{"http://" + g.at.Proxy[0].String(), "socks5://" + g.at.Proxy[0].String()} {
		for _, host := range []string{"127.0.0.1", "localhost"} {
			if status, body := g.get(fmt.Sprintf("http://%s:%d/a/x", host, port), proxy); status != 200 || body != want {
				t.Errorf("%s by %s: %d %s", host, proxy, status, body)
			}
		}
	}
	// It is let in by its own address alone: any other is judged as ever.
	if status, body := g.get(fmt.Sprintf("http://127.0.0.2:%d/a/x", port), "http://"+g.at.Proxy[0].String()); status == 200 {
		t.Errorf("by another address: %d %s", status, body)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+fmt.Sprint(g.at.Proxy[0].Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	fmt.Fprintf(conn, "CONNECT 127.0.0.1:%[1]d HTTP/1.1\r\nHost: 127.0.0.1:%[1]d\r\n\r\n", port)
	r := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	fmt.Fprintf(conn, "GET /a/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", port)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != want || err != nil {
		t.Errorf("through CONNECT: %q %v", body, err)
	}
}

func TestGateway_IsNotLetInByTheBackDoorForAClientOfAnotherHost(t *testing.T) {
	g := newGated(t, one, "")
	g.start().awaitReady()
	target := name.Must(g.at.Gateway[0].String())
	for client, served := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true, "192.0.2.1:1": false, "10.0.0.1:1": false} {
		conn, err := hosted{g.d, event.Discard{}}.Dial(t.Context(), route.Request{Door: "http-connect", Client: netip.MustParseAddrPort(client), Target: target})
		if served != (err == nil) {
			t.Errorf("%s: %v", client, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestGateway_ReportsWhoAsksTheProxyPortForIt(t *testing.T) {
	g := newGated(t, one, "")
	g.start().awaitReady()
	alice := client.Identity{User: "alice"}
	told := &recorder{}
	conn, err := hosted{g.d, told}.Dial(t.Context(), route.Request{Door: "http-connect", Client: netip.MustParseAddrPort("127.0.0.1:1"), Identity: alice, Target: name.Must(g.at.Gateway[0].String())})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(told.requests) != 1 || told.requests[0].Identity != alice {
		t.Errorf("told %+v", told.requests)
	}
}

func TestGateway_NeedsNewConnectionsAfterAReloadAndAChangeOfTheNetwork(t *testing.T) {
	g := newGated(t, one, "")
	g.start().awaitReady()
	ask := func() string {
		t.Helper()
		if status, body := g.get(g.base()+"/a/x", ""); status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		select {
		case from := <-g.conns:
			return from
		default:
			return ""
		}
	}
	if ask() == "" || ask() != "" {
		t.Error("two requests did not share a connection")
	}
	g.network <- struct{}{}
	for until := time.Now().Add(limit); ask() == ""; { // the watcher works on by itself
		if time.Now().After(until) {
			t.Fatal("after a change of the network the connection is used on")
		}
	}
	g.mustReload(g.text(one, ""))
	if ask() == "" {
		t.Error("after a reload the connection is used on")
	}
	g.mustReload(g.text(func(origin string) string { return strings.Replace(one(origin), "/a/", "/b/", 1) }, ""))
	if status, _ := g.get(g.base()+"/a/x", ""); status != 403 {
		t.Errorf("an entry that is gone: %d", status)
	}
	if status, _ := g.get(g.base()+"/b/x", ""); status != 200 {
		t.Errorf("an entry that is new: %d", status)
	}
}

func TestGateway_AnOldConnectionIsServedByTheConfigurationInForce(t *testing.T) {
	at := freePort(t)
	listening := func(rest string) string {
		return fmt.Sprintf("listen: {proxy: 127.0.0.1:0, gateway: {address: %q%s}}\n", at, rest)
	}
	g := newGated(t, one, listening(", hosts: gw.internal"))
	g.start().awaitReady()
	conn, err := dialLoopback(t.Context(), "tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	asks := func(host string, want int) {
		t.Helper()
		fmt.Fprintf(conn, "GET /a/ HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", host, resp.StatusCode, body, want)
		}
	}
	asks("gw.internal", 200)
	asks("gw.internal", 200)
	g.mustReload(g.text(one, listening(", hosts: other.internal")))
	asks("other.internal", 200)
	g.mustReload(g.text(one, fmt.Sprintf("listen: {proxy: 127.0.0.1:0, gateway: %q}\n", freePort(t))))
	asks("other.internal", 503)
	if b, err := r.ReadByte(); err == nil {
		t.Errorf("the connection goes on with %q", b)
	}
}

func TestGateway_AStreamOutlivesAReload_andHasItsTimeAtAStop(t *testing.T) {
	g := newGated(t, one, "limits: {drain: 1m}\n")
	g.start().awaitReady()
	resp := g.open2(g.base()+"/a/stream", "")
	defer resp.Body.Close()
	g.mustReload(g.text(one, "limits: {drain: 1m}\nlisten: {proxy: 127.0.0.1:0, gateway: \""+freePort(t).String()+"\"}\n"))
	g.cancel()
	close(g.hold)
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(body), "/v1/stream k3v9") {
		t.Errorf("%q %v", body, err)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
}
