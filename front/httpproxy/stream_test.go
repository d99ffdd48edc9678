package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"
)

func TestEventsOfAStreamArriveBeforeItsEnd(t *testing.T) {
	next := make(chan string)
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for e := range next {
			io.WriteString(w, e)
			w.(http.Flusher).Flush()
		}
	})
	resp, err := serve(t, nil).client(t).Get("http://sse.example:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 { // the next event is sent only after this one was read
		next <- fmt.Sprintf("data: %d\n", i)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("data: %d\n", i) || err != nil {
			t.Fatal(line, err)
		}
	}
	close(next)
	if rest, err := io.ReadAll(r); len(rest) > 0 || err != nil {
		t.Error(rest, err)
	}
}

func TestAnUploadStreamsWhileTheResponseDoes(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "got %s\n", lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	p := serve(t, nil)
	up, feed := io.Pipe()
	resp, err := p.client(t).Post("http://duplex.example:"+port+"/", "text/plain", up)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		fmt.Fprintf(feed, "%d\n", i)
		if line, err := r.ReadString('\n'); line != fmt.Sprintf("got %d\n", i) || err != nil {
			t.Fatal(line, err)
		}
	}
	feed.Close()
	if _, err := io.ReadAll(r); err != nil {
		t.Error(err)
	}
}

func TestLargeBodiesArriveUnchangedBothWays(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
	client := serve(t, nil).client(t)
	for _, body := range []io.Reader{bytes.NewReader(sent), io.MultiReader(bytes.NewReader(sent))} { // with its length, and chunked
		resp, err := client.Post("http://a.example:"+port+"/", "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if !bytes.Equal(got, sent) || err != nil {
			t.Errorf("%d octets of %d, %v", len(got), len(sent), err)
		}
	}
}

func TestTrailersAreForwardedBothWays(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", r.Trailer.Get("X-Up")+r.Trailer.Get("X-Unannounced")+r.Trailer.Get("Authorization"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Transfer-Encoding: chunked", "Trailer: X-Up, Authorization",
		"", "1", "x", "0", "X-Up: up", "Authorization: no", "X-Unannounced: -and-more")
	resp, body := c.response("POST")
	if body != "body" || resp.Trailer.Get("X-Sum") != "up-and-more" || resp.Trailer.Get("X-Late") != "late" {
		t.Errorf("%q %v", body, resp.Trailer)
	}
	c.send("GET http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port)
	if resp, _ := c.response("GET"); resp.StatusCode != 200 {
		t.Error("the connection is out of step")
	}
}

func TestABodyIsAskedForWhenTheOriginWantsIt(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // net/http says 100 here
		fmt.Fprintf(w, "%s", b)
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 4", "Expect: 100-continue")
	if line, err := c.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
		t.Fatal(line, err)
	}
	c.ReadString('\n')
	io.WriteString(c.TCPConn, "body")
	if resp, body := c.response("POST"); body != "body" || resp.Close {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestABodyIsNotAskedForWhenTheOriginRefusesFirst(t *testing.T) {
	for _, status := range []int{417, 401} {
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		c := serve(t, nil).raw(t)
		c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 4", "Expect: 100-continue")
		if resp, _ := c.response("POST"); resp.StatusCode != status || !resp.Close {
			t.Errorf("%s, close %v", resp.Status, resp.Close)
		}
		c.CloseWrite()
		c.ended()
	}
}

func TestAnEarlyResponseReachesAClientThatStillSends(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(413)
		io.WriteString(w, "too large")
	})
	c := serve(t, nil).raw(t)
	c.send("POST http://a.example:"+port+"/ HTTP/1.1", "Host: a.example:"+port, "Content-Length: 1000000000000")
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for b := make([]byte, 64<<10); ; {
			if _, err := c.TCPConn.Write(b); err != nil {
				return
			}
		}
	}()
	if resp, body := c.response("POST"); resp.StatusCode != 413 || body != "too large" || !resp.Close {
		t.Errorf("%s %q", resp.Status, body)
	}
	c.Close()
	<-stop
}

func TestInterimResponsesAreForwarded(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		w.WriteHeader(200)
	})
	early := make(chan string, 1)
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		early <- fmt.Sprint(code, h.Get("Link"))
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://a.example:"+port+"/", nil)
	resp, err := serve(t, nil).client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := <-early; got != "103</a.css>" {
		t.Error(got)
	}
}

func TestResponsesWithoutABodyLeaveTheConnectionInStep(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "12345")
		}
	})
	c := serve(t, nil).raw(t)
	for _, r := range []struct {
		method, path, length string
		status               int
	}{
		{"GET", "/204", "", 204}, {"GET", "/304", "", 304}, {"HEAD", "/", "5", 200}, {"GET", "/", "5", 200},
	} {
		c.send(r.method+" http://a.example:"+port+r.path+" HTTP/1.1", "Host: a.example:"+port)
		resp, _ := c.response(r.method)
		if resp.StatusCode != r.status || resp.Header.Get("Content-Length") != r.length || len(resp.TransferEncoding) > 0 {
			t.Errorf("%s %s: %s %v", r.method, r.path, resp.Status, resp.Header)
		}
	}
}

func TestAClientOfHTTP10GetsABodyThatEndsWithTheConnection(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "one ")
		w.(http.Flusher).Flush()
		io.WriteString(w, "two")
	})
	c := serve(t, nil).raw(t)
	c.send("GET http://a.example:" + port + "/ HTTP/1.0")
	got, err := io.ReadAll(c)
	if !bytes.HasSuffix(got, []byte("\r\n\r\none two")) || bytes.Contains(got, []byte("chunked")) || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

func TestAResponseThatBreaksOffIsNotMadeWhole(t *testing.T) {
	for _, head := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			c, rw, _ := w.(http.Hijacker).Hijack()
			rw.WriteString("HTTP/1.1 200 OK\r\n" + head + "\r\n\r\n5\r\nhello\r\n")
			rw.Flush()
			c.Close()
		})
		resp, err := serve(t, nil).client(t).Get("http://a.example:" + port + "/")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the client took it for whole", head)
		}
		resp.Body.Close()
	}
}
