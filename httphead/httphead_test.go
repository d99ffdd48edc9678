package httphead

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func request(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func TestAWellFormedHeadIsReadAsItIs(t *testing.T) {
	q, err := Parse(request("POST http://example.com/a?b=c HTTP/1.1", "Host: example.com", "content-length:\t42 ", "X-Odd!: \"a\", \xc3\xa9"))
	if err != nil {
		t.Fatal(err)
	}
	if q.Method != "POST" || q.Target != "http://example.com/a?b=c" || q.Minor != 1 || q.Host != "example.com" ||
		q.ContentLength != 42 || q.Chunked || len(q.Fields) != 3 || q.Get("x-odd!") != "\"a\", \xc3\xa9" {
		t.Errorf("%+v", q)
	}
	if !q.KeepAlive() || !q.HasBody() {
		t.Error("keep-alive or body missed")
	}
}

// refused are heads that some parser reads otherwise than another: what smuggling is made of.
var refused = []struct{ why, head, sentence string }{
	{"CL.TE", request("POST / HTTP/1.1", "Host: a", "Content-Length: 6", "Transfer-Encoding: chunked"), "both Content-Length and Transfer-Encoding"},
	{"TE.CL", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"), "both Content-Length and Transfer-Encoding"},
	{"bare LF in the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "ends in LF alone"},
	{"bare LF in a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "ends in LF alone"},
	{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", "ends in LF alone"},
	{"bare CR", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "carriage return"},
	{"CR before CRLF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", "carriage return"},
	{"obs-fold", request("GET / HTTP/1.1", "Host: a", "X: b", " c"), "folded"},
	{"obs-fold with a tab", request("GET / HTTP/1.1", "Host: a", "X: b", "\tTransfer-Encoding: chunked"), "folded"},
	{"first line folded", request("GET / HTTP/1.1", " Host: a"), "folded"},
	{"two lengths", request("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 5"), "more than one Content-Length"},
	{"two equal lengths", request("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 3"), "more than one Content-Length"},
	{"a list of lengths", request("POST / HTTP/1.1", "Host: a", "Content-Length: 3, 3"), "plain decimal"},
	{"signed length", request("POST / HTTP/1.1", "Host: a", "Content-Length: +3"), "plain decimal"},
	{"negative length", request("POST / HTTP/1.1", "Host: a", "Content-Length: -1"), "plain decimal"},
	{"hexadecimal length", request("POST / HTTP/1.1", "Host: a", "Content-Length: 0x3"), "plain decimal"},
	{"empty length", request("POST / HTTP/1.1", "Host: a", "Content-Length: "), "plain decimal"},
	{"overlong length", request("POST / HTTP/1.1", "Host: a", "Content-Length: 99999999999999999999"), "plain decimal"},
	{"blank before the colon", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding : chunked"), "blank stands between"},
	{"vertical tab before chunked", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \x0bchunked"), "0x0b"},
	{"vertical tab in the name", request("POST / HTTP/1.1", "Host: a", "\x0bTransfer-Encoding: chunked"), "not a token"},
	{"identity", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"), "not exactly chunked"},
	{"gzip, chunked", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), "not exactly chunked"},
	{"xchunked", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"), "not exactly chunked"},
	{"quoted chunked", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: \"chunked\""), "not exactly chunked"},
	{"two encodings", request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "more than one Transfer-Encoding"},
	{"chunked in HTTP/1.0", request("GET / HTTP/1.0", "Transfer-Encoding: chunked"), "HTTP/1.0 has no Transfer-Encoding"},
	{"POST in HTTP/1.0", request("POST / HTTP/1.0", "Content-Length: 1"), "HTTP/1.0 is accepted"},
	{"two hosts", request("GET / HTTP/1.1", "Host: a", "Host: b"), "more than one Host"},
	{"no host", request("GET / HTTP/1.1", "X: a"), "no Host"},
	{"NUL in a value", request("GET / HTTP/1.1", "Host: a", "X: a\x00b"), "0x00"},
	{"DEL in a value", request("GET / HTTP/1.1", "Host: a", "X: a\x7f"), "0x7f"},
	{"no colon", request("GET / HTTP/1.1", "Host: a", "garbage"), "no colon"},
	{"no name", request("GET / HTTP/1.1", "Host: a", ": b"), "no name"},
	{"name with a blank", request("GET / HTTP/1.1", "Host: a", "X Y: b"), "not a token"},
	{"name beyond ASCII", request("GET / HTTP/1.1", "Host: a", "X\xe9: b"), "not a token"},
	{"two blanks", request("GET  / HTTP/1.1", "Host: a"), "single spaces"},
	{"tab in the request line", request("GET\t/ HTTP/1.1", "Host: a"), "request line"},
	{"blank after the version", request("GET / HTTP/1.1 ", "Host: a"), "single spaces"},
	{"blank before the method", request(" GET / HTTP/1.1", "Host: a"), "single spaces"},
	{"control character in the target", request("GET /\x01 HTTP/1.1", "Host: a"), "0x01"},
	{"target beyond ASCII", request("GET /\xff HTTP/1.1", "Host: a"), "0xff"},
	{"HTTP/0.9", request("GET /"), "single spaces"},
	{"HTTP/1.2", request("GET / HTTP/1.2", "Host: a"), "neither HTTP/1.1 nor HTTP/1.0"},
	{"lower case version", request("GET / http/1.1", "Host: a"), "neither"},
	{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"},
	{"too many fields", request(append([]string{"GET / HTTP/1.1", "Host: a"}, strings.Split(strings.Repeat("X: y;", MaxFields)[:MaxFields*5-1], ";")...)...), "more than 100"},
	{"the PROXY protocol", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "single spaces"},
}

func TestWhatCouldBeReadInTwoWaysIsRefusedWithAReason(t *testing.T) {
	for _, c := range refused {
		_, err := Parse(c.head)
		_, read := NewReader(strings.NewReader(c.head), nil).Next()
		for _, err := range []error{err, read} {
			if !IsMalformed(err) || !strings.Contains(err.Error(), c.sentence) {
				t.Errorf("%s: %v", c.why, err)
			}
		}
	}
}

func TestEndlessHeadsEndAtTheLimit(t *testing.T) {
	for why, c := range map[string]struct{ head, sentence string }{
		"line":   {"GET /" + strings.Repeat("a", 1<<20), "request line is longer"},
		"field":  {"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 1<<20), "head is longer"},
		"fields": {"GET / HTTP/1.1\r\n" + strings.Repeat("X: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 1<<15), "head is longer"},
	} {
		src := strings.NewReader(c.head)
		_, err := NewReader(src, nil).Next()
		if !IsMalformed(err) || !strings.Contains(err.Error(), c.sentence) {
			t.Errorf("%s: %v", why, err)
		}
		if read := len(c.head) - src.Len(); read > MaxHead {
			t.Errorf("%s: %d octets were read", why, read)
		}
	}
}

func TestTheLargestHeadIsAccepted(t *testing.T) {
	head := request("GET /"+strings.Repeat("a", MaxLine-len("GET / HTTP/1.1\r\n"))+" HTTP/1.1", "Host: a",
		"X: "+strings.Repeat("b", MaxHead-MaxLine-len("Host: a\r\nX: \r\n\r\n")))
	if len(head) != MaxHead {
		t.Fatal(len(head))
	}
	r := NewReader(iotest.OneByteReader(strings.NewReader(head+"rest")), nil)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("%q follows", rest)
	}
}

func TestPipelinedRequestsComeOneByOne(t *testing.T) {
	stream := request("POST /1 HTTP/1.1", "Host: a", "Content-Length: 3") + "abc" +
		request("POST /2 HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "2;x=y\r\nde\r\n1\r\nf\r\n0\r\nX-Sum: 7\r\n\r\n" +
		"\r\n" + request("GET /3 HTTP/1.1", "Host: a")
	for _, src := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
		r := NewReader(src, nil)
		for i, want := range []string{"abc", "def", ""} {
			q, err := r.Next()
			if err != nil {
				t.Fatal(i, err)
			}
			b := r.Body(q)
			got, err := io.ReadAll(b)
			if string(got) != want || err != nil || !b.Ended() || q.Target != fmt.Sprintf("/%d", i+1) {
				t.Errorf("%d: %q %v", i, got, err)
			}
			if i == 1 && (len(b.Trailers) != 1 || b.Trailers[0] != Field{"X-Sum", "7"}) {
				t.Errorf("trailers %v", b.Trailers)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Error(err)
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for body, sentence := range map[string]string{
		"3\nabc\r\n0\r\n\r\n":            "LF alone",
		"3\r\nabcX\r\n0\r\n\r\n":         "longer than its size",
		"3\r\nabc\n0\r\n\r\n":            "LF alone",
		"0x3\r\nabc\r\n0\r\n\r\n":        "hexadecimal",
		" 3\r\nabc\r\n0\r\n\r\n":         "hexadecimal",
		"3 \r\nabc\r\n0\r\n\r\n":         "hexadecimal",
		"+3\r\nabc\r\n0\r\n\r\n":         "hexadecimal",
		"\r\nabc\r\n0\r\n\r\n":           "no size",
		";x\r\nabc\r\n0\r\n\r\n":         "hexadecimal",
		"ffffffffffffffff\r\nabc":        "15 digits",
		"3;a\x00\r\nabc\r\n0\r\n\r\n":    "0x00",
		"3;a\rb\r\nabc\r\n0\r\n\r\n":     "carriage return",
		"3;" + strings.Repeat("a", 1000): "too long",
		"0\r\nX : y\r\n\r\n":             "blank stands between",
		"0\r\n" + strings.Repeat("X: yyyyyyyyyyyyyyyyyyyyyy\r\n", 1000): "too long",
	} {
		r := NewReader(strings.NewReader(request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+body), nil)
		q, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		b := r.Body(q)
		if _, err = io.ReadAll(b); !IsMalformed(err) || !strings.Contains(err.Error(), sentence) {
			t.Errorf("%.40q: %v", body, err)
		}
		if b.Ended() {
			t.Errorf("%.40q: the body counts as read", body)
		}
	}
}

func TestABodyThatEndsEarlyIsNotWhole(t *testing.T) {
	for _, stream := range []string{
		request("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + "abc",
		request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "5\r\nabc",
		request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n",
		request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n",
	} {
		r := NewReader(strings.NewReader(stream), nil)
		q, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r.Body(q)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", stream, err)
		}
	}
}

func TestWhatWasReadAheadIsKept(t *testing.T) {
	r := NewReader(strings.NewReader("late"), []byte(request("CONNECT a:1 HTTP/1.1", "Host: a")+"early"))
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if got := r.Ahead(); string(got) != "early" || !r.HasAhead() {
		t.Errorf("%q", got)
	}
	r.Release()
	if r.HasAhead() {
		t.Error("released, and still there")
	}
}

// FuzzParse holds what is accepted against net/http: it must see the same request.
func FuzzParse(f *testing.F) {
	for _, c := range refused {
		f.Add([]byte(c.head))
	}
	f.Add([]byte(request("GET http://example.com/ HTTP/1.1", "Host: example.com")))
	f.Add([]byte(request("POST http://a/ HTTP/1.1", "Host: b", "Transfer-Encoding: chunked", "Trailer: x") + "3;a=b\r\nabc\r\n0\r\nx: y\r\n\r\n"))
	f.Add([]byte(request("CONNECT [::1]:443 HTTP/1.0") + "\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b), nil)
		defer r.Release()
		q, err := r.Next()
		if err != nil {
			return
		}
		body, bodyErr := io.ReadAll(r.Body(q))
		peer, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(b), MaxHead))
		if err != nil {
			// net/http also reads the target and the host, which is the door's work here.
			return
		}
		if peer.Method != q.Method || peer.RequestURI != q.Target || peer.ProtoMinor != q.Minor || peer.ContentLength != q.ContentLength {
			t.Fatalf("net/http sees %s %s %d, not %s %s %d", peer.Method, peer.RequestURI, peer.ContentLength, q.Method, q.Target, q.ContentLength)
		}
		if bodyErr == nil {
			other, err := io.ReadAll(peer.Body)
			if err == nil && !bytes.Equal(body, other) {
				t.Fatalf("net/http sees the body %q, not %q", other, body)
			}
		}
	})
}
