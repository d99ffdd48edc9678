package httpproxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"watertight/event"
	"watertight/fault"
	"watertight/route"
)

func TestCONNECTBecomesATunnelWithWhatTheClientSentEarly(t *testing.T) {
	p, port := serve(t, nil), serveEcho(t)
	c := p.raw(t)
	c.send("CONNECT API.Example.COM.:"+port+" HTTP/1.1", "Host: something.else", "")
	if resp, _ := c.response("CONNECT"); resp.StatusCode != 200 || len(resp.Header) != 0 {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	io.WriteString(c.TCPConn, "late")
	c.CloseWrite()
	got, err := io.ReadAll(c)
	if string(got) != "\r\nlate" || err != nil { // send ends in two lines; the second belongs to the tunnel
		t.Errorf("%q %v", got, err)
	}
	asked := p.dialer.requests()
	if len(asked) != 1 || asked[0].Target.String() != "api.example.com:"+port || asked[0].Door != event.DoorCONNECT ||
		asked[0].PlainHTTP || asked[0].Client.String() != c.LocalAddr().String() {
		t.Errorf("asked %+v", asked)
	}
}

func TestTheTunnelIsReportedWithItsOctets(t *testing.T) {
	p, port := serve(t, nil), serveEcho(t)
	c := p.raw(t)
	c.send("CONNECT example.com:" + port + " HTTP/1.0")
	c.response("CONNECT")
	io.WriteString(c.TCPConn, "12345")
	c.CloseWrite()
	io.ReadAll(c)
	c.Close()
	if got := <-p.sink.tunnels; got.Up != 5 || got.Down != 5 || got.Door != event.DoorCONNECT {
		t.Errorf("%+v", got)
	}
}

func TestCONNECTTargetsThatMeanNothingAreRefused(t *testing.T) {
	p := serve(t, nil)
	label := strings.Repeat("a", 49) + "."
	for target, sentence := range map[string]string{
		"example.com":                         "port",
		"example.com:":                        "port",
		"example.com:0":                       "port",
		"example.com:65536":                   "port",
		"example.com:0443":                    "port",
		"example.com:+443":                    "port",
		"example.com:https":                   "port",
		"user:secret@example.com:443":         "user information",
		"user@example.com:443":                "user information",
		":443":                                "empty",
		".:443":                               "empty",
		"[fe80::1%25eth0]:443":                "zone",
		"[fe80::1%eth0]:443":                  "zone",
		"2001:db8::1:443":                     "brackets",
		"[192.0.2.1]:443":                     "IPv6",
		strings.Repeat(label, 5) + "aaaa:443": "254 octets",
		strings.Repeat("a", 64) + ".com:443":  "64 octets",
		"a..example.com:443":                  "label is empty",
		"127.1:443":                           "number",
		"http://example.com:443":              "",
		"/":                                   "port",
		"*":                                   "port",
	} {
		c := p.raw(t)
		c.send("CONNECT "+target+" HTTP/1.1", "Host: a")
		resp, code, message := c.refusal("CONNECT")
		if resp.StatusCode != 400 || code != "BAD_REQUEST" || !strings.Contains(message, sentence) || strings.Contains(message, "secret") {
			t.Errorf("%.40s: %s %s", target, resp.Status, message)
		}
	}
	if asked := p.dialer.requests(); len(asked) != 0 {
		t.Errorf("the dialer was asked for %v", asked)
	}
}

func TestNamesReachTheDialerInOneForm(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error { return fault.New(fault.DNSNXDomain, "no", nil) })
	for target, want := range map[string]string{
		"EXAMPLE.com:443":                  "example.com:443",
		"example.com.:443":                 "example.com:443",
		"xn--mnchen-3ya.example:443":       "xn--mnchen-3ya.example:443",
		"[2001:DB8::1]:443":                "[2001:db8::1]:443",
		"[::ffff:192.0.2.1]:443":           "192.0.2.1:443",
		"_srv.example.com:1":               "_srv.example.com:1",
		strings.Repeat("a", 63) + ":65535": strings.Repeat("a", 63) + ":65535",
	} {
		c := p.raw(t)
		c.send("CONNECT "+target+" HTTP/1.1", "Host: a")
		c.refusal("CONNECT")
		asked := p.dialer.requests()
		if len(asked) == 0 || asked[len(asked)-1].Target.String() != want {
			t.Errorf("%s: asked %v", target, asked)
		}
	}
}

func TestARefusedCONNECTKeepsTheConnectionForAnother(t *testing.T) {
	p, port := serve(t, nil), serveEcho(t)
	p.dialer.failWith(func(r route.Request) error {
		if r.Target.Host().String() == "missing.example" {
			return &fault.Error{Code: fault.DNSNXDomain, Message: "missing.example does not exist", Target: r.Target.String(), Channel: "direct"}
		}
		if r.Target.Host().String() == "secret.example" {
			return fault.New(fault.AuthRequired, "who are you", nil)
		}
		return nil
	})
	c := p.raw(t)
	c.send("CONNECT missing.example:443 HTTP/1.1", "Host: missing.example:443")
	resp, body := c.response("CONNECT")
	if resp.Status != "502 missing.example does not exist (DNS_NXDOMAIN)" || resp.Close ||
		resp.Header.Get("Proxy-Status") != `watertight; error=dns_error; rcode="NXDOMAIN"; details="missing.example does not exist"` ||
		body != `{"error":"DNS_NXDOMAIN","message":"missing.example does not exist","target":"missing.example:443","channel":"direct","hint":"check the spelling of the name"}`+"\n" {
		t.Fatalf("%s %v %s", resp.Status, resp.Header, body)
	}
	c.send("CONNECT secret.example:443 HTTP/1.1", "Host: secret.example:443")
	if resp, _, _ := c.refusal("CONNECT"); resp.StatusCode != 407 || !strings.HasPrefix(resp.Header.Get("Proxy-Authenticate"), "Basic ") || resp.Close {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	c.send("CONNECT there.example:"+port+" HTTP/1.1", "Host: there.example")
	if resp, _ := c.response("CONNECT"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	io.WriteString(c.TCPConn, "through")
	c.CloseWrite()
	if got, _ := io.ReadAll(c); string(got) != "through" {
		t.Errorf("%q", got)
	}
}

func TestARefusedCONNECTWithDoubtfulFramingEndsTheConnection(t *testing.T) {
	for why, head := range map[string][]string{
		"early data": {"CONNECT a.example:443 HTTP/1.1", "Host: a", "", "GET http://smuggled.example/ HTTP/1.1", "Host: smuggled.example"},
		"length":     {"CONNECT a.example:443 HTTP/1.1", "Host: a", "Content-Length: 5"},
		"chunked":    {"CONNECT a.example:443 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"},
		"close":      {"CONNECT a.example:443 HTTP/1.1", "Host: a", "Connection: close"},
		"HTTP/1.0":   {"CONNECT a.example:443 HTTP/1.0"},
	} {
		p := serve(t, nil)
		p.dialer.failWith(func(route.Request) error { return fault.New(fault.PolicyRoute, "no", nil) })
		c := p.raw(t)
		c.send(head...)
		c.CloseWrite()
		if resp, _, _ := c.refusal("CONNECT"); !resp.Close {
			t.Errorf("%s: %s keeps the connection", why, resp.Status)
		}
		c.ended()
		for _, r := range p.dialer.requests() {
			if strings.Contains(r.Target.String(), "smuggled") {
				t.Errorf("%s: the tunnel's octets became a request", why)
			}
		}
	}
}

func TestARequestForTheProxyItselfIsRefused(t *testing.T) {
	p := serve(t, nil)
	for _, line := range []string{"CONNECT " + p.addr, "GET http://" + p.addr + "/"} {
		c := p.raw(t)
		c.send(line+" HTTP/1.1", "Host: "+p.addr)
		resp, _, message := c.refusal("GET")
		if resp.StatusCode != 400 || message != "the target is this proxy itself" {
			t.Errorf("%s: %s", line, resp.Status)
		}
	}
	if len(p.dialer.requests()) != 0 {
		t.Error("it was dialled")
	}
}

func TestHTTPSThroughNetHTTPWorks(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error { return fault.New(fault.DNSTimeout, "the resolver is silent", nil) })
	_, err := p.client(t).Get("https://api.example/")
	if err == nil || !strings.Contains(err.Error(), "the resolver is silent (DNS_TIMEOUT)") {
		t.Errorf("Go's client prints %v", err)
	}
}

func BenchmarkCONNECT(b *testing.B) {
	port := serveEcho(b)
	p := serve(b, func(o *Options) { o.Sink = event.Discard{} })
	head := []byte(fmt.Sprintf("CONNECT example.com:%s HTTP/1.1\r\nHost: example.com:%s\r\n\r\n", port, port))
	b.ReportAllocs()
	for b.Loop() {
		c := p.raw(b)
		c.TCPConn.Write(head)
		if resp, err := http.ReadResponse(c.Reader, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
			b.Fatal(err)
		}
		c.Close()
	}
}
