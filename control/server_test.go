package control

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"watertight/gate"
)

// source is a program that tells what the test says.
type source struct {
	proxies []Proxy
	status  Status
	reasons []string
	reload  func(context.Context) error
	flush   func(string) ([]Flushed, error)
}

func (s *source) Status() Status                   { return s.status }
func (s *source) Ready() (bool, []string)          { return len(s.reasons) == 0, s.reasons }
func (s *source) Reload(ctx context.Context) error { return s.reload(ctx) }

func (s *source) Proxies() []Proxy                        { return s.proxies }
func (s *source) Flush(channel string) ([]Flushed, error) { return s.flush(channel) }

func server(t *testing.T, from Source) *Server {
	t.Helper()
	s, err := New(Options{
		Source:  from,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "watertight_ready 1") }),
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// admin serves the admin port of a source on loopback, and gives its address.
func admin(t *testing.T, from Source) string {
	t.Helper()
	return adminBy(t, server(t, from), Door{TLS: func() *tls.Config { return nil }, Rules: gate.Open, Keeper: gate.NewKeeper()})
}

// adminBy serves the admin port with a door.
func adminBy(t *testing.T, s *Server, d Door) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.ServeAdmin(ctx, l, d) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ServeAdmin: %v", err)
		}
	})
	return l.Addr().String()
}

// send writes a request as it is, and gives the answer with its body read. The server closes the connection.
func send(t *testing.T, to, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return exchange(t, conn, request)
}

func exchange(t *testing.T, conn net.Conn, request string) (*http.Response, string) {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, request) }() // it may be refused halfway
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// get is a request as a client on this host sends it.
func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1:9053\r\nConnection: close\r\n\r\n"
}

func TestNew_RefusesWhatIsMissing(t *testing.T) {
	whole := Options{Source: &source{}, Metrics: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)}
	for _, cut := range []func(*Options){
		func(o *Options) { o.Source = nil },
		func(o *Options) { o.Metrics = nil },
		func(o *Options) { o.Log = nil },
	} {
		o := whole
		cut(&o)
		if _, err := New(o); err == nil {
			t.Errorf("New took %+v", o)
		}
	}
}

// faulty is a program that panics when it is asked.
type faulty struct{ source }

func (*faulty) Status() Status { panic("secret") }

func TestAFaultEndsARequestAndIsTold(t *testing.T) {
	var told bytes.Buffer
	s := server(t, &faulty{})
	s.o.Log = slog.New(slog.NewTextHandler(&told, nil))
	ctx, stop := context.WithCancel(t.Context())
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, l, s.admin(), nil) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, get("/status")) // it may be cut off
	if b, _ := io.ReadAll(conn); len(b) > 0 {
		t.Errorf("%s", b)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := told.String(); !strings.Contains(text, "panic=string") || !strings.Contains(text, "faulty") || strings.Contains(text, "secret") {
		t.Errorf("the log has %q", text)
	}
}

func TestHealthz_IsFineWhileTheProgramLivesEvenIfNotReady(t *testing.T) {
	r, body := send(t, admin(t, &source{reasons: []string{"direct: no"}}), get("/healthz"))
	if r.StatusCode != http.StatusOK || body != "ok\n" {
		t.Errorf("%s %q", r.Status, body)
	}
}

func TestReadyz_TellsWhichChannelIsNotReadyAndWhy(t *testing.T) {
	s := &source{reasons: []string{"direct: the resolver has not answered yet"}}
	r, body := send(t, admin(t, s), get("/readyz"))
	var got readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != http.StatusServiceUnavailable || got.Ready || !slices.Equal(got.Reasons, s.reasons) {
		t.Errorf("not ready: %s %s", r.Status, body)
	}
	r, body = send(t, admin(t, &source{}), get("/readyz"))
	if r.StatusCode != http.StatusOK || !strings.Contains(body, `"ready": true`) || !strings.Contains(body, `"reasons": []`) {
		t.Errorf("ready: %s %s", r.Status, body)
	}
}

func TestMetrics_AreServed(t *testing.T) {
	if r, body := send(t, admin(t, &source{}), get("/metrics")); r.StatusCode != http.StatusOK || body != "watertight_ready 1\n" {
		t.Errorf("%s %q", r.Status, body)
	}
}

func TestStatus_HasNoNullWhereAListBelongs(t *testing.T) {
	s := &source{status: Status{Channels: []Channel{{Name: "direct"}}}}
	if _, body := send(t, admin(t, s), get("/status")); strings.Contains(body, "null") {
		t.Error(body)
	}
	if _, body := send(t, admin(t, &source{}), get("/status")); strings.Contains(body, "null") {
		t.Error(body)
	}
}

func TestAdmin_AnswersOnlyWhoAsksByAddressOrLocalhost(t *testing.T) {
	at := admin(t, &source{})
	for host, want := range map[string]int{
		"127.0.0.1:9053":                http.StatusOK,
		"127.0.0.1":                     http.StatusOK,
		"192.0.2.1:80":                  http.StatusOK, // a forwarded port: no page can send it unless it was loaded from there
		"[::1]:9053":                    http.StatusOK,
		"[::1]":                         http.StatusOK,
		"localhost:9053":                http.StatusOK,
		"LocalHost":                     http.StatusOK,
		"rebound.attacker.example:9053": http.StatusMisdirectedRequest,
		"attacker.example":              http.StatusMisdirectedRequest,
		"localhost.attacker.example":    http.StatusMisdirectedRequest,
		"127.0.0.1.attacker.example":    http.StatusMisdirectedRequest,
		"attacker.localhost":            http.StatusMisdirectedRequest,
		"localhost.":                    http.StatusMisdirectedRequest,
		"127.1":                         http.StatusMisdirectedRequest,
		"2130706433":                    http.StatusMisdirectedRequest,
		"localhost:80:attacker.example": http.StatusMisdirectedRequest,
		"[attacker.example]":            http.StatusMisdirectedRequest,
		"":                              http.StatusMisdirectedRequest,
	} {
		for _, path := range []string{"/status", "/healthz", "/nowhere"} {
			r, _ := send(t, at, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			if refused := r.StatusCode == http.StatusMisdirectedRequest; refused != (want == http.StatusMisdirectedRequest) {
				t.Errorf("Host %q, %s: %s", host, path, r.Status)
			}
		}
	}
	r, _ := send(t, at, "GET http://attacker.example/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	if r.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("a name in the absolute form passes: %s", r.Status)
	}
}

func TestAdmin_MayBeAskedByNameWhereItIsNotOnLoopback(t *testing.T) {
	for at, want := range map[string]int{"192.0.2.1": 0, "127.0.0.1": http.StatusMisdirectedRequest, "::1": http.StatusMisdirectedRequest} {
		ctx := context.WithValue(t.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(at), Port: 9053}))
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://watertight.internal.example:9053/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := hostIsLocal(r); got != want {
			t.Errorf("at %s: %d, want %d", at, got, want)
		}
	}
}

func TestAdmin_TakesGetAndHeadOnly(t *testing.T) {
	at := admin(t, &source{reload: func(context.Context) error { t.Error("it was reloaded"); return nil }})
	for _, path := range []string{"/status", "/healthz", "/reload", "/metrics"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"} {
			r, _ := send(t, at, method+" "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if r.StatusCode != http.StatusMethodNotAllowed && path != "/reload" {
				t.Errorf("%s %s: %s", method, path, r.Status)
			}
			if r.StatusCode == http.StatusMethodNotAllowed && r.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: Allow is %q", method, path, r.Header.Get("Allow"))
			}
		}
	}
	if r, _ := send(t, at, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); r.StatusCode != http.StatusNotFound {
		t.Errorf("OPTIONS *: %s", r.Status)
	}
	if r, body := send(t, at, "HEAD /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); r.StatusCode != http.StatusOK || body != "" {
		t.Errorf("HEAD: %s %q", r.Status, body)
	}
}

func TestAdmin_HasNoCommands(t *testing.T) {
	at := admin(t, &source{reload: func(context.Context) error { t.Error("it was reloaded"); return nil }})
	for _, method := range []string{"GET", "POST"} {
		if r, _ := send(t, at, method+" /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", method, r.Status)
		}
	}
}

func TestAnswers_AreOfNoUseToAWebPage(t *testing.T) {
	at := admin(t, &source{})
	for _, path := range []string{"/", "/status", "/metrics", "/nowhere"} {
		r, _ := send(t, at, get(path))
		for field, want := range map[string]string{
			"X-Content-Type-Options":       "nosniff",
			"Cache-Control":                "no-store",
			"Cross-Origin-Resource-Policy": "same-origin",
			"X-Frame-Options":              "DENY",
			"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
			"Access-Control-Allow-Origin":  "",
		} {
			if got := r.Header.Get(field); got != want {
				t.Errorf("%s: %s is %q, want %q", path, field, got, want)
			}
		}
	}
}

func TestRequests_WithOversizedHeadersAreRefused(t *testing.T) {
	conn, err := net.Dial("tcp", admin(t, &source{}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { // the server does not read it to its end
		_, _ = io.WriteString(conn, "GET /status HTTP/1.1\r\nHost: localhost\r\nX-Fill: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(r.Status)
	}
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"127.0.0.1:1", "[::1]", "localhost:", "[localhost]", "a.example:80", "[::1", "::1", "[fe80::1%a.example]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, _, _ := strings.Cut(strings.ToLower(host), ":")
		if isLiteralOrLocalhost(host) && name != "localhost" && strings.Trim(strings.ToLower(host), "0123456789abcdef:.[]") != "" {
			t.Errorf("%q passes, and it is neither an address nor localhost", host)
		}
	})
}
