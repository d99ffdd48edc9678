//go:build unix

package httphead

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestWhoeverWaitsForAnotherRequestHoldsNoBuffer(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := NewReader(conn, []byte(request("GET /1 HTTP/1.1", "Host: a")))
	defer r.Release()
	for _, path := range []string{"/1", "/2", "/3"} {
		if q, err := r.Next(); err != nil || q.Target != path {
			t.Fatal(q, err)
		}
		conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if err := r.Peek(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if r.buf != nil || r.small != nil || r.large != nil {
			t.Error("a buffer is held while nothing comes")
		}
		conn.SetReadDeadline(time.Time{})
		if path == "/3" {
			break
		}
		io.WriteString(client, request("GET /"+string(path[1]+1)+" HTTP/1.1", "Host: a"))
		if err := r.Peek(); err != nil || !r.HasAhead() {
			t.Fatal(err)
		}
	}
	client.Close()
	if err := r.Peek(); err != io.EOF {
		t.Error(err)
	}
}
