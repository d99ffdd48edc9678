package gateway

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"watertight/client"
	"watertight/fault"
	"watertight/gate"
)

var tokenKey = []byte(strings.Repeat("k", gate.MinKey))

// guarded gives rules with the users alice and bob, whose password is s3cret, and a token of alice.
func guarded(t *testing.T) (*gate.Rules, string) {
	t.Helper()
	var lines string
	for _, user := range []string{"alice", "bob"} {
		line, err := gate.NewLine(user, "s3cret")
		if err != nil {
			t.Fatal(err)
		}
		lines += line + "\n"
	}
	users, err := gate.ParseUsers([]byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	token, err := users.Token(tokenKey, "alice", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return gate.Guarded(users, tokenKey), token
}

func basic(user, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

func TestAUserSaysWhoHeIsWhereSDKsCanSayIt_andTheOriginDoesNotLearnIt(t *testing.T) {
	rules, token := guarded(t)
	heard := make(chan string, 1)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		fmt.Fprint(&b, r.Host, r.RequestURI)
		_ = r.Header.Write(&b)
		heard <- b.String()
		rw.Header().Set("Location", "/next")
		rw.Header().Set("Set-Cookie", "a=b")
	})
	w.terms.Rules = rules
	ours, wrong := credentialsField, "AUTH_REQUIRED"
	for _, c := range []struct {
		what, path  string
		name, value string // of a field
		want        string // who it is, or a code
	}{
		{"a token in the path", "/~alice:" + token + "/openai/v1?q", "", "", "alice"},
		{"the same, escaped", "/~alice%3a" + token + "/openai/v1?q", "", "", "alice"},
		{"with labels", "/~alice-session-k3:" + token + "/openai/v1?q", "", "", "alice-session-k3"},
		{"a password in a field of ours", "/openai/v1?q", ours, basic("bob", "s3cret"), "bob"},
		{"a token there", "/openai/v1?q", ours, basic("alice", token), "alice"},
		{"as the API's key", "/openai/v1?q", "Authorization", "Bearer alice:" + token, "alice"},
		{"in the URL, as user and password", "/openai/v1?q", "Authorization", basic("bob", "s3cret"), "bob"},
		{"the path before a field", "/~alice:" + token + "/openai/v1?q", ours, basic("bob", "wrong"), "alice"},
		{"nothing", "/openai/v1?q", "", "", wrong},
		{"an API's key", "/openai/v1?q", "Authorization", "Bearer sk-abc", wrong},
		{"a field that the entry does not set", "/openai/v1?q", "X-Api-Key", "alice:" + token, wrong},
		{"a password in the path", "/~bob:s3cret/openai/v1?q", "", "", wrong},
		{"the token of another", "/~bob:" + token + "/openai/v1?q", "", "", wrong},
		{"a name alone", "/~alice/openai/v1?q", "", "", wrong},
		{"nothing, for a path that does not exist", "/none", "", "", wrong},
		{"a path that ends there", "/~alice:" + token, "", "", "BAD_REQUEST"},
		{"an empty segment", "/~/openai/v1?q", "", "", "BAD_REQUEST"},
		{"another scheme", "/openai/v1?q", ours, "Bearer alice:" + token, "BAD_REQUEST"},
		{"no base64", "/openai/v1?q", ours, "Basic :", "BAD_REQUEST"},
		{"more than one may say", "/~" + strings.Repeat("a", 3000) + "/openai/v1?q", "", "", "BAD_REQUEST"},
	} {
		before := len(w.sink.requests)
		r := w.request("GET", c.path, nil)
		r.URL.Opaque, _, _ = strings.Cut(c.path, "?") // with its escapes as they are
		if c.name != "" {
			r.Header.Set(c.name, c.value)
		}
		r.Header.Set("Referer", base+strings.Split(c.path, "?")[0])
		resp, body := w.do(w.client(false), r)
		if who, err := client.Parse(c.want); err == nil && c.want == strings.ToLower(c.want) {
			if resp.StatusCode != 200 {
				t.Errorf("%s: %s %s", c.what, resp.Status, body)
				continue
			}
			got := <-heard
			if !strings.HasPrefix(got, originName+"/v1?q") || strings.Contains(got, "alice") || strings.Contains(got, "bob") || strings.Contains(got, token) ||
				strings.Contains(got, "s3cret") || strings.Contains(got, ours) || !strings.Contains(got, secret) {
				t.Errorf("%s: the origin was told:\n%s", c.what, got)
			}
			if e := w.sink.requests[len(w.sink.requests)-1]; len(w.sink.requests) != before+1 || e.Identity != who {
				t.Errorf("%s: reported for %q", c.what, e.Identity.String())
			}
			prefix := strings.TrimSuffix(c.path, "/openai/v1?q")
			if got := resp.Header.Get("Location"); got != prefix+"/openai/next" {
				t.Errorf("%s: it leads to %s", c.what, got)
			}
			continue
		}
		if resp.StatusCode == 200 || !strings.Contains(body, `"error":"`+c.want) {
			t.Errorf("%s: %s %s, want %s", c.what, resp.Status, body, c.want)
		}
		if c.want == wrong && (resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "") {
			t.Errorf("%s: %s asks with %q", c.what, resp.Status, resp.Header.Get("WWW-Authenticate"))
		}
		for _, shown := range []string{token, "s3cret", "sk-abc"} {
			if strings.Contains(body+resp.Status, shown) {
				t.Errorf("%s: the refusal shows it: %s", c.what, body)
			}
		}
	}
}

func TestANameWithoutProofIsTakenWhereNoneIsAskedFor(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	for path, want := range map[string]string{"/~bob-session-1/openai/": "bob-session-1", "/openai/": ""} {
		w.sink.requests = nil
		r := w.request("GET", path, nil)
		r.Header.Set("Authorization", "Bearer carol:x") // an API's key may look so
		if resp, body := w.do(w.client(false), r); resp.StatusCode != 200 || w.sink.requests[0].Identity.String() != want {
			t.Errorf("%s: %s %s %v", path, resp.Status, body, w.sink.requests)
		}
	}
}

func TestTwoUsersShareNoConnection(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	c := w.client(false)
	for range 2 {
		for _, user := range []string{"alice", "bob-session-1", "bob-session-2"} {
			w.do(c, w.request("GET", "/~"+user+"/openai/", nil))
		}
	}
	if n := w.dialled(); n != 3 {
		t.Errorf("%d connections to the origin", n)
	}
}

func TestTheUserOfAnEntryIsWhomItsRequestsAreFor_andWhoAsksIsCounted(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 9)
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-release }, func(w *world, _ *tls.Config, e *Entry) { e.Identity = client.Identity{User: "team"} })
	keeper := gate.NewKeeper()
	keeper.SetUserLimits(gate.UserLimits{Connections: 1})
	w.g.o.Keeper = keeper
	ask := func(path string) chan int {
		status := make(chan int, 1)
		go func() {
			resp, err := w.client(false).Do(w.request("GET", path, nil))
			if err != nil {
				t.Error(err)
				status <- 0
				return
			}
			resp.Body.Close()
			status <- resp.StatusCode
		}()
		return status
	}
	first := ask("/openai/") // counted for the entry's user
	<-arrived
	if got := <-ask("/~team/openai/"); got != fault.Limit.HTTPStatus() {
		t.Errorf("one more of the user's: %d", got)
	}
	second := ask("/~bob/openai/")
	close(release)
	if a, b := <-first, <-second; a != 200 || b != 200 {
		t.Errorf("%d, and of another user %d", a, b)
	}
	for _, e := range w.sink.requests {
		if e.Code == "" && e.Identity.User != "team" {
			t.Errorf("the request was for %q", e.Identity.String())
		}
	}
}

func TestWhatIsLeftOfAListenerThatIsGoneServesNothingMore(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
		conns := 0
		c := w.client(h2)
		dial := c.Transport.(*http.Transport).DialContext
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, at string) (net.Conn, error) {
			conns++
			return dial(ctx, network, at)
		}
		if resp, _ := w.do(c, w.request("GET", "/openai/", nil)); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		w.terms.Rules = gate.Closed()
		resp, body := w.do(c, w.request("GET", "/openai/", nil))
		w.refusal(resp, body, fault.NotReady)
		w.terms.Rules = gate.Open()
		if resp, _ := w.do(c, w.request("GET", "/openai/", nil)); resp.StatusCode != 200 || conns != 2 {
			t.Errorf("h2 %v: %s, over connection %d", h2, resp.Status, conns)
		}
	}
}

func TestOverTLSTheGatewayIsCalledByHTTPS(t *testing.T) {
	cert := authorities.Issue([]string{"gw.example.com"}, nil)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Set-Cookie", "a=b; Secure; Path=/v1/")
		io.WriteString(rw, r.Header.Get("Origin"))
	})
	w.terms.Hosts = []string{"gw.example.com"}
	w.terms.TLS = gate.ServerTLS(&cert, nil)
	w.terms.Rules = gate.Open().OverTLS()
	socket := newPipeListener()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.g.Serve(ctx, socket, func() Terms { return w.terms }) }()
	for _, h2 := range []bool{false, true} {
		protocols := new(http.Protocols)
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		tr := &http.Transport{
			Protocols: protocols, TLSClientConfig: &tls.Config{RootCAs: authorities.Pool()},
			DialContext: func(context.Context, string, string) (net.Conn, error) { return socket.connect(from, local, nil) },
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://gw.example.com/openai/", nil)
		r.Header.Set("Origin", "https://gw.example.com")
		resp, body := w.do(&http.Client{Transport: tr}, r)
		if resp.StatusCode != 200 || body != "https://"+originName || (resp.ProtoMajor == 2) != h2 {
			t.Errorf("%s %s %s", resp.Proto, resp.Status, body)
		}
		if got := resp.Header.Get("Set-Cookie"); got != "a=b; Secure; Path=/openai/v1/" {
			t.Errorf("%s: the cookie became %q", resp.Proto, got)
		}
		r.Header.Set("Origin", "http://gw.example.com")
		if resp, body := w.do(&http.Client{Transport: tr}, r); resp.StatusCode != 403 {
			t.Errorf("a page in clear: %s %s", resp.Status, body)
		}
		tr.CloseIdleConnections()
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add("/~alice:wt1.1.x/openai/", "Basic YTpi")
	f.Add("/~%41%3ab/x", "Bearer a:b")
	f.Add("/~", "Basic")
	f.Fuzz(func(t *testing.T, path, field string) {
		said, rest, fail := cutCredentials(path)
		if fail == nil && said+rest != path {
			t.Errorf("%q became %q and %q", path, said, rest)
		}
		if said != "" {
			if c, fail := ofPath(said); fail == nil && (c.Username == "" || c.Password != "" && !gate.IsToken(c.Password)) {
				t.Errorf("%q says %+v", said, c)
			}
		}
		if c, ok := ofField(field, true); ok && c.Username == "" {
			t.Errorf("%q says %+v", field, c)
		}
	})
}
