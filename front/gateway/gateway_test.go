package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/event"
	"watertight/fault"
	"watertight/lab/dnstest"
)

// kinds are the versions of HTTP on both sides.
var kinds = []struct {
	name   string
	client bool // speaks HTTP/2
	origin string
}{{"1 to 1", false, "http/1.1"}, {"1 to 2", false, "h2"}, {"2 to 1", true, "http/1.1"}, {"2 to 2", true, "h2"}}

func TestARequestGoesToTheOriginWithTheFieldsOfTheEntryAndNoOthers(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			var got *http.Request
			var sent []byte
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				got = r
				sent, _ = io.ReadAll(r.Body)
				rw.Header().Set("Content-Encoding", "gzip")
				rw.Header().Set("Alt-Svc", `h3=":443"`)
				rw.Header()["Date"], rw.Header()["Content-Type"] = nil, nil
				rw.WriteHeader(http.StatusAccepted)
				io.WriteString(rw, "not gzip at all")
			}, only(k.origin))
			r := w.request("POST", "/openai/v1/a%2Fb//c;d?q=%20a&b?", strings.NewReader("body"))
			for name, value := range map[string]string{
				"authorization": "Bearer mine", "Connection": "X-Private, close", "X-Private": "1", "Proxy-Authorization": "Basic eDp5", "Keep-Alive": "5",
				"Accept-Encoding": "br", "X-Forwarded-For": "its own", "Te": "trailers, deflate",
			} {
				r.Header[http.CanonicalHeaderKey(name)] = []string{value}
			}
			if k.client {
				r.Header.Del("Connection")
				r.Header.Del("Keep-Alive")
				r.Header.Set("Te", "trailers")
			}
			r.Header["User-Agent"] = []string{""}
			resp, body := w.do(w.client(k.client), r)
			if got.RequestURI != "/v1/a%2Fb//c;d?q=%20a&b?" || got.Host != originName || got.Method != "POST" || string(sent) != "body" || got.ContentLength != 4 {
				t.Errorf("%s %s %s %q %d", got.Method, got.Host, got.RequestURI, sent, got.ContentLength)
			}
			want := map[string]string{"Authorization": secret, "Accept-Encoding": "br", "X-Forwarded-For": "its own", "Te": "trailers", "Content-Length": "4"}
			if k.client {
				want["X-Private"] = "1"
			}
			for name, values := range got.Header {
				if want[name] != strings.Join(values, "|") {
					t.Errorf("%s: %q", name, values)
				}
				delete(want, name)
			}
			for name := range want {
				t.Errorf("the origin did not get %s", name)
			}
			if resp.StatusCode != 202 || body != "not gzip at all" || resp.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s %q", resp.Status, body)
			}
			for name := range resp.Header {
				if !slices.Contains([]string{"Content-Encoding", "Content-Length"}, name) {
					t.Errorf("the client got %s: %q", name, resp.Header[name])
				}
			}
		})
	}
}

func TestWhatIsStreamedIsPassedOnAtOnceBothWays(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(rw)
				_ = rc.EnableFullDuplex()
				rw.Header().Set("Content-Type", "text/event-stream")
				rw.Header().Set("Trailer", "X-Sum")
				rc.Flush()
				lines := bufio.NewReader(r.Body)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						break
					}
					fmt.Fprintf(rw, "data: %s\n", line)
					rc.Flush()
				}
				rw.Header().Set("X-Sum", r.Trailer.Get("X-Count"))
				rw.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			}, only(k.origin))
			body, up := io.Pipe()
			r := w.request("POST", "/openai/v1/stream", body)
			r.Trailer = http.Header{"X-Count": nil}
			resp, err := w.client(k.client).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			down := bufio.NewReader(resp.Body)
			for i := range 3 { // each is answered before the next is sent: nothing on the way holds one back
				fmt.Fprintf(up, "%d\n", i)
				got, err := down.ReadString('\n')
				if got != fmt.Sprintf("data: %d\n", i) || err != nil {
					t.Fatalf("%q %v", got, err)
				}
				down.ReadString('\n')
			}
			r.Trailer.Set("X-Count", "3")
			up.Close()
			if rest, err := io.ReadAll(down); len(rest) != 0 || err != nil {
				t.Errorf("%q %v", rest, err)
			}
			if resp.Trailer.Get("X-Sum") != "3" || resp.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("trailers: %v", resp.Trailer)
			}
		})
	}
}

func TestTheClientIsAskedForItsBodyWhenTheOriginIs(t *testing.T) {
	for _, k := range kinds[:2] { // over HTTP/2 net/http takes the field away, and asks as soon as the body is read
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Bad") != "" {
					rw.WriteHeader(http.StatusForbidden)
					return
				}
				b, _ := io.ReadAll(r.Body)
				rw.Write(b)
			}, only(k.origin))
			c := w.client(k.client)
			for _, bad := range []bool{true, false} {
				r := w.request("PUT", "/openai/x", io.NopCloser(strings.NewReader("body")))
				r.ContentLength = 4
				r.Header.Set("Expect", "100-continue")
				if bad {
					r.Header.Set("X-Bad", "1")
				}
				asked := 0
				resp, got := w.do(c, r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked++ }})))
				if bad && (resp.StatusCode != 403 || asked != 0) || !bad && (got != "body" || asked != 1) {
					t.Errorf("bad %v: %s %q, and the client was asked %d times", bad, resp.Status, got, asked)
				}
			}
		})
	}
}

func TestAnInterimResponseIsPassedOn(t *testing.T) {
	for _, k := range kinds {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Link", "</style.css>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
			rw.Header().Del("Link")
			rw.WriteHeader(http.StatusNoContent)
		}, only(k.origin))
		var hints []string
		r := w.request("GET", "/openai/", nil)
		r = r.WithContext(withHints(r.Context(), &hints))
		resp, _ := w.do(w.client(k.client), r)
		if resp.StatusCode != 204 || fmt.Sprint(hints) != "[103 </openai/style.css>; rel=preload]" || resp.Header.Get("Link") != "" {
			t.Errorf("%s: %s %v %v", k.name, resp.Status, hints, resp.Header)
		}
	}
}

// withHints notes interim responses.
func withHints(ctx context.Context, to *[]string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		*to = append(*to, fmt.Sprint(code), h.Get("Link"))
		return nil
	}})
}

func TestAResponseThatBreaksOffIsSeenToBreakOff(t *testing.T) {
	for _, k := range kinds {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			io.WriteString(rw, "half")
			http.NewResponseController(rw).Flush()
			panic(http.ErrAbortHandler)
		}, only(k.origin))
		resp, err := w.client(k.client).Do(w.request("GET", "/openai/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "half" || err == nil {
			t.Errorf("%s: %q %v", k.name, b, err)
		}
	}
}

func TestAWebSocketBecomesATunnel(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Authorization") != secret || r.Header.Get("Origin") != "https://"+originName {
			t.Errorf("%s %v", r.Proto, r.Header)
		}
		conn, buffered, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello\n")
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(conn, "echo "+line)
		}
	})
	conn, r, resp := w.raw("GET /openai/ws HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nOrigin: http://127.0.0.1:8088\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly\n")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-Websocket-Accept") != "x" || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	for _, want := range []string{"hello\n", "echo early\n", "echo later\n"} {
		if strings.Contains(want, "later") {
			io.WriteString(conn, "later\n")
		}
		if got, err := r.ReadString('\n'); got != want {
			t.Fatalf("%q %v, want %q", got, err, want)
		}
	}
	conn.Close()
	w.g.Drain()
	if len(w.sink.tunnels) != 1 || w.sink.tunnels[0].Up != 12 || w.sink.tunnels[0].Door != event.DoorGateway {
		t.Errorf("%+v", w.sink.tunnels)
	}
}

func TestAnUpgradeThatTheOriginRefusesIsAnOrdinaryResponse(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { http.Error(rw, "no", http.StatusUpgradeRequired) })
	_, r, resp := w.raw("GET /openai/ws HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if resp.StatusCode != 426 {
		t.Error(resp.Status)
	}
	_ = r
}

func TestConnectionsAreSharedByRequests_andLeftAtAChange(t *testing.T) {
	for _, k := range kinds[:2] {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {}, only(k.origin))
		c := w.client(false)
		for range 3 {
			w.do(c, w.request("GET", "/openai/", nil))
		}
		if n := w.dialled(); n != 1 || len(w.sink.requests) != 3 {
			t.Errorf("%s: %d dials, %d reports", k.name, n, len(w.sink.requests))
		}
		w.table.Drop()
		w.do(c, w.request("GET", "/openai/", nil))
		w.do(c, w.request("GET", "/https/"+originName+"/", nil)) // another entry: another connection
		if n := w.dialled(); n != 3 {
			t.Errorf("%s: %d dials", k.name, n)
		}
		for _, e := range w.sink.requests {
			if e.Door != event.DoorGateway || e.Target.String() != originName+":443" || e.Client != netip.MustParseAddrPort("127.0.0.1:50000") || e.Code != "" {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestManyAtOnceDialOnceWhereTheOriginSpeaksHTTP2(t *testing.T) {
	release := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { <-release })
	done := make(chan string)
	c := w.client(true)
	for range 20 {
		r := w.request("GET", "/openai/", nil)
		go func() {
			resp, err := c.Do(r)
			if err != nil {
				done <- err.Error()
				return
			}
			resp.Body.Close()
			done <- resp.Status
		}()
	}
	close(release)
	for range 20 {
		if s := <-done; s != "200 OK" {
			t.Error(s)
		}
	}
	if n := w.dialled(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

func TestAFaultOfTheWayIsToldAsTheProxyTellsIt(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		w := newWorld(t, nil)
		w.dialErr = &fault.Error{Code: fault.PolicyPrivateTarget, Message: "api.example.com has the address 10.0.0.7", Target: originName + ":443"}
		resp, body := w.do(w.client(h2), w.request("POST", "/openai/", bytes.NewReader(make([]byte, 1<<20))))
		w.refusal(resp, body, fault.PolicyPrivateTarget)
		if len(w.hellos) != 0 {
			t.Error("something was sent")
		}
	}
}

func TestAnOriginThatIsNotWhoItShouldBeIsRefused(t *testing.T) {
	for what, change := range map[string]option{
		"unknown authority": func(_ *world, _ *tls.Config, e *Entry) { e.Roots = dnstest.NewCA().Pool() },
		"does not cover": func(_ *world, c *tls.Config, _ *Entry) {
			c.Certificates = []tls.Certificate{authorities.Issue([]string{"api.other.com"}, nil)}
		},
		"expired": func(_ *world, c *tls.Config, _ *Entry) {
			c.Certificates = []tls.Certificate{authorities.IssueLeaf(dnstest.Leaf{Names: []string{originName}, NotAfter: time.Now().Add(-time.Hour)})}
		},
		"handshake": func(_ *world, c *tls.Config, _ *Entry) {
			c.MaxVersion = tls.VersionTLS11
			c.MinVersion = tls.VersionTLS10
		},
	} {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }, change)
		resp, body := w.get("/openai/")
		w.refusal(resp, body, fault.OriginFailed)
		if !strings.Contains(body, what) {
			t.Errorf("%s: %s", what, body)
		}
	}
}

func TestDrainGivesRequestsTheirTime(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { close(begun); <-release; io.WriteString(rw, "done") })
	if err := w.g.SetLimits(10, limit); err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	c, r := w.client(false), w.request("GET", "/openai/", nil)
	go func() { _, body := w.do(c, r); got <- body }()
	<-begun
	ended := make(chan struct{})
	go func() { w.g.Drain(); close(ended) }()
	select {
	case <-ended:
		t.Error("it did not wait")
	default:
	}
	close(release)
	if body := <-got; body != "done" {
		t.Error(body)
	}
	<-ended
	if _, err := w.g.Connect(from, local, nil); err == nil {
		t.Error("it takes connections at its end")
	}
}

func TestMoreRequestsThanTheLimitAreTurnedAway(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { close(begun); <-release })
	defer close(release)
	if err := w.g.SetLimits(1, 0); err != nil {
		t.Fatal(err)
	}
	c := w.client(true)
	go func() {
		if resp, err := c.Do(w.request("GET", "/openai/", nil)); err == nil {
			resp.Body.Close()
		}
	}()
	<-begun
	resp, body := w.do(c, w.request("GET", "/openai/", nil))
	w.refusal(resp, body, fault.Limit)
	if b, err := io.ReadAll(w.dial()); len(b) != 0 || err != nil { // a second connection is ended at once
		t.Errorf("%q %v", b, err)
	}
}
