package httpproxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"watertight/client"
	"watertight/fault"
	"watertight/route"
)

func TestOverHTTP2AnHTTPURLIsFetchedAsOverHTTP1(t *testing.T) {
	var asked *http.Request
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		sent, _ := io.ReadAll(r.Body)
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "no")
		w.Header().Set("X-End", "yes")
		w.WriteHeader(http.StatusCreated)
		w.Write(sent)
	})
	p := serve(t, nil)
	h := p.http2(t)
	for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
		body := ""
		if method == "POST" {
			body = strings.Repeat("all of it ", 50_000)
		}
		resp, err := h.plain(method, "origin.example:"+port, "/a%2Fb//?c", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(got) != body || err != nil || resp.StatusCode != http.StatusCreated || resp.Header.Get("X-End") != "yes" || resp.Header.Get("X-Hop") != "" {
			t.Errorf("%s: %s %v, %d octets, %v", method, resp.Status, resp.Header, len(got), err)
		}
		if asked.RequestURI != "/a%2Fb//?c" || asked.Host != "origin.example:"+port || asked.Header.Get("Proxy-Authorization") != "" || asked.Header.Get("User-Agent") != "" ||
			asked.Header.Get("Via") != "" {
			t.Errorf("%s: the origin was asked %s of %s, %v", method, asked.RequestURI, asked.Host, asked.Header)
		}
	}
	for _, r := range p.dialer.requests() {
		if r.Target.String() != "origin.example:"+port || !r.PlainHTTP || r.Identity != (client.Identity{User: "alice"}) {
			t.Errorf("asked %+v", r)
		}
	}
}

func TestOverHTTP2AnHTTPSURLIsNeverFetched(t *testing.T) {
	p := serve(t, nil)
	h := p.http2(t)
	for _, method := range []string{"GET", "HEAD", "POST"} {
		req, _ := http.NewRequest(method, "https://example.com/", nil)
		resp, err := h.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 || !strings.Contains(resp.Header.Get("Proxy-Status"), "http:// URLs alone") {
			t.Errorf("%s: %s %v", method, resp.Status, resp.Header)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
}

func TestOverHTTP2WhatWouldBeReadInAnotherWayByTheOriginIsRefused(t *testing.T) {
	p := serve(t, nil)
	h := p.http2(t)
	for _, c := range []struct{ host, path string }{
		{"a.example:80", "/x HTTP/1.1"}, {"a.example:80", "/\xc3\xa4"}, {"a.example/x?", "/"}, {"a.example#", "/"}, {"u@a.example", "/"}, {"a.example b", "/"},
	} {
		if status := h.asks(t, ":method", "GET", ":scheme", "http", ":authority", c.host, ":path", c.path); status != "400" {
			t.Errorf("%q %q: %s", c.host, c.path, status)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Errorf("asked %+v", asked)
	}
}

func TestOverHTTP2WhatAnOriginDoesNotAnswerIsSaid(t *testing.T) {
	p := serve(t, func(o *Options) { o.StallTimeout = 200 * time.Millisecond })
	h := p.http2(t)
	p.dialer.failWith(func(route.Request) error { return fault.New(fault.DNSNXDomain, "no.example does not exist", nil) })
	resp, err := h.plain("GET", "no.example", "/", "")
	if err != nil || resp.StatusCode != 502 || !strings.Contains(resp.Header.Get("Proxy-Status"), "error=dns_error") {
		t.Errorf("%+v %v", resp, err)
	}
	p.dialer.failWith(nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1024))
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if resp, err = h.plain("GET", "origin.example:"+port, "/", ""); err != nil || resp.StatusCode != 502 || p.sink == nil {
		t.Errorf("%+v %v", resp, err)
	}
}

func TestOverHTTP2AResponseThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half of it")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, err := serve(t, nil).http2(t).plain("GET", "origin.example:"+port, "/", "")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q looks whole", got)
	}
}

func TestOverHTTP2TrailersAreForwardedBothWays(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Up")+r.Trailer.Get("Authorization"))
	})
	p := serve(t, nil)
	tr := p.http2(t).inClear(t)
	req, _ := http.NewRequest("POST", "http://origin.example:"+port+"/", io.MultiReader(bytes.NewReader([]byte("x"))))
	req.Trailer = http.Header{"X-Up": {"up"}, "Authorization": {"no"}}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "body" || err != nil || resp.Trailer.Get("X-Sum") != "up" {
		t.Errorf("%q, %v, trailer %v", got, err, resp.Trailer)
	}
}

func TestOverHTTP2ATunnelThatHasEndedOnOneSideGoesOnOnTheOther(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.WriteString(c, "goodbye")
		c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		heard <- string(b)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := serve(t, func(o *Options) { o.Relay = relayLike })
	tr := p.http2(t).ended(t, "example.com:"+port)
	if got := tr.untilEnd(); got != "goodbye" {
		t.Errorf("the client got %q", got)
	}
	tr.send("said after the end")
	if got := <-heard; got != "said after the end" {
		t.Errorf("the far side got %q", got)
	}
}
