package httpproxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"watertight/fault"
	"watertight/route"
)

func TestARequestIsForwardedWithNothingAddedAndOnlyHopByHopFieldsRemoved(t *testing.T) {
	heads := make(chan string, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		heads <- string(b[:n])
		io.WriteString(c, "HTTP/1.1 299 Quite Fine\r\nConnection: X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nX-Keep: 2\r\nProxy-Authenticate: no\r\nContent-Length: 2\r\n\r\nok")
		io.Copy(io.Discard, c)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := serve(t, nil)
	c := p.raw(t)
	c.send("GET HTTP://Example.COM:"+port+"/a%2Fb/|?q=%zz&\" HTTP/1.1", "Host: example.com:"+port, "X-One: 1", "X-One: 2",
		"Connection: keep-alive, X-Listed", "X-Listed: gone", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic c2VjcmV0OnA=",
		"Keep-Alive: 5", "TE: trailers, deflate", "Upgrade: h2c", "Accept: */*")
	resp, body := c.response("GET")
	if resp.Status != "299 Quite Fine" || body != "ok" || resp.Header.Get("X-Keep") != "2" || len(resp.Header) != 2 {
		t.Errorf("%s %v %q", resp.Status, resp.Header, body)
	}
	lines := strings.Split(strings.TrimSuffix(<-heads, "\r\n\r\n"), "\r\n")
	slices.Sort(lines[1:])
	want := []string{
		"GET /a%2Fb/|?q=%zz&\" HTTP/1.1", "Accept: */*", "Connection: TE", "Host: example.com:" + port,
		"Te: trailers", "X-One: 1", "X-One: 2",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("the origin saw\n%q, not\n%q", lines, want)
	}
	asked := p.dialer.requests()
	if len(asked) != 1 || !asked[0].PlainHTTP || asked[0].Target.String() != "example.com:"+port {
		t.Errorf("asked %+v", asked)
	}
}

func TestTargetsThatMeanNothingOrTwoThingsAreRefused(t *testing.T) {
	for _, c := range []struct{ target, host, sentence string }{
		{"https://example.com/", "example.com", "CONNECT"},
		{"HTTPS://example.com/", "example.com", "CONNECT"},
		{"ftp://example.com/", "example.com", "http:// only"},
		{"http://example.com/", "other.example", "Host header"},
		{"http://example.com/", "example.com:8080", "Host header"},
		{"http://example.com:8080/", "example.com", "Host header"},
		{"http://example.com/", "", "Host header"},
		{"http://user:secret@example.com/", "example.com", "user information"},
		{"http://example.com/#top", "example.com", "fragment"},
		{"http:///path", "example.com", "empty"},
		{"http://", "example.com", "empty"},
		{"http://:80/", "example.com", "empty"},
		{"http://example.com:/", "example.com", "port"},
		{"http://example.com:0/", "example.com:0", "port"},
		{"http://example.com:65536/", "example.com:65536", "port"},
		{"http://[fe80::1%25eth0]/", "[fe80::1%25eth0]", "zone"},
		{"http://2130706433/", "2130706433", "number"},
		{"example.com:80", "example.com", "neither"},
		{"/", "127.0.0.1", "this is a proxy"},
		{"*", "127.0.0.1", "this is a proxy"},
	} {
		p := serve(t, nil)
		r := p.raw(t)
		r.send("GET "+c.target+" HTTP/1.1", "Host: "+c.host)
		resp, code, message := r.refusal("GET")
		if resp.StatusCode != 400 || code != "BAD_REQUEST" || !strings.Contains(message, c.sentence) || strings.Contains(message, "secret") {
			t.Errorf("%s with Host %q: %s", c.target, c.host, resp.Status)
		}
		if len(p.dialer.requests()) != 0 {
			t.Errorf("%s was dialled", c.target)
		}
		if got := p.sink.codes(); !slices.Equal(got, []string{"BAD_REQUEST"}) {
			t.Errorf("%s: reported %v", c.target, got)
		}
	}
}

func TestSmugglingAttemptsEndTheConnection(t *testing.T) {
	p := serve(t, nil)
	for why, stream := range map[string]string{
		"CL.TE":    "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://smuggled.example/ HTTP/1.1\r\nHost: smuggled.example\r\n\r\n",
		"obs-fold": "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\nGET http://smuggled.example/ HTTP/1.1\r\nHost: smuggled.example\r\n\r\n",
		"bare LF":  "GET http://a.example/ HTTP/1.1\nHost: a.example\n\nGET http://smuggled.example/ HTTP/1.1\r\nHost: smuggled.example\r\n\r\n",
		"blank":    "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET http://smuggled.example/ HTTP/1.1\r\nHost: smuggled.example\r\n\r\n",
	} {
		c := p.raw(t)
		io.WriteString(c.TCPConn, stream)
		c.CloseWrite()
		if resp, code, _ := c.refusal("POST"); code != "BAD_REQUEST" || !resp.Close {
			t.Errorf("%s: %s", why, resp.Status)
		}
		c.ended()
	}
	if asked := p.dialer.requests(); len(asked) != 0 {
		t.Errorf("asked %v", asked)
	}
}

func TestAMalformedChunkAfterAGoodHeadIsRefused(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Transfer-Encoding: chunked", "", "3\nabc")
	if resp, _, message := c.refusal("POST"); resp.StatusCode != 400 || !strings.Contains(message, "LF") || !resp.Close {
		t.Errorf("%s", resp.Status)
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, b)
	})
	p := serve(t, nil)
	c := p.raw(t)
	host := "Host: a.example:" + port
	url := "http://a.example:" + port
	stream := "GET " + url + "/1 HTTP/1.1\r\n" + host + "\r\n\r\n" +
		"POST " + url + "/2 HTTP/1.1\r\n" + host + "\r\nContent-Length: 3\r\n\r\nabc" +
		"POST " + url + "/3 HTTP/1.1\r\n" + host + "\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nde\r\n1\r\nf\r\n0\r\n\r\n" +
		"HEAD " + url + "/4 HTTP/1.1\r\n" + host + "\r\n\r\n" +
		"GET /5 HTTP/1.1\r\n" + host + "\r\n\r\n" +
		"GET " + url + "/6 HTTP/1.1\r\n" + host + "\r\nConnection: close\r\n\r\n"
	io.WriteString(c.TCPConn, stream)
	for i, want := range []string{"GET /1 ", "POST /2 abc", "POST /3 def", ""} {
		resp, body := c.response([]string{"GET", "POST", "POST", "HEAD"}[i])
		if resp.StatusCode != 200 || body != want || resp.Close {
			t.Errorf("%d: %s %q", i+1, resp.Status, body)
		}
	}
	if resp, _, _ := c.refusal("GET"); resp.StatusCode != 400 || resp.Close {
		t.Error(resp.Status)
	}
	if resp, body := c.response("GET"); body != "GET /6 " || !resp.Close {
		t.Error(resp.Status, body)
	}
	c.ended()
}

func TestAnOriginThatBreaksOffIsNamedAsTheCause(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, _ := w.(http.Hijacker).Hijack()
		c.Close()
	})
	c := serve(t, nil).raw(t)
	c.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
	if resp, code, _ := c.refusal("GET"); resp.StatusCode != 502 || code != string(fault.OriginFailed) || resp.Close {
		t.Error(resp.Status)
	}
}

func TestARefusalOfTheDialerReachesTheClientAsItIs(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error {
		return fault.New(fault.PolicyPlainHTTP, "http:// leaves in clear text", nil)
	})
	c := p.raw(t)
	c.send("GET http://a.example/ HTTP/1.1", "Host: a.example")
	if resp, code, _ := c.refusal("GET"); resp.StatusCode != 403 || code != "POLICY_PLAIN_HTTP" || resp.Close {
		t.Error(resp.Status)
	}
	c.send("POST http://a.example/ HTTP/1.1", "Host: a.example", "Content-Length: 3", "", "abc")
	if resp, _, _ := c.refusal("POST"); resp.StatusCode != 403 || !resp.Close {
		t.Error(resp.Status)
	}
}

func TestMaxForwardsEndsAtTheProxy(t *testing.T) {
	seen := make(chan string, 1)
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.RequestURI + " " + r.Header.Get("Max-Forwards")
	})
	c := serve(t, nil).raw(t)
	url, host := "http://a.example:"+port, "Host: a.example:"+port
	c.send("TRACE "+url+"/ HTTP/1.1", host, "Max-Forwards: 0", "Authorization: secret", "X: y")
	resp, body := c.response("TRACE")
	if resp.Header.Get("Content-Type") != "message/http" || !strings.Contains(body, "X: y") || strings.Contains(body, "secret") {
		t.Errorf("%v %q", resp.Header, body)
	}
	c.send("OPTIONS "+url+" HTTP/1.1", host, "Max-Forwards: 0")
	if resp, _ := c.response("OPTIONS"); resp.StatusCode != 200 || resp.Header.Get("Allow") != methods {
		t.Error(resp.Header)
	}
	c.send("OPTIONS * HTTP/1.1", "Host: x")
	if resp, _ := c.response("OPTIONS"); resp.StatusCode != 200 || resp.Header.Get("Allow") != methods {
		t.Error(resp.Header)
	}
	c.send("OPTIONS "+url+" HTTP/1.1", host, "Max-Forwards: 3")
	c.response("OPTIONS")
	c.send("OPTIONS "+url+" HTTP/1.1", host, "Max-Forwards: -3")
	if resp, _, _ := c.refusal("OPTIONS"); resp.StatusCode != 400 {
		t.Error(resp.Status)
	}
	_ = seen // net/http's server answers OPTIONS * by itself
	c.send("OPTIONS "+url+"/x HTTP/1.1", host, "Max-Forwards: 3")
	c.response("OPTIONS")
	if got := <-seen; got != "OPTIONS /x 2" {
		t.Error(got)
	}
}
