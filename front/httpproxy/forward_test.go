package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

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
		"Connection: keep-alive, X-Listed", "X-Listed: gone", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic c2VjcmV0",
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

func TestConnectionsToOriginsAreUsedAgainByTheSameClientOnly(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {})
	p := serve(t, nil)
	get := func(c *raw) {
		c.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
		c.response("GET")
	}
	one, two := p.raw(t), p.raw(t)
	get(one)
	get(one)
	if n := len(p.dialer.requests()); n != 1 {
		t.Errorf("%d connections for one client", n)
	}
	get(two)
	if n := len(p.dialer.requests()); n != 2 {
		t.Errorf("%d connections for two clients", n)
	}
	p.RoutesChanged()
	get(one)
	if n := len(p.dialer.requests()); n != 3 {
		t.Errorf("%d connections after the routes changed", n)
	}
	if got := p.sink.codes(); !slices.Equal(got, []string{""}) {
		t.Errorf("requests without a dial were reported as %q", got)
	}
}

func TestEventsOfAStreamArriveBeforeItsEnd(t *testing.T) {
	next := make(chan string)
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for e := range next {
			io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
	})
	resp, err := serve(t, nil).client(t).Get("http://sse.example:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 { // the next event is sent only after this one was read
		next <- fmt.Sprintf("data: %d\n", i)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) || err != nil {
			t.Fatal(line, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Error(rest, err)
	}
}

func TestAnUploadStreamsWhileTheResponseDoes(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "got %s\n", lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	p := serve(t, nil)
	up, feed := io.Pipe()
	resp, err := p.client(t).Post("http://duplex.example:"+port+"/", "text/plain", up)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		fmt.Fprintf(feed, "%d\n", i)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("got %d\n", i) || err != nil {
			t.Fatal(line, err)
		}
	}
	feed.Close()
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}

func TestLargeBodiesArriveUnchangedBothWays(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	client := serve(t, nil).client(t)
	for _, body := range []io.Reader{bytes.NewReader(sent), io.MultiReader(bytes.NewReader(sent))} { // with its length, and chunked
		resp, err := client.Post("http://a.example:"+port+"/", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if !bytes.Equal(got, sent) || err != nil {
			t.Errorf("%d octets of %d, %v", len(got), len(sent), err)
		}
	}
}

func TestTrailersAreForwardedBothWays(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Up")+r.Trailer.Get("X-Unannounced")+r.Trailer.Get("Authorization"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Transfer-Encoding: chunked", "Trailer: X-Up, Authorization",
		"", "1", "x", "0", "X-Up: up", "Authorization: no", "X-Unannounced: -and-more")
	resp, body := c.response("POST")
	if body != "body" || resp.Trailer.Get("X-Sum") != "up-and-more" || resp.Trailer.Get("X-Late") != "late" {
		t.Errorf("%q %v", body, resp.Trailer)
	}
	c.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
	if resp, _ := c.response("GET"); resp.StatusCode != 200 {
		t.Error("the connection is out of step")
	}
}

func TestABodyIsAskedForWhenTheOriginWantsIt(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // net/http says 100 here
		fmt.Fprintf(w, "%s", b)
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 4", "Expect: 100-continue")
	if line, err := c.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
		t.Fatal(line, err)
	}
	c.ReadString('\n')
	io.WriteString(c.TCPConn, "body")
	if resp, body := c.response("POST"); body != "body" || resp.Close {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestABodyIsNotAskedForWhenTheOriginRefusesFirst(t *testing.T) {
	for _, status := range []int{417, 401} {
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		c := serve(t, nil).raw(t)
		c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 4", "Expect: 100-continue")
		if resp, _ := c.response("POST"); resp.StatusCode != status || !resp.Close {
			t.Errorf("%s, close %v", resp.Status, resp.Close)
		}
		c.CloseWrite()
		c.ended()
	}
}

func TestAnEarlyResponseReachesAClientThatStillSends(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(413)
		io.WriteString(w, "too large")
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 1000000000000")
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for b := make([]byte, 64<<10); ; {
			if _, err := c.TCPConn.Write(b); err != nil {
				return
			}
		}
	}()
	if resp, body := c.response("POST"); resp.StatusCode != 413 || body != "too large" || !resp.Close {
		t.Errorf("%s %q", resp.Status, body)
	}
	c.Close()
	<-stop
}

func TestInterimResponsesAreForwarded(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.WriteHeader(200)
	})
	early := make(chan string, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		early <- fmt.Sprint(code, h.Get("Link"))
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://a.example:"+port+"/", nil)
	resp, err := serve(t, nil).client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-early; got != "103</a.css>" {
		t.Error(got)
	}
}

func TestResponsesWithoutABodyLeaveTheConnectionInStep(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "12345")
		}
	})
	c := serve(t, nil).raw(t)
	for _, r := range []struct {
		method, path, length string
		status               int
	}{
		{"GET", "/204", "", 204}, {"GET", "/304", "", 304}, {"HEAD", "/", "5", 200}, {"GET", "/", "5", 200},
	} {
		c.send(r.method+" http://a.example:"+port+r.path+" HTTP/1.1", "Host: a.example:"+port)
		resp, _ := c.response(r.method)
		if resp.StatusCode != r.status || resp.Header.Get("Content-Length") != r.length || len(resp.TransferEncoding) > 0 {
			t.Errorf("%s %s: %s %v", r.method, r.path, resp.Status, resp.Header)
		}
	}
}

func TestAClientOfHTTP10GetsABodyThatEndsWithTheConnection(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "one ")
		w.(http.Flusher).Flush()
		io.WriteString(w, "two")
	})
	c := serve(t, nil).raw(t)
	c.send("GET http://a.example:" + port + "/ HTTP/1.0")
	got, err := io.ReadAll(c)
	if !bytes.HasSuffix(got, []byte("\r\n\r\none two")) || bytes.Contains(got, []byte("chunked")) || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestAResponseThatBreaksOffIsNotMadeWhole(t *testing.T) {
	for _, head := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			c, rw, _ := w.(http.Hijacker).Hijack()
			rw.WriteString("HTTP/1.1 200 OK\r\n" + head + "\r\n\r\n5\r\nhello\r\n")
			rw.Flush()
			c.Close()
		})
		resp, err := serve(t, nil).client(t).Get("http://a.example:" + port + "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the client took it for whole", head)
		}
		resp.Body.Close()
	}
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
	p.dialer.fail = func(route.Request) error {
		return fault.New(fault.PolicyPlainHTTP, "http:// leaves in clear text", nil)
	}
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

func TestTheOriginLearnsThatTheClientIsGone(t *testing.T) {
	for _, body := range []string{"", "abc"} {
		arrived, gone := make(chan struct{}), make(chan struct{})
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			close(arrived)
			<-r.Context().Done()
			close(gone)
		})
		c := serve(t, nil).raw(t)
		c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, fmt.Sprintf("Content-Length: %d", len(body)))
		io.WriteString(c.TCPConn, body)
		<-arrived
		c.Close()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Errorf("body %q: the origin works on for nobody", body)
		}
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

func TestWebSocketsPassWithWhatEitherSideSentEarly(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Key") != "k" || r.Header.Get("Proxy-Authorization") != "" {
			w.WriteHeader(400)
			return
		}
		c, rw, _ := w.(http.Hijacker).Hijack()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nhello ")
		rw.Flush()
		io.Copy(c, rw)
		c.Close()
	})
	c := serve(t, nil).raw(t)
	c.send("GET http://ws.example:"+port+"/s HTTP/1.1", "Host: ws.example:"+port, "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Key: k", "Proxy-Authorization: x")
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" ||
		resp.Header.Get("Sec-Websocket-Accept") != "a" {
		t.Fatal(resp, err)
	}
	io.WriteString(c.TCPConn, "echo")
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello echo" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestAnUpgradeThatIsRefusedIsAnOrdinaryResponse(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(403)
		io.WriteString(w, "no")
	})
	c := serve(t, nil).raw(t)
	for range 2 {
		c.send("GET http://ws.example:"+port+"/ HTTP/1.1", "Host: ws.example:"+port, "Connection: Upgrade", "Upgrade: websocket")
		if resp, body := c.response("GET"); resp.StatusCode != 403 || body != "no" || resp.Close {
			t.Errorf("%s %q", resp.Status, body)
		}
	}
}

func TestSlowHeadsAndSilentClientsAreEnded(t *testing.T) {
	p := serve(t, func(o *Options) { o.HeadTimeout, o.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond })
	c := p.raw(t)
	io.WriteString(c.TCPConn, "GET http://a.example/ HTTP/1.1\r\nHost: a")
	if resp, _, message := c.refusal("GET"); resp.StatusCode != 400 || !strings.Contains(message, "did not come within") || !resp.Close {
		t.Error(resp.Status)
	}
	c.CloseWrite()
	c.ended()

	c = p.raw(t)
	c.send("GET / HTTP/1.1", "Host: a")
	c.refusal("GET")
	c.ended()
}

func TestDrainEndsConnectionsThatWaitAndThoseThatWould(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
	})
	p := serve(t, nil)
	waiting, busy := p.raw(t), p.raw(t)
	waiting.send("GET / HTTP/1.1", "Host: a")
	waiting.refusal("GET")
	busy.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
	<-entered
	p.Drain()
	waiting.ended()
	close(leave)
	if resp, _ := busy.response("GET"); resp.StatusCode != 200 || !resp.Close {
		t.Error(resp.Status, resp.Close)
	}
	busy.CloseWrite()
	busy.ended()
}

func TestADoorWithoutItsCollaboratorsIsAnError(t *testing.T) {
	for _, o := range []Options{
		{},
		{Dialer: &dialer{}},
		{Dialer: &dialer{}, Relay: copyBoth},
		{Relay: copyBoth, Sink: &sink{}},
		{Dialer: &dialer{}, Relay: copyBoth, Sink: &sink{}, IdleTimeout: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
