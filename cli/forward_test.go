package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// talk is a conversation with the proxy, line by line.
type talk struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (x *proxy) talk(t *testing.T) *talk {
	conn := x.dial(t)
	return &talk{t, conn, bufio.NewReader(conn)}
}

func (c *talk) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// until reads up to and with the text that is to come.
func (c *talk) until(end string) string {
	c.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		o, err := c.r.ReadByte()
		if err != nil {
			c.t.Fatalf("%v instead of %q after %q", err, end, b.String())
		}
		b.WriteByte(o)
	}
	return b.String()
}

func TestAWebSocketIsOpenedInAbsoluteForm(t *testing.T) {
	x := startProxy(t, testWorld(t))
	c := x.talk(t)
	c.say("GET http://%[1]s/socket HTTP/1.1\r\nHost: %[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n", x.plain)
	head := c.until("\r\n\r\n")
	mustSay(t, strings.ToLower(head), "http/1.1 101 ", "upgrade: websocket", "sec-websocket-accept: x")
	for _, word := range []string{"first", "second"} {
		c.say("%s", word)
		if got := c.until(word); got != word {
			t.Errorf("the socket gave %q", got)
		}
	}
}

func TestAWebSocketIsRefusedWhereClearTextIs(t *testing.T) {
	w := testWorld(t)
	if err := os.WriteFile(w.config(), []byte(w.configText("private_targets: allow")), 0o600); err != nil {
		t.Fatal(err)
	}
	x := startProxy(t, w)
	c := x.talk(t)
	c.say("GET http://%[1]s/socket HTTP/1.1\r\nHost: %[1]s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", x.plain)
	mustSay(t, c.until("}\n"), "HTTP/1.1 403 ", "(POLICY_PLAIN_HTTP)", `"hint":"use https://`)
	if n := len(x.asked()); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
}

func TestTrailersPassInBothDirections(t *testing.T) {
	x := startProxy(t, testWorld(t))
	c := x.talk(t)
	c.say("POST http://%[1]s/echo HTTP/1.1\r\nHost: %[1]s\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n", x.plain)
	c.say("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if want := `hello, err <nil>, trailer "42"`; string(body) != want || err != nil {
		t.Errorf("the origin saw %q, not %q; %v", body, want, err)
	}
	if got := resp.Trailer.Get("X-End"); got != "reached" {
		t.Errorf("the client got the trailer %q", got)
	}
}

func TestABodyIsSentOnlyWhenTheOriginWantsIt(t *testing.T) {
	x := startProxy(t, testWorld(t))
	c := x.talk(t)
	c.say("POST http://%[1]s/echo HTTP/1.1\r\nHost: %[1]s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", x.plain)
	mustSay(t, c.until("\r\n\r\n"), "HTTP/1.1 100 Continue")
	c.say("hello")
	mustSay(t, c.until("hello, err <nil>"), "HTTP/1.1 200 OK")

	c = x.talk(t)
	c.say("POST http://%[1]s/refuse HTTP/1.1\r\nHost: %[1]s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", x.plain)
	if got := c.until("no body wanted"); !strings.HasPrefix(got, "HTTP/1.1 417 ") {
		t.Errorf("the client was told %q", got)
	}
}

func TestEventsArriveOneByOne(t *testing.T) {
	x := startProxy(t, testWorld(t))
	resp, err := x.goClient(t, "http").Get("http://" + x.plain + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("got %q, %v, not %q", line, err, want)
		}
		_, _ = r.ReadString('\n')
		x.next <- struct{}{} // only now does the origin go on
	}
}

func TestPipelinedRequestsAreAnsweredInTheirOrder(t *testing.T) {
	x := startProxy(t, testWorld(t))
	c := x.talk(t)
	c.say("GET http://%[1]s/1 HTTP/1.1\r\nHost: %[1]s\r\n\r\nGET http://%[2]s/ HTTP/1.1\r\nHost: %[2]s\r\n\r\n"+
		"GET http://%[1]s/3 HTTP/1.1\r\nHost: %[1]s\r\nConnection: close\r\n\r\n", x.plain, noName)
	for i, want := range []string{"hello from " + x.plain + " /1", "DNS_NXDOMAIN", "hello from " + x.plain + " /3"} {
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatal(i, err)
		}
		body, _ := io.ReadAll(resp.Body)
		if !strings.Contains(string(body), want) {
			t.Errorf("answer %d is %q", i, body)
		}
	}
}
