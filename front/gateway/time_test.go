package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/fault"
)

// inTime runs a test in a bubble for each pair of versions of HTTP.
func inTime(t *testing.T, test func(t *testing.T, client bool, origin string)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, k.client, k.origin) })
		})
	}
}

func TestASilentStreamIsNotEnded(t *testing.T) {
	inTime(t, func(t *testing.T, client bool, origin string) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour) // it thinks
			for i := range 3 {
				fmt.Fprintf(rw, "%d\n", i)
				http.NewResponseController(rw).Flush()
				time.Sleep(time.Hour)
			}
		}, only(origin))
		resp, err := w.client(client).Do(w.request("GET", "/openai/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "0\n1\n2\n" || err != nil {
			t.Errorf("%q %v", b, err)
		}
	})
}

func TestAConversationMayPauseOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(rw)
			rc.Flush()
			lines := bufio.NewReader(r.Body)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				io.WriteString(rw, line)
				rc.Flush()
			}
		})
		body, up := io.Pipe()
		resp, err := w.client(true).Do(w.request("POST", "/openai/", body))
		if err != nil {
			t.Fatal(err)
		}
		down := bufio.NewReader(resp.Body)
		for range 3 {
			time.Sleep(time.Hour)
			fmt.Fprintln(up, "message")
			if got, err := down.ReadString('\n'); got != "message\n" {
				t.Fatalf("%q %v", got, err)
			}
		}
		up.Close()
		if rest, err := io.ReadAll(down); len(rest) > 0 || err != nil {
			t.Errorf("%q %v", rest, err)
		}
	})
}

func TestABodyThatDoesNotComeIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
		_, _, resp := w.raw("POST /openai/ HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nContent-Length: 4\r\n\r\nbo")
		body, _ := io.ReadAll(resp.Body)
		w.refusal(resp, string(body), fault.BadRequest)
		if !strings.Contains(string(body), "nothing came of the request's body for 2m0s") {
			t.Error(string(body))
		}
	})
}

func TestAnAnswerBeforeTheBodyIsWholeIsPassedOn_andTheConnectionOfTheClientGoesOnOrEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1))
			rw.Header().Set("Content-Length", "5")
			io.WriteString(rw, "early")
		}, only("h2"))
		started := time.Now()
		conn, r, resp := w.raw("POST /openai/ HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nContent-Length: 4\r\n\r\nb")
		if body, err := io.ReadAll(resp.Body); string(body) != "early" || err != nil || time.Since(started) != 0 {
			t.Errorf("%q %v after %v", body, err, time.Since(started))
		}
		if _, err := r.ReadByte(); err != io.EOF { // the rest of the body never came, so that no request can follow
			t.Errorf("the connection goes on: %v", err)
		}
		if d := time.Since(started); d > 2*lastRead {
			t.Errorf("it ended after %v", d)
		}
		conn.Close()
	})
}

func TestARequestMayFollowOnTheClientsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			time.Sleep(10 * time.Second) // longer than what is left of the body's time
			rw.Write(b)
		})
		conn := w.dial()
		r := bufio.NewReader(conn)
		for range 3 {
			go io.WriteString(conn, "POST /openai/ HTTP/1.1\r\nHost: 127.0.0.1:8088\r\nContent-Length: 4\r\n\r\nbody")
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(resp.Body); string(b) != "body" || resp.StatusCode != 200 {
				t.Errorf("%s %q %v", resp.Status, b, err)
			}
			time.Sleep(time.Minute)
		}
	})
}

func TestAConnectionToAnOriginIsEndedWhenItWasIdleForLong(t *testing.T) {
	for protocol, idle := range map[string]time.Duration{"http/1.1": idle1, "h2": idle2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, only(protocol))
			for range 3 {
				w.get("/openai/")
				time.Sleep(idle - time.Millisecond)
			}
			if n := w.dialled(); n != 1 {
				t.Errorf("%s: %d dials", protocol, n)
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			if n := len(w.table.pools); n != 0 {
				t.Errorf("%s: %d pools are left", protocol, n)
			}
			w.get("/openai/")
			if n := w.dialled(); n != 2 {
				t.Errorf("%s: %d dials", protocol, n)
			}
		})
	}
}

func TestAnOriginThatDoesNotAnswerTheHandshakeIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.server.Close()
		w.at = newPipeListener()
		go func() {
			for {
				if _, err := w.at.Accept(); err != nil {
					return
				}
			}
		}()
		defer w.at.Close()
		resp, body := w.get("/openai/")
		w.refusal(resp, body, fault.ConnectTimeout)
	})
}

func TestAnOriginThatBreaksOffWhileTheBodyIsStillToComeIsTheOneToBlame(t *testing.T) {
	inTime(t, func(t *testing.T, client bool, origin string) {
		w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1))
			if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
				conn.Close() // over HTTP/1.1 net/http would wait for the rest
				return
			}
			panic(http.ErrAbortHandler)
		}, only(origin))
		body, up := io.Pipe()
		defer up.Close()
		go io.WriteString(up, "b")
		resp, text := w.do(w.client(client), w.request("POST", "/openai/", body))
		w.refusal(resp, text, fault.OriginFailed)
	})
}
