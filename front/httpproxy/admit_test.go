package httpproxy

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"watertight/client"
	"watertight/gate"
)

func basicOf(s string) string {
	return "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(s))
}

// guarded makes the proxy ask for a password.
func guarded(t *testing.T, p *proxy, user, password string) {
	t.Helper()
	line, err := gate.NewLine(user, password)
	if err != nil {
		t.Fatal(err)
	}
	users, err := gate.ParseUsers([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	p.rules.Store(gate.Guarded(users, nil))
}

func TestTheNameOfAClientIsForWhomItsRequestIs(t *testing.T) {
	port := serveEcho(t)
	for field, want := range map[string]client.Identity{
		"X-Nothing: 1":                        {},
		basicOf("alice:anything"):             {User: "alice"},
		basicOf("alice-session-k3v9:"):        {User: "alice", Session: "k3v9"},
		basicOf(":"):                          {},
		"Proxy-Authorization: Digest x":       {},
		"proxy-authorization: basic YTpi":     {User: "a"},
		basicOf("team-a-country-US:p:with:c"): {User: "team-a", Country: "us"},
	} {
		p := serve(t, nil)
		c := p.raw(t)
		c.send("CONNECT example.com:"+port+" HTTP/1.1", "Host: x", field)
		if resp, _ := c.response("CONNECT"); resp.StatusCode != 200 {
			t.Errorf("%s: %s", field, resp.Status)
			continue
		}
		if asked := p.dialer.requests(); len(asked) != 1 || asked[0].Identity != want {
			t.Errorf("%s: %+v", field, asked)
		}
	}
}

func TestANameThatCannotBeReadIsRefusedWithTheMend_AndNothingIsDialled(t *testing.T) {
	p := serve(t, nil)
	for field, sentence := range map[string]string{
		basicOf("al ice:p"):                     "user",
		basicOf("alice-session-:p"):             "session",
		basicOf("nocolon"):                      "USER:PASSWORD",
		"Proxy-Authorization: Basic !!":         "USER:PASSWORD",
		basicOf("a:b") + "\r\n" + basicOf("c:"): "two",
	} {
		c := p.raw(t)
		c.send("CONNECT example.com:443 HTTP/1.1", "Host: x", field)
		resp, body := c.response("CONNECT")
		if resp.StatusCode != 400 || !strings.Contains(body, sentence) || strings.Contains(body, "al ice") {
			t.Errorf("%s: %s %s", field, resp.Status, body)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
}

func TestWithoutProofThereIs407AndTheConnectionStaysForTheNextTry(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	guarded(t, p, "alice", "s3cret")
	c := p.raw(t)
	for _, field := range []string{"X: 1", basicOf("alice:wrong"), basicOf("bob:s3cret"), basicOf("alice:"), "Proxy-Authorization: Bearer x"} {
		c.send("CONNECT example.com:"+port+" HTTP/1.1", "Host: x", field)
		resp, code, message := c.refusal("CONNECT")
		if resp.StatusCode != 407 || code != "AUTH_REQUIRED" || resp.Close || strings.Contains(message, "alice") {
			t.Fatalf("%s: %s %s", field, resp.Status, message)
		}
		if got := resp.Header.Get("Proxy-Authenticate"); !strings.HasPrefix(got, `Basic realm="watertight"`) {
			t.Errorf("%s: Proxy-Authenticate is %q", field, got)
		}
	}
	c.send("GET http://example.com:"+port+"/ HTTP/1.1", "Host: example.com:"+port)
	if resp, _, _ := c.refusal("GET"); resp.StatusCode != 407 {
		t.Errorf("a request for a URL gets %s", resp.Status)
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Fatalf("asked %+v", asked)
	}
	c.send("CONNECT example.com:"+port+" HTTP/1.1", "Host: x", basicOf("alice-session-1:s3cret"))
	if resp, _ := c.response("CONNECT"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	io.WriteString(c.TCPConn, "through")
	got := make([]byte, 7)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "through" {
		t.Errorf("%q %v", got, err)
	}
	if asked := p.dialer.requests(); len(asked) != 1 || asked[0].Identity != (client.Identity{User: "alice", Session: "1"}) {
		t.Errorf("asked %+v", asked)
	}
}

func TestWhoGuessesIsEnded(t *testing.T) {
	p := serve(t, nil)
	guarded(t, p, "alice", "s3cret")
	c := p.raw(t)
	for i := range 8 {
		c.send("CONNECT example.com:443 HTTP/1.1", "Host: x", basicOf("alice:guess"))
		resp, _, _ := c.refusal("CONNECT")
		if resp.StatusCode != 407 || resp.Close != (i == 7) {
			t.Fatalf("guess %d: %s, close %v", i, resp.Status, resp.Close)
		}
	}
	c.ended()
}

func TestRulesThatSayNothingLetNobodyIn(t *testing.T) {
	p := serve(t, nil)
	p.rules.Store(&gate.Rules{})
	c := p.raw(t)
	c.send("CONNECT example.com:443 HTTP/1.1", "Host: x", basicOf("alice:p"))
	if resp, _, _ := c.refusal("CONNECT"); resp.StatusCode != 500 {
		t.Error(resp.Status)
	}
	if len(p.dialer.requests()) > 0 {
		t.Error("it was dialled")
	}
}

func TestConnectionsToOriginsAreOfOneIdentity(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	p := serve(t, nil)
	c := p.raw(t)
	for _, name := range []string{"alice", "alice", "alice-session-1", "bob", "bob"} {
		c.send("GET http://example.com:"+port+"/ HTTP/1.1", "Host: example.com:"+port, basicOf(name+":"))
		if resp, body := c.response("GET"); resp.StatusCode != 200 || body != "ok" {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	var for_ []string
	for _, r := range p.dialer.requests() {
		for_ = append(for_, r.Identity.String())
	}
	if got := strings.Join(for_, " "); got != "alice alice-session-1 bob" {
		t.Errorf("connections were made for %q", got)
	}
}

func TestALimitOfTheUserIsSaid(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	p.keeper.SetUserLimits(gate.UserLimits{Connections: 1})
	ask := func(name string) *http.Response {
		c := p.raw(t)
		c.send("CONNECT example.com:"+port+" HTTP/1.1", "Host: x", basicOf(name+":"))
		resp, _ := c.response("CONNECT")
		return resp
	}
	for _, step := range []struct {
		name string
		want int
	}{{"alice", 200}, {"alice-session-2", 503}, {"bob", 200}, {"", 200}, {"", 200}} {
		if resp := ask(step.name); resp.StatusCode != step.want {
			t.Errorf("%q: %s", step.name, resp.Status)
		}
	}
}
