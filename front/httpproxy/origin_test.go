package httpproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"watertight/fault"
)

// serveRaw is an origin that reads the head of each request and answers with the next of the texts; it closes the
// connection after the last. The heads come out of the channel.
func serveRaw(t testing.TB, answers ...string) (port string, heads <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen := make(chan string, len(answers)+10)
	go func() {
		for i := 0; i < len(answers); {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			for r := bufio.NewReader(c); i < len(answers); i++ {
				head, err := readHead(r)
				if err != nil {
					break // the next connection goes on
				}
				seen <- head
				io.WriteString(c, answers[i])
			}
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, seen
}

// get sends a GET for an origin at port.
func (r *raw) get(port string, fields ...string) {
	r.send(append([]string{"GET http://a.example:" + port + "/ HTTP/1.1", "Host: a.example:" + port}, fields...)...)
}

var asksUpgrade = []string{"Connection: Upgrade", "Upgrade: websocket"}

func TestAResponseWithTwoReadingsIsNotSentOn(t *testing.T) {
	for why, answer := range map[string]string{
		"a blank before the colon of an encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"a blank before the colon of a length":    "HTTP/1.1 200 OK\r\nContent-Length : 50\r\nContent-Length: 2\r\n\r\nok",
		"a name of two words":                     "HTTP/1.1 200 OK\r\nX Y: z\r\nContent-Length: 2\r\n\r\nok",
		"two lengths":                             "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nok",
		"a length with a sign":                    "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"an encoding that is not chunked":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"a CR inside a line":                      "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok",
		"a NUL":                                   "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nok",
		"a status below 100":                      "HTTP/1.1 042 What\r\nContent-Length: 2\r\n\r\nok",
		"a status of two digits":                  "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
		"another protocol":                        "ICY 200 OK\r\n\r\n",
		"no protocol":                             "hello\r\n\r\n",
	} {
		for _, fields := range [][]string{nil, asksUpgrade} {
			port, _ := serveRaw(t, answer, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
			c := serve(t, nil).raw(t)
			c.get(port, fields...)
			resp, code, _ := c.refusal("GET")
			if resp.StatusCode != 502 || code != string(fault.OriginFailed) || resp.Close {
				t.Errorf("%s: %s, close %v", why, resp.Status, resp.Close)
			}
			c.get(port)
			if resp, body := c.response("GET"); resp.StatusCode != 200 || body != "next" {
				t.Errorf("%s: the next response is %s %q", why, resp.Status, body)
			}
		}
	}
}

func TestAResponseHasOneFramingWhateverTheOriginSaid(t *testing.T) {
	for why, answer := range map[string]string{
		"both a length and an encoding": "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"neither":                       "HTTP/1.1 200 OK\r\n\r\nbody",
		"neither, of HTTP/1.0":          "HTTP/1.0 200 OK\r\n\r\nbody",
		"the same length twice":         "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
		"lines that end in LF":          "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
		"a folded line":                 "HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 500\r\nContent-Length: 4\r\n\r\nbody",
	} {
		port, _ := serveRaw(t, answer)
		c := serve(t, nil).raw(t)
		c.get(port)
		resp, body := c.response("GET")
		if length, chunked := resp.ContentLength >= 0, len(resp.TransferEncoding) > 0; body != "body" || resp.Close || length == chunked {
			t.Errorf("%s: %s %v %v %q", why, resp.Status, resp.Header, resp.TransferEncoding, body)
		}
		c.send("OPTIONS * HTTP/1.1", "Host: x")
		if resp, _ := c.response("OPTIONS"); resp.StatusCode != 200 {
			t.Errorf("%s: the connection is out of step: %s", why, resp.Status)
		}
	}
}

func TestAResponseThatNobodyAskedForIsNotAnAnswerToTheNextRequest(t *testing.T) {
	split := "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"
	for _, first := range []string{
		"HTTP/1.1 204 No Content\r\nContent-Length: 47\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 47\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		port, _ := serveRaw(t, first+split, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
		p := serve(t, nil)
		c := p.raw(t)
		c.get(port)
		c.response("GET")
		p.RoutesChanged() // the next request has a connection of its own
		c.get(port)
		if resp, body := c.response("GET"); resp.StatusCode == 200 && body != "good" {
			t.Errorf("%q: the next response is %s %q", first, resp.Status, body)
		}
	}
}

func TestInterimResponsesReachTheClientWhoeverSendsThem(t *testing.T) {
	const early, final = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for why, fields := range map[string][]string{"an ordinary request": nil, "an upgrade": asksUpgrade} {
		port, _ := serveRaw(t, "HTTP/1.1 100 Continue\r\n\r\n"+early+final)
		c := serve(t, nil).raw(t)
		c.get(port, fields...)
		for _, want := range []int{100, 103, 200} {
			resp, err := http.ReadResponse(c.Reader, nil)
			if err != nil || resp.StatusCode != want || (want == 103) != (resp.Header.Get("Link") == "</a>") {
				t.Fatalf("%s: %v %v, not %d", why, resp, err, want)
			}
		}
	}
}

func TestASwitchedConnectionBeginsWithTheFieldsAsTheyCame(t *testing.T) {
	port, heads := serveRaw(t, "HTTP/1.1 101 Whatever\r\nuPGRADE: websocket\r\ncOnNection: upgrade, x-hop\r\nX-Hop: gone\r\n"+
		"Sec-WebSocket-Accept:  a b\r\nx-lower: 1\r\nX-Folded: one\r\n  two\r\n\r\nfirst words")
	c := serve(t, nil).raw(t)
	c.get(port, append(asksUpgrade, "Sec-WebSocket-Key: k", "x-lower: 1")...)
	got, err := io.ReadAll(c)
	want := "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a b\r\nx-lower: 1\r\nX-Folded: one two\r\n" +
		"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst words"
	if string(got) != want || err != nil {
		t.Errorf("the client got\n%q, not\n%q; %v", got, want, err)
	}
	if head := <-heads; !strings.Contains(head, "\r\nSec-WebSocket-Key: k\r\nx-lower: 1\r\n") {
		t.Errorf("the origin got %q", head)
	}
}

func TestASwitchToNothingIsRefused(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade : websocket\r\n\r\n",
	} {
		port, _ := serveRaw(t, answer)
		c := serve(t, nil).raw(t)
		c.get(port, asksUpgrade...)
		if resp, code, _ := c.refusal("GET"); resp.StatusCode != 502 || code != string(fault.OriginFailed) {
			t.Errorf("%q: %s", answer, resp.Status)
		}
	}
}

func TestMaxForwardsIsCountedDownInAnUpgradeToo(t *testing.T) {
	port, heads := serveRaw(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	c := serve(t, nil).raw(t)
	c.send(append([]string{"OPTIONS http://a.example:" + port + "/ HTTP/1.1", "Host: a.example:" + port, "max-forwards: 7"}, asksUpgrade...)...)
	c.response("OPTIONS")
	if head := <-heads; !strings.Contains(head, "\r\nmax-forwards: 6\r\n") {
		t.Errorf("the origin got %q", head)
	}
}

func TestAPathKeepsItsOctets(t *testing.T) {
	for path, want := range map[string]string{
		"//bucket//key":   "//bucket//key",
		"//a%2Fb?c=d&e":   "//a%2Fb?c=d&e",
		"//a?":            "//a?",
		"//a|b?c":         "http://HOST//a|b?c",
		"//a%zz":          "http://HOST//a%zz",
		"/a//b/../c;d=%7": "/a//b/../c;d=%7",
		"?q":              "/?q",
		"":                "/",
	} {
		port, heads := serveRaw(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c := serve(t, nil).raw(t)
		host := "a.example:" + port
		c.send("GET http://"+host+path+" HTTP/1.1", "Host: "+host)
		c.response("GET")
		head := <-heads
		if line, _, _ := strings.Cut(head, "\r\n"); line != "GET "+strings.ReplaceAll(want, "HOST", host)+" HTTP/1.1" ||
			!strings.Contains(head, "\r\nHost: "+host+"\r\n") {
			t.Errorf("%q: the origin got %q", path, head)
		}
	}
}

func TestABodyThatStallsIsRefusedInWords(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	c := serve(t, func(o *Options) { o.StallTimeout = 50 * time.Millisecond }).raw(t)
	c.get(port, "Content-Length: 40", "", "ab")
	resp, code, message := c.refusal("GET")
	if resp.StatusCode != 400 || code != "BAD_REQUEST" || !strings.Contains(message, "for 50ms") || !resp.Close {
		t.Errorf("%s %s, close %v", resp.Status, message, resp.Close)
	}
}

func TestAnOriginThatBreaksOffInTheMiddleOfABodyIsNamedAsTheCause(t *testing.T) {
	port, _ := serveRaw(t, "") // it closes after the head
	c := serve(t, nil).raw(t)
	c.get(port, "Content-Length: 4000")
	io.WriteString(c.TCPConn, "the rest never comes")
	if resp, code, _ := c.refusal("GET"); resp.StatusCode != 502 || code != string(fault.OriginFailed) || !resp.Close {
		t.Errorf("%s, close %v", resp.Status, resp.Close)
	}
}

func TestARefusalSaysWhatToDoNext(t *testing.T) {
	p := serve(t, nil)
	for line, hint := range map[string]string{
		"CONNECT example.com":                           "write HOST:PORT with a decimal port",
		"CONNECT example.com:0":                         "write HOST:PORT with a decimal port",
		"CONNECT [fe80::1%25eth0]:443":                  "take the zone",
		"CONNECT u:p@example.com:443":                   "an Authorization header",
		"CONNECT :443":                                  "write the host that is meant",
		"CONNECT m\xc3\xbcnchen.example:443":            "write the host as xn--mnchen-3ya.example",
		"CONNECT m%C3%BCnchen.example:443":              "write the host as xn--mnchen-3ya.example",
		"CONNECT 127.1:443":                             "an IPv4 address in full",
		"GET http://M\xc3\x9cNCHEN.example:80/x":        "write the host as xn--mnchen-3ya.example",
		"GET http://example.com/\xc3\xbc":               "percent-encode the octets of the path",
		"GET http://example.com/a\x7f":                  "percent-encode the octets of the path",
		"GET http://example.com/#x":                     "take the # and what follows out",
		"GET http://example.com:65536/":                 "write HOST:PORT with a decimal port",
		"GET http://other.example/":                     "send a Host header with the URL's host and port, other.example",
		"GET ftp://example.com/":                        "through CONNECT or SOCKS",
		"GET example.com":                               "write the whole URL",
		"TRACE http://x/ HTTP/1.1\r\nContent-Length: 1": "",
	} {
		c := p.raw(t)
		c.send(strings.TrimSuffix(line, " HTTP/1.1")+" HTTP/1.1", "Host: x")
		resp, body := c.response("GET")
		if resp.StatusCode != 400 || !strings.Contains(body, `"hint":"`) || !strings.Contains(body, hint) || strings.Contains(body, "request is malformed") {
			t.Errorf("%q: %s %s", line, resp.Status, body)
		}
	}
}
