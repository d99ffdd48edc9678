package connect

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"watertight/name"
)

func TestTheRequestNamesTheTargetTwiceAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		target, credentials, want string
	}{
		{"api.example.com:443", "", "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"},
		{"192.0.2.1:80", "", "CONNECT 192.0.2.1:80 HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n"},
		{"[2001:db8::1]:443", "", "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"},
		{
			"a.example:443", Credentials("Aladdin", "open sesame"), // RFC 7617, section 2
			"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n",
		},
	} {
		if got := string(AppendRequest(nil, name.Must(tt.target), tt.credentials)); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func read(sent string, slow bool) (Response, string, error) {
	all := strings.NewReader(sent)
	var r io.Reader = all
	if slow {
		r = iotest.OneByteReader(all)
	}
	resp, err := Read(r, make([]byte, MaxHead))
	unread, _ := io.ReadAll(all)
	rest := string(resp.Rest) + string(unread)
	resp.Rest = nil
	return resp, rest, err
}

func TestAResponseIsReadAndWhatFollowsIsKept(t *testing.T) {
	const after = "220 the far side speaks first\r\n\r\n"
	for _, tt := range []struct {
		title, sent string
		want        Response
	}{
		{"plain", "HTTP/1.1 200 Connection established\r\n\r\n", Response{Status: 200, Reason: "Connection established"}},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nVia: 1.1 p\r\n\r\n", Response{Status: 200, Reason: "OK"}},
		{"no reason", "HTTP/1.1 200 \r\n\r\n", Response{Status: 200}},
		{"no blank", "HTTP/1.1 200\r\n\r\n", Response{Status: 200}},
		{"any 2xx", "HTTP/1.1 204 Fine\r\n\r\n", Response{Status: 204, Reason: "Fine"}},
		{"lengths mean nothing", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n", Response{Status: 200, Reason: "OK"}},
		{"interim", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Response{Status: 200, Reason: "OK"}},
		{"nobody asked to switch", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Response{Status: 101, Reason: "Switching Protocols"}},
		{"407", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"p\"\r\n\r\n", Response{Status: 407, Reason: "Proxy Authentication Required"}},
		{"octets beyond ASCII", "HTTP/1.1 502 \xc3\xa9chec\r\n\r\n", Response{Status: 502, Reason: "\xc3\xa9chec"}},
		{"Proxy-Status", "HTTP/1.1 502 Bad Gateway\r\nproxy-status: ex; error=dns_error; rcode=\"NXDOMAIN\"\r\n\r\n", Response{Status: 502, Reason: "Bad Gateway", Error: "dns_error", RCode: "NXDOMAIN"}},
		{"the first Proxy-Status with an error", "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: a; next-hop=x\r\nProxy-Status: b; error=connection_refused\r\nProxy-Status: c; error=x\r\n\r\n", Response{Status: 502, Reason: "Bad Gateway", Error: "connection_refused"}},
	} {
		t.Run(tt.title, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				resp, rest, err := read(tt.sent+after, slow)
				if err != nil {
					t.Fatal(err)
				}
				if resp.Status != tt.want.Status || resp.Reason != tt.want.Reason || resp.Error != tt.want.Error || resp.RCode != tt.want.RCode {
					t.Errorf("got %+v, want %+v", resp, tt.want)
				}
				if rest != after {
					t.Errorf("%q follows, want %q", rest, after)
				}
			}
		})
	}
}

func TestAResponseThatIsWrongIsAnError(t *testing.T) {
	for _, tt := range []struct {
		title, sent string
		want        error
	}{
		{"nothing", "", io.EOF},
		{"SOCKS", "\x05\xff", ErrNotHTTP},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", ErrNotHTTP},
		{"HTTP/2", "HTTP/2 200\r\n\r\n", ErrNotHTTP},
		{"lower case", "http/1.1 200 OK\r\n\r\n", ErrNotHTTP},
		{"blank first", " HTTP/1.1 200 OK\r\n\r\n", ErrNotHTTP},
		{"empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", ErrNotHTTP},
		{"two digits", "HTTP/1.1 20\r\n\r\n", ErrMalformed},
		{"four digits", "HTTP/1.1 2000\r\n\r\n", ErrMalformed},
		{"no digits", "HTTP/1.1 2x0 OK\r\n\r\n", ErrMalformed},
		{"signed", "HTTP/1.1 +20 OK\r\n\r\n", ErrMalformed},
		{"status 99", "HTTP/1.1 099 OK\r\n\r\n", ErrMalformed},
		{"status 600", "HTTP/1.1 600 OK\r\n\r\n", ErrMalformed},
		{"two blanks", "HTTP/1.1  200 OK\r\n\r\n", ErrMalformed},
		{"no minor version", "HTTP/1. 200 OK\r\n\r\n", ErrMalformed},
		{"bare LF", "HTTP/1.1 200 OK\n\n", ErrMalformed},
		{"bare LF in the fields", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", ErrMalformed},
		{"bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", ErrMalformed},
		{"octet 0", "HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", ErrMalformed},
		{"folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ErrMalformed},
		{"blank before the colon", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", ErrMalformed},
		{"no colon", "HTTP/1.1 200 OK\r\nA\r\n\r\n", ErrMalformed},
		{"no name", "HTTP/1.1 200 OK\r\n: b\r\n\r\n", ErrMalformed},
		{"cut off in the version", "HTTP", io.ErrUnexpectedEOF},
		{"cut off in the status line", "HTTP/1.1 200", io.ErrUnexpectedEOF},
		{"cut off in the fields", "HTTP/1.1 200 OK\r\nA: b\r\n", io.ErrUnexpectedEOF},
		{"cut off after an interim response", "HTTP/1.1 100 Continue\r\n\r\n", io.ErrUnexpectedEOF},
		{"interim without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100), ErrInterim},
		{"endless reason", "HTTP/1.1 200 " + strings.Repeat("x", MaxHead), ErrTooLong},
		{"endless fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", MaxHead/6), ErrTooLong},
		{"one octet too long", "HTTP/1.1 200 " + strings.Repeat("x", MaxHead-16) + "\r\n\r\n", ErrTooLong},
	} {
		t.Run(tt.title, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				if _, _, err := read(tt.sent, slow); !errors.Is(err, tt.want) {
					t.Errorf("got %v, want %v", err, tt.want)
				}
			}
		})
	}
}

func TestTheLongestHeadIsRead(t *testing.T) {
	resp, rest, err := read("HTTP/1.1 200 "+strings.Repeat("x", MaxHead-17)+"\r\n\r\nrest", false)
	if err != nil || resp.Status != 200 || rest != "rest" {
		t.Errorf("%d, %q, %v", resp.Status, rest, err)
	}
}

func TestAnErrorOfTheConnectionIsPassedOn(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("HTTP/1.1 2"), iotest.ErrReader(broken))
	if _, err := Read(r, make([]byte, MaxHead)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestOnly2xxIsATunnel(t *testing.T) {
	for status, want := range map[int]bool{101: false, 200: true, 201: true, 299: true, 300: false, 407: false, 502: false} {
		if got := (Response{Status: status}).OK(); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
}

func TestProxyStatusIsReadAsAListWithParameters(t *testing.T) {
	for _, tt := range []struct{ value, errorType, rcode string }{
		{"ex; error=connection_timeout", "connection_timeout", ""},
		{`"a, b; error=no"; error=dns_timeout`, "dns_timeout", ""},
		{`ex; details="a \" ; error=no"; error=yes`, "yes", ""},
		{`a; rcode="REFUSED", b; error=dns_error;rcode=SERVFAIL`, "dns_error", "SERVFAIL"},
		{"a; error=first, b; error=second", "first", ""},
		{"a", "", ""},
		{"", "", ""},
		{"a; error", "", ""},
		{`a; error="quoted"`, "", ""},
		{"a; error=" + strings.Repeat("x", 65), "", ""},
		{`a; details="never closed; error=no`, "", ""},
		{",,,;;;", "", ""},
	} {
		if errorType, rcode := proxyError([]byte(tt.value)); errorType != tt.errorType || rcode != tt.rcode {
			t.Errorf("%s: got %q, %q", tt.value, errorType, rcode)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\nrest"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 502 Bad Gateway\r\nProxy-Status: ex; error=dns_error; rcode=\"NXDOMAIN\", b; error=x\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\nA: b\n\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		resp, err := Read(bytes.NewReader(sent), make([]byte, 1024))
		slow, slowErr := Read(iotest.OneByteReader(bytes.NewReader(sent)), make([]byte, 1024))
		if (err == nil) != (slowErr == nil) || resp.Status != slow.Status || resp.Error != slow.Error {
			t.Fatalf("it depends on how the octets arrive: %+v %v, %+v %v", resp, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if resp.Status < 100 || resp.Status > 599 || strings.ContainsAny(resp.Reason, "\r\n\x00") {
			t.Fatalf("%+v", resp)
		}
		if len(slow.Rest) > 0 {
			t.Fatal("read beyond the head, one octet at a time")
		}
	})
}
