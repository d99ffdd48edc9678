package cli_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stillServes fails the test unless an ordinary request works.
func (x *proxy) stillServes(t *testing.T) {
	t.Helper()
	got := x.say(t, "GET http://"+x.plain+"/still HTTP/1.1\r\nHost: "+x.plain+"\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.Contains(got, "hello from ") {
		t.Errorf("an ordinary request gets %q", got)
	}
}

// long is a name of n octets, of labels that are short enough.
func long(n int) string {
	tail := ".example.net"
	s := strings.Repeat(strings.Repeat("a", 49)+".", n/50+1)[:n-len(tail)]
	return strings.TrimSuffix(s, ".") + strings.Repeat("b", len(s)-len(strings.TrimSuffix(s, "."))) + tail
}

// smuggled is a second request, hidden in octets that two parsers would read in two ways. It must never be served.
const smuggled = "GET http://HOST/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"

// answers finds status lines.
var answers = regexp.MustCompile(`HTTP/1\.1 \d\d\d `)

func TestARequestWithTwoReadingsIsRefusedAndNeverServed(t *testing.T) {
	x := startProxy(t, testWorld(t))
	for _, c := range []struct{ name, octets, says string }{
		{"CL and TE", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "both Content-Length and Transfer-Encoding"},
		{"TE and CL", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nContent-Length: 300\r\n\r\n0\r\n\r\n" + smuggled, "both Content-Length and Transfer-Encoding"},
		{"two CL", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: 60\r\n\r\n" + smuggled, "more than one Content-Length"},
		{"CL list", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0, 60\r\n\r\n" + smuggled, "not one plain decimal number"},
		{"CL with sign", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nContent-Length: +0\r\n\r\n" + smuggled, "not one plain decimal number"},
		{"two TE", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled, "more than one Transfer-Encoding"},
		{"TE in disguise", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, "not exactly chunked"},
		{"TE of 1.0", "GET http://HOST/ HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, "HTTP/1.0 has no Transfer-Encoding"},
		{"space before colon", "POST http://HOST/ HTTP/1.1\r\nHost: HOST\r\nContent-Length : 60\r\n\r\n" + smuggled, "between a header's name and its colon"},
		{"folded line", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n" + smuggled, "folded lines are obsolete"},
		{"bare LF", "GET http://HOST/ HTTP/1.1\nHost: HOST\n\n" + smuggled, "ends in LF alone"},
		{"bare LF in a header", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nX: a\nY: b\r\n\r\n" + smuggled, "ends in LF alone"},
		{"bare CR", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nX: a\rContent-Length: 60\r\n\r\n" + smuggled, "carriage return stands inside"},
		{"NUL", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\n\r\n" + smuggled, "control character 0x00"},
		{"two Hosts", "GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\nHost: other.example.net\r\n\r\n" + smuggled, "more than one Host"},
		{"no Host", "GET http://HOST/ HTTP/1.1\r\n\r\n" + smuggled, "no Host header"},
		{"blank in the target", "GET http://HOST/a b HTTP/1.1\r\nHost: HOST\r\n\r\n" + smuggled, "single spaces"},
		{"chunk with LF", "POST http://HOST/echo HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + smuggled, "ends in LF alone"},
		{"chunk longer than its size", "POST http://HOST/echo HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n" + smuggled, "longer than its size"},
		{"chunk size that wraps", "POST http://HOST/echo HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n" + smuggled, "more than 15 digits"},
		{"CONNECT with a body", "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\nContent-Length: 60\r\n\r\n" + smuggled, "a CONNECT request has no body"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "speaks HTTP/1.1"},
		{"HTTP/0.9", "GET http://HOST/\r\n" + smuggled, "the request line is not METHOD TARGET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := x.say(t, strings.ReplaceAll(c.octets, "HOST", x.plain))
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, c.says) || !strings.Contains(got, "(BAD_REQUEST)") {
				t.Errorf("got %q", got)
			}
			if len(answers.FindAllString(got, -1)) != 1 {
				t.Errorf("more than one answer: %q", got)
			}
		})
	}
	for _, r := range x.asked() {
		if r.URL.Path == "/smuggled" {
			t.Error("a smuggled request was served")
		}
	}
	x.stillServes(t)
}

func TestATargetThatIsNoTargetIsRefusedWithItsReason(t *testing.T) {
	x := startProxy(t, testWorld(t))
	for _, c := range []struct{ line, host, says string }{
		{"CONNECT user:pass@HOST", "HOST", "no user information"},
		{"CONNECT " + apiName + ":0", "HOST", "the port must be a number from 1 to 65535"},
		{"CONNECT " + apiName + ":65536", "HOST", "the port must be a number from 1 to 65535"},
		{"CONNECT " + apiName + ":+443", "HOST", "the port must be a number from 1 to 65535"},
		{"CONNECT " + apiName + ":0443", "HOST", "the port must be a number from 1 to 65535"},
		{"CONNECT " + apiName + ":", "HOST", "the port must be a number from 1 to 65535"},
		{"CONNECT " + apiName, "HOST", "the port must be a number from 1 to 65535: none is given"},
		{"CONNECT :443", "HOST", "the host is empty"},
		{"CONNECT .:443", "HOST", "the host is empty"},
		{"CONNECT " + long(254) + ":443", "HOST", "254 octets, and a name has at most 253"},
		{"CONNECT " + strings.Repeat("a", 64) + ".example.net:443", "HOST", "a label of 64 octets"},
		{"CONNECT a..example.net:443", "HOST", "a label is empty"},
		{"CONNECT api.shop.example.net..:443", "HOST", "a label is empty"},
		{"CONNECT [fe80::1%25eth0]:443", "HOST", "an IPv6 zone has no meaning"},
		{"CONNECT [fe80::1%eth0]:443", "HOST", "an IPv6 zone has no meaning"},
		{"CONNECT ::1:443", "HOST", "write an IPv6 address in brackets"},
		{"CONNECT [::1:443", "HOST", "a bracket is not closed"},
		{"CONNECT 0x7f.1:443", "HOST", "ends in a number"},
		{"CONNECT 2130706433:443", "HOST", "ends in a number"},
		{"CONNECT 127.1:443", "HOST", "ends in a number"},
		{"CONNECT a%00b.example.net:443", "HOST", "only letters, digits, hyphens and underscores"},
		{"CONNECT http://HOST/", "HOST", "CONNECT asks for a host and a port"},
		{"GET http://user:pass@HOST/", "HOST", "no user information"},
		{"GET http://HOST/", "other.example.net", "the Host header does not name the host of the URL"},
		{"GET http://HOST/#part", "HOST", "a fragment is not part"},
		{"GET https://HOST/", "HOST", "the client must use CONNECT"},
		{"GET ftp://HOST/", "HOST", "over http:// only"},
		{"GET //HOST/", "HOST", "a proxy, not a web server"},
		{"GET /", "HOST", "a proxy, not a web server"},
		{"GET http://" + apiName + ":65536/", "HOST", "the port must be a number from 1 to 65535"},
		{"G@T http://HOST/", "HOST", "not a token"},
		{"GET http://m\xc3\xbcnchen.example.net/", "HOST", "must be percent-encoded"},
	} {
		got := x.say(t, strings.ReplaceAll(c.line+" HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n", "HOST", x.plain))
		head, body, _ := strings.Cut(got, "\r\n\r\n")
		if !strings.HasPrefix(head, "HTTP/1.1 400 ") || !strings.Contains(head, "error=http_request_error") ||
			!strings.Contains(body, `"error":"BAD_REQUEST"`) || !strings.Contains(body, c.says) {
			t.Errorf("%.80q: %q", c.line, got)
		}
		if strings.Contains(got, "pass") {
			t.Errorf("%.80q: the password comes back: %q", c.line, got)
		}
	}
	if asked := x.dot.Names(); len(asked) != 1 { // for readiness
		t.Errorf("the resolver was asked for %q", asked)
	}
	x.stillServes(t)
}

func TestSpellingsOfOneNameAreOneName(t *testing.T) {
	x := startProxy(t, testWorld(t))
	for _, host := range []string{apiName, strings.ToUpper(apiName), apiName + ".", "Api.Shop.Example.Net.", "[::ffff:127.0.0.1]"} {
		got := x.say(t, fmt.Sprintf("CONNECT %s:%s HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.0\r\nHost: y\r\n\r\n", host, x.port))
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, "hello from y") {
			t.Errorf("%s: %q", host, got)
		}
	}
	for _, host := range []string{"m\u00fcnchen.example.net", "M\u00dcNCHEN.example.net", idnName} {
		req := append([]byte{5, 1, 0, 5, 1, 0, 3, byte(len(host))}, host...)
		got := x.say(t, string(append(req, portOctets(x.port)...))+"GET / HTTP/1.0\r\nHost: y\r\n\r\n")
		if !strings.HasPrefix(got, "\x05\x00\x05\x00") || !strings.Contains(got, "hello from y") {
			t.Errorf("%s: %q", host, got)
		}
	}
	if n, m := x.dot.Count(apiName, 1), x.dot.Count(idnName, 1); n != 1 || m != 1 {
		t.Errorf("the resolver was asked %d and %d times for the two names: %q", n, m, x.dot.Names())
	}
	x.stillServes(t)
}

func portOctets(port string) []byte {
	p, _ := strconv.ParseUint(port, 10, 16) // it is the port of a listener
	return []byte{byte(p >> 8), byte(p)}
}

func TestSOCKSGarbageIsRefusedInItsOwnLanguage(t *testing.T) {
	x := startProxy(t, testWorld(t))
	hello := "\x05\x01\x00"
	name := func(s string, port string) string {
		return hello + "\x05\x01\x00\x03" + string([]byte{byte(len(s))}) + s + port
	}
	for _, c := range []struct{ what, octets, want string }{
		{"no method", "\x05\x00", "\x05\xff"},
		{"an unknown method", "\x05\x01\x80", "\x05\xff"},
		{"BIND", hello + "\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x00\x05\x07"},
		{"an unknown address type", hello + "\x05\x01\x00\x09\x7f\x00\x00\x01\x00\x50", "\x05\x00\x05\x08"},
		{"an empty name", name("", "\x01\xbb"), "\x05\x00\x05\x01"},
		{"port 0", name(apiName, "\x00\x00"), "\x05\x00\x05\x01"},
		{"a name of 254 octets", name(long(254), "\x01\xbb"), "\x05\x00\x05\x01"},
		{"a name with NUL", name("a\x00b.example.net", "\x01\xbb"), "\x05\x00\x05\x01"},
		{"a name that is an address in disguise", name("0x7f.1", "\x01\xbb"), "\x05\x00\x05\x01"},
		{"version 4 in a request of 5", hello + "\x04\x01\x00\x01\x7f\x00\x00\x01\x00\x50", "\x05\x00"},
		{"SOCKS 4 BIND", "\x04\x02\x00\x50\x7f\x00\x00\x01\x00", "\x00\x5b"},
		{"SOCKS 4a with an empty name", "\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", "\x00\x5b"},
		{"SOCKS 4a with a name of 254 octets", "\x04\x01\x00\x50\x00\x00\x00\x01\x00" + long(254) + "\x00", "\x00\x5b"},
		{"TLS", "\x16\x03\x01\x02\x00", "HTTP/1.1 400 this port does not speak TLS (BAD_REQUEST)\r\n"},
		{"SOCKS 4 with an endless user", "\x04\x01\x00\x50\x7f\x00\x00\x01" + strings.Repeat("u", 2000), "\x00\x5b"},
	} {
		if got := x.say(t, c.octets); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, not %q", c.what, got, c.want)
		}
	}
	for _, first := range []string{"\x00", "\xff\xff\xff", "\x06"} { // no protocol is spoken: silence
		got, err := x.hear(t, first)
		if got != "" || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%q: %q, %v", first, got, err)
		}
	}
	x.stillServes(t)
}

// hear sends octets, says no more, and gives what comes until the connection ends.
func (x *proxy) hear(t *testing.T, octets string) (string, error) {
	t.Helper()
	conn := x.dial(t)
	if _, err := io.WriteString(conn, octets); err != nil {
		return "", err
	}
	got, err := io.ReadAll(conn)
	return string(got), err
}

func TestWhatAnOriginSendsUnaskedIsNotLogged(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	letGo := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			letGo <- err
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nX: private words\r\n\r\n")
		_, err = conn.Read(make([]byte, 1))
		letGo <- err
	}()
	x := startProxy(t, testWorld(t))
	host := apiName + ":" + portOf(l.Addr())
	mustSay(t, x.say(t, "GET http://"+host+"/ HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"), "HTTP/1.1 200 ", "ok")
	if err := <-letGo; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the connection is kept, and nothing is shown:", err)
	}
	x.stopped = true
	x.stop()
	if got := x.all.String(); strings.Contains(got, "private words") {
		t.Errorf("the proxy wrote %q", got)
	}
}
