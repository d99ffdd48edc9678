package httpproxy

import (
	"io"
	"net/http"
	"testing"
)

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
