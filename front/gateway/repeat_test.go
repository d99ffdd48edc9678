package gateway

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"watertight/fault"
)

// A connection over which a request was answered ends at the next one before anything is said: as where the origin closes an
// idle connection in the moment in which it is used again.
func TestARequestIsSentAgainOnlyWhereThatCannotDoItTwice(t *testing.T) {
	for _, c := range []struct {
		name, head, body string
		repeated         bool
	}{
		{"GET", "GET /openai/second HTTP/1.1", "", true},
		{"DELETE", "DELETE /openai/second HTTP/1.1", "", true},
		{"a POST without a body", "POST /openai/second HTTP/1.1", "", false},
		{"a POST with a key", "POST /openai/second HTTP/1.1\r\nIdempotency-Key: 7", "", true},
		{"a POST with a key and a body", "POST /openai/second HTTP/1.1\r\nIdempotency-Key: 7", "body", false},
		{"a PUT with a body", "PUT /openai/second HTTP/1.1", "body", false},
		{"PATCH", "PATCH /openai/second HTTP/1.1", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var seconds atomic.Int64
			w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/second" {
					return
				}
				if n := seconds.Add(1); n == 1 {
					conn, _, err := http.NewResponseController(rw).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					conn.Close()
				}
			}, only("http/1.1"))
			if resp, _ := w.get("/openai/first"); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			text := c.head + "\r\nHost: 127.0.0.1:8088\r\nConnection: close\r\n"
			if c.body != "" {
				text += "Content-Length: 4\r\n"
			}
			_, _, resp := w.raw(text + "\r\n" + c.body)
			body, _ := io.ReadAll(resp.Body)
			want := int64(1)
			if c.repeated {
				want = 2
			}
			if n := seconds.Load(); n != want || c.repeated != (resp.StatusCode == 200) {
				t.Errorf("it was sent %d times, and the client got %s", n, resp.Status)
			}
			if !c.repeated {
				w.refusal(resp, string(body), fault.OriginFailed)
			}
		})
	}
}

func TestANewConnectionThatBreaksOffIsNotTriedAgain(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(rw).Hijack()
		conn.Close()
	}, only("http/1.1"))
	resp, body := w.get("/openai/")
	w.refusal(resp, body, fault.OriginFailed)
	if n := w.dialled(); n != 1 {
		t.Errorf("%d dials", n)
	}
}

func TestAResponseThatIsNotHTTPIsRefused(t *testing.T) {
	for _, answer := range []string{"hello\r\n\r\n", "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX Y: 1\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10)} {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			conn, b, err := http.NewResponseController(rw).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			go discardAll(b)
			io.WriteString(conn, answer)
		}, only("http/1.1"))
		resp, body := w.get("/openai/")
		w.refusal(resp, body, fault.OriginFailed)
	}
}

func discardAll(b *bufio.ReadWriter) { _, _ = io.Copy(io.Discard, b) }
