package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"watertight/dnswire"
	"watertight/fault"
	"watertight/upstream"
)

var asked = dnswire.Question{Name: "www.shop.example", Type: dnswire.A}

// answerOf is a reply to asked, under an ID.
func answerOf(f testing.TB, id uint16) []byte {
	f.Helper()
	r, err := dnswire.ParseRecord("www.shop.example. 300 A 192.0.2.1")
	if err != nil {
		f.Fatal(err)
	}
	b, err := (&dnswire.Request{Question: asked, ID: id, EDNS: true, Padding: 0}).Pack(dnswire.Reply{Answer: []dnswire.Record{r}})
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// unreachable is a client of an upstream to which no way leads.
func unreachable(f testing.TB) *Client {
	f.Helper()
	u, err := upstream.Parse("https://192.0.2.1/dns-query")
	if err != nil {
		f.Fatal(err)
	}
	nowhere := func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, net.ErrClosed }
	c, err := New(u, Options{Way: Way{Dial: nowhere}, Now: time.Now, Timeout: time.Second, IdleTimeout: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return c
}

// canned answers every request with one response.
type canned struct{ *http.Response }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) { return c.Response, nil }

// counting counts what is read.
type counting struct {
	io.ReadCloser
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += n
	return n, err
}

// FuzzDoHResponse holds that of whatever a server of DNS over HTTPS says, nothing is taken for an answer but the DNS message of a
// response 200 of the right type, as old as its Age says; that no more is read than a message has; and that the fault for
// anything else is one printable line.
func FuzzDoHResponse(f *testing.F) {
	good := string(answerOf(f, 0))
	for _, head := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nAge: 7",
		"HTTP/1.1 200 OK\r\nContent-Type: APPLICATION/DNS-Message; charset=x\r\nAge: 99999999999",
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-json",
		"HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Type: application/dns-message",
		"HTTP/1.1 418 \x1b[31m\r\nContent-Type: a\xffb",
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: 70000",
		"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nAge: -1",
	} {
		f.Add([]byte(head + "\r\n\r\n" + good))
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nffff"))
	requests, err := newDoHRequests(unreachable(f))
	if err != nil {
		f.Fatal(err)
	}
	read := func(b []byte) (*http.Response, error) {
		return http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), &http.Request{Method: http.MethodPost})
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		resp, err := read(b)
		if err != nil {
			return
		}
		counted := &counting{ReadCloser: resp.Body}
		resp.Body = counted
		a, fail := requests.ask(t.Context(), canned{resp}, asked)
		if (a == nil) == (fail == nil) || counted.n > dnswire.MaxMessage+1 {
			t.Fatalf("%q: %v, %v, and %d octets of its body were read", b, a, fail, counted.n)
		}
		if fail != nil {
			oneLine(t, fail)
			return
		}
		again, err := read(b)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(again.Body)
		media, _, _ := mime.ParseMediaType(again.Header.Get("Content-Type"))
		want, parseErr := dnswire.ParseAnswer(body, asked, 0)
		if err != nil || parseErr != nil || again.StatusCode != http.StatusOK || media != mediaType {
			t.Fatalf("%q is taken for an answer: %v, %v", b, err, parseErr)
		}
		if old := want.TTL - age(again.Header); a.TTL != max(0, old) || a.TTL < 0 {
			t.Errorf("%q: kept for %v, want %v", b, a.TTL, old)
		}
	})
}

func oneLine(t *testing.T, fail *Failure) {
	t.Helper()
	switch fail.Fault.Code {
	case fault.ResolverUnreachable, fault.DNSServFail:
	default:
		t.Errorf("the code %s", fail.Fault.Code)
	}
	if strings.ContainsFunc(fail.Fault.Message, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%q is not one printable line", fail.Fault.Message)
	}
}

// FuzzStream holds that of a stream (DNS over QUIC, TLS and TCP) messages are taken of the very length that stands before each;
// that one which ends too early is an error; and that of those on a connection that is shared only one under an ID that was
// asked gets to whoever asked, once.
func FuzzStream(f *testing.F) {
	framed := func(msgs ...[]byte) (b []byte) {
		for _, m := range msgs {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(m))), m...)
		}
		return b
	}
	f.Add(framed(answerOf(f, 0)))
	f.Add(framed(answerOf(f, 1), answerOf(f, 2)))
	f.Add(framed(answerOf(f, 2), answerOf(f, 2)))
	f.Add(framed(nil, []byte{0}))
	f.Add(append(framed(answerOf(f, 3)), 0xff, 0xff, 1))
	c := unreachable(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		l := &dotLink{c: c, ended: make(chan struct{}), waiting: map[uint16]*dotWait{}}
		replies := map[uint16]chan dotReply{}
		for _, id := range []uint16{0, 1, 2} {
			reply := make(chan dotReply, 1)
			replies[id] = reply
			l.waiting[id] = &dotWait{then: func(r dotReply) { reply <- r }}
		}
		l.waiting[3], l.abandoned = nil, 1 // nobody waits for it any more
		r, rest := iotest.OneByteReader(bytes.NewReader(stream)), stream
		taken := map[uint16]int{}
		for {
			msg, err := readMessage(r)
			if err != nil {
				if whole := len(rest) >= 2 && len(rest)-2 >= int(binary.BigEndian.Uint16(rest)); whole || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%x: %v", rest, err)
				}
				break
			}
			n := int(binary.BigEndian.Uint16(rest))
			if !bytes.Equal(msg, rest[2:2+n]) {
				t.Fatalf("%x was read of %x", msg, rest)
			}
			rest = rest[2+n:]
			delivered := l.deliver(msg)
			id := uint16(4)
			if len(msg) >= 2 {
				id = binary.BigEndian.Uint16(msg)
			}
			if taken[id]++; delivered != (id <= 3 && taken[id] == 1) {
				t.Fatalf("%x, the %d. under its ID: %v", msg, taken[id], delivered)
			}
			if delivered && id < 3 {
				a, err := dnswire.ParseAnswer((<-replies[id]).msg, asked, id)
				if err == nil && a.Question != asked {
					t.Fatalf("%+v", a)
				}
			}
		}
	})
}
