package http2

//lint:file-ignore SA1019 its successor in net/http sends no extended CONNECT: it refuses the field :protocol

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const patience = 30 * time.Second

func options(h http.HandlerFunc) Options {
	return Options{
		Handler: h, MaxStreams: 8, StreamBuffer: 64 << 10, MaxHeader: 8 << 10, HeadTimeout: patience, IdleTimeout: patience,
		PingAfter: patience, PingTimeout: patience, StallTimeout: patience,
	}
}

// serve serves one end of a connection, and gives the other.
func serve(t *testing.T, o Options) (net.Conn, *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(server, o)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { c.Serve(context.Background()) })
	t.Cleanup(func() {
		client.Close()
		served.Wait()
	})
	return client, c
}

// ordinary is the library's client over a connection.
func ordinary(t *testing.T, conn net.Conn) *http2.ClientConn {
	t.Helper()
	c, err := (&http2.Transport{
		DisableCompression: true, AllowHTTP: true,
		DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return nil, net.ErrClosed },
	}).NewClientConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ask(t *testing.T, c *http2.ClientConn, r *http.Request) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	resp, err := c.RoundTrip(r.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestARequestAndItsResponseComeThroughWhole(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Scheme", r.URL.Scheme)
		w.Header().Set("X-Asked", r.Method+" "+r.Host+" "+r.RequestURI)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusAccepted)
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Mine"))
	}))
	c := ordinary(t, conn)
	sent := bytes.Repeat([]byte("0123456789"), 100_000)
	r, _ := http.NewRequest("POST", "http://origin.example.com/a%2Fb?c", io.MultiReader(bytes.NewReader(sent)))
	r.Trailer = http.Header{"X-Mine": {"seven"}}
	resp := ask(t, c, r)
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d octets came back, %v", len(got), err)
	}
	if resp.StatusCode != http.StatusAccepted || resp.Header.Get("X-Scheme") != "http" || resp.Header.Get("Connection") != "" ||
		resp.Header.Get("X-Asked") != "POST origin.example.com /a%2Fb?c" || resp.Trailer.Get("X-Sum") != "seven" {
		t.Errorf("%s %v, trailer %v", resp.Status, resp.Header, resp.Trailer)
	}
}

func TestEachDirectionOfAStreamEndsByItself(t *testing.T) {
	// heard is what the handler has read after it ended its own direction.
	heard := make(chan string, 1)
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		s := w.(Streamer).HTTPStream()
		_, _ = s.Write([]byte("all of it"))
		_ = s.CloseWrite()
		got, err := io.ReadAll(s)
		if err != nil {
			t.Error(err)
		}
		heard <- string(got)
	}))
	f := newPeer(t, conn)
	f.head(1, false, "CONNECT", "host.example.com:443")
	f.until(func(got http2.Frame) bool {
		d, ok := got.(*http2.DataFrame)
		return ok && d.StreamEnded()
	})
	f.data(1, "said after ", false)
	f.data(1, "the end", true)
	if got := <-heard; got != "said after the end" {
		t.Errorf("heard %q", got)
	}
}

func TestTheEndOfTheClientLeavesOurDirection(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		s := w.(Streamer).HTTPStream()
		got, err := io.ReadAll(s)
		_, _ = fmt.Fprintf(s, "%s, %v", got, err)
		_ = s.CloseWrite()
	}))
	c := ordinary(t, conn)
	resp := ask(t, c, &http.Request{Method: "CONNECT", URL: &url.URL{Scheme: "http", Host: "a"}, Host: "a.example.com:443", Body: io.NopCloser(strings.NewReader("hello"))})
	if got, err := io.ReadAll(resp.Body); string(got) != "hello, <nil>" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestAnExtendedCONNECTIsToldApart(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked", r.Method+" "+r.Proto+" "+r.RequestURI+" "+r.URL.Scheme)
	}))
	c := ordinary(t, conn)
	u := &url.URL{Scheme: "https", Host: "proxy.example.com", Path: "/.well-known/masque/udp/a/1/"}
	resp := ask(t, c, &http.Request{Method: "CONNECT", URL: u, Host: u.Host, Header: http.Header{":protocol": {"connect-udp"}}})
	if got := resp.Header.Get("X-Asked"); got != "CONNECT connect-udp /.well-known/masque/udp/a/1/ https" {
		t.Errorf("%q", got)
	}
}

func TestAResetEndsTheRequest(t *testing.T) {
	over := make(chan error, 1)
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		_, err := r.Body.Read(make([]byte, 1))
		<-r.Context().Done()
		over <- err
	}))
	f := newPeer(t, conn)
	f.head(1, false, "CONNECT", "host.example.com:443")
	if err := f.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	if err := <-over; !errors.Is(err, ErrReset) {
		t.Errorf("read %v", err)
	}
}

func TestAHandlerThatBreaksOffResetsTheStream(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half of")
		panic(http.ErrAbortHandler)
	}))
	resp := ask(t, ordinary(t, conn), &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: "a", Path: "/"}})
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q looks whole", got)
	}
}

func TestWhoDoesNotReadHoldsNobodyElseUp(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/much" {
			for range 100 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
			return
		}
		_, _ = io.WriteString(w, "small")
	}))
	f := newPeer(t, conn)
	// More room for the connection than for a stream.
	if err := f.WriteWindowUpdate(0, 10<<20); err != nil {
		t.Fatal(err)
	}
	f.get(1, "/much")
	f.get(3, "/small")
	f.until(func(got http2.Frame) bool {
		d, ok := got.(*http2.DataFrame)
		return ok && d.StreamID == 3 && string(d.Data()) == "small"
	})
}

func TestMoreThanAStreamHoldsIsRefused(t *testing.T) {
	hold := make(chan struct{})
	o := options(func(w http.ResponseWriter, r *http.Request) { <-hold })
	conn, _ := serve(t, o)
	defer close(hold)
	f := newPeer(t, conn)
	f.head(1, false, "CONNECT", "host.example.com:443")
	for range o.StreamBuffer/frameSize + 1 {
		f.data(1, strings.Repeat("x", frameSize), false)
	}
	f.wantReset(1, http2.ErrCodeFlowControl)
}

func TestMoreStreamsThanThereMayBeAreRefused(t *testing.T) {
	hold := make(chan struct{})
	o := options(func(w http.ResponseWriter, r *http.Request) { <-hold })
	conn, _ := serve(t, o)
	defer close(hold)
	f := newPeer(t, conn)
	id := uint32(1)
	for range o.MaxStreams {
		f.head(id, false, "CONNECT", "host.example.com:443")
		id += 2
	}
	f.head(id, false, "CONNECT", "host.example.com:443")
	f.wantReset(id, http2.ErrCodeRefusedStream)
}

func TestStreamsThatAreResetAtOnceDoNotPileUp(t *testing.T) {
	hold := make(chan struct{})
	o := options(func(w http.ResponseWriter, r *http.Request) { <-hold })
	conn, c := serve(t, o)
	defer close(hold)
	f := newPeer(t, conn)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for id := uint32(1); ; id += 2 {
			if f.tryHead(id, false, "CONNECT", "host.example.com:443") != nil || f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				return
			}
		}
	}()
	f.until(func(got http2.Frame) bool {
		g, ok := got.(*http2.GoAwayFrame)
		if ok && g.ErrCode != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("said %v", g.ErrCode)
		}
		return ok
	})
	c.mu.Lock()
	serving := c.serving
	c.mu.Unlock()
	if serving > 2*int(o.MaxStreams) {
		t.Errorf("%d handlers", serving)
	}
	conn.Close()
	<-done
}

func TestWhatIsMalformedIsReset(t *testing.T) {
	conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) { t.Errorf("served %+v", r) }))
	f := newPeer(t, conn)
	id := uint32(1)
	for _, fields := range [][]string{
		{":method", "CONNECT", ":authority", "a:1", ":path", "/"},
		{":method", "CONNECT", ":scheme", "https", ":authority", "a:1", ":protocol", "connect-udp"},
		{":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "http://b/"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "host", "b"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "connection", "close"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "transfer-encoding", "chunked"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "content-length", "-1"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", ":protocol", "connect-udp"},
		{":method", "G T", ":scheme", "http", ":authority", "a", ":path", "/"},
		{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/", "content-length", "7"}, // and then nothing
	} {
		f.fields(id, true, fields...)
		f.wantReset(id, http2.ErrCodeProtocol)
		id += 2
	}
}

func TestABodyIsAsLongAsItSays(t *testing.T) {
	read := make(chan error, 2)
	for _, sent := range []string{"short", "this is too long"} {
		conn, _ := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			read <- err
		}))
		f, id := newPeer(t, conn), uint32(1)
		f.fields(id, false, ":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/", "content-length", "7")
		f.data(id, sent, true)
		f.wantReset(id, http2.ErrCodeProtocol)
		if err := <-read; !errors.Is(err, ErrReset) {
			t.Errorf("%q was read as whole: %v", sent, err)
		}
	}
}

func TestADrainedConnectionEndsWithItsLastRequest(t *testing.T) {
	began, hold := make(chan struct{}), make(chan struct{})
	conn, c := serve(t, options(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		<-hold
		_, _ = io.WriteString(w, "done")
	}))
	f := newPeer(t, conn)
	f.get(1, "/")
	<-began
	c.Drain()
	f.until(func(got http2.Frame) bool {
		g, ok := got.(*http2.GoAwayFrame)
		if p, isPing := got.(*http2.PingFrame); isPing && !p.IsAck() {
			_ = f.WritePing(true, p.Data)
		}
		return ok && g.LastStreamID == 1
	})
	close(hold)
	f.until(func(got http2.Frame) bool { d, ok := got.(*http2.DataFrame); return ok && string(d.Data()) == "done" })
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
}

func TestASilentClientIsAskedAndThenLeft(t *testing.T) {
	o := options(func(w http.ResponseWriter, r *http.Request) {})
	o.PingAfter, o.PingTimeout = 50*time.Millisecond, 50*time.Millisecond
	conn, _ := serve(t, o)
	f := newPeer(t, conn)
	f.until(func(got http2.Frame) bool { p, ok := got.(*http2.PingFrame); return ok && !p.IsAck() })
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Error(err)
	}
}

// peer is a client that says what it is told to.
type peer struct {
	*http2.Framer
	t     *testing.T
	block bytes.Buffer
	enc   *hpack.Encoder
}

func newPeer(t *testing.T, conn net.Conn) *peer {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	p := &peer{Framer: http2.NewFramer(conn, conn), t: t}
	p.enc = hpack.NewEncoder(&p.block)
	if err := p.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *peer) tryFields(id uint32, end bool, fields ...string) error {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			return err
		}
	}
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndStream: end, EndHeaders: true})
}

func (p *peer) fields(id uint32, end bool, fields ...string) {
	p.t.Helper()
	if err := p.tryFields(id, end, fields...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) tryHead(id uint32, end bool, method, authority string) error {
	return p.tryFields(id, end, ":method", method, ":authority", authority)
}

func (p *peer) head(id uint32, end bool, method, authority string) {
	p.t.Helper()
	p.fields(id, end, ":method", method, ":authority", authority)
}

func (p *peer) get(id uint32, path string) {
	p.t.Helper()
	p.fields(id, true, ":method", "GET", ":scheme", "http", ":authority", "origin.example.com", ":path", path)
}

func (p *peer) data(id uint32, s string, end bool) {
	p.t.Helper()
	if err := p.WriteData(id, end, []byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

// until reads frames until one is as wanted.
func (p *peer) until(wanted func(http2.Frame) bool) {
	p.t.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.t.Fatal(err)
		}
		if wanted(f) {
			return
		}
	}
}

func (p *peer) wantReset(id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.until(func(f http2.Frame) bool {
		r, ok := f.(*http2.RSTStreamFrame)
		if ok && r.StreamID == id && r.ErrCode != code {
			p.t.Errorf("stream %d was reset with %v", id, r.ErrCode)
		}
		return ok && r.StreamID == id
	})
}

func FuzzServe(f *testing.F) {
	var begin bytes.Buffer
	framer := http2.NewFramer(&begin, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range []string{":method GET", ":scheme http", ":authority a", ":path /"} {
		n, v, _ := strings.Cut(field, " ")
		_ = enc.WriteField(hpack.HeaderField{Name: n, Value: v})
	}
	f.Add(begin.Bytes())
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, false, []byte("some"))
	_ = framer.WriteWindowUpdate(1, 1000)
	f.Add(begin.Bytes())
	_ = framer.WriteDataPadded(1, true, []byte("more"), make([]byte, 9))
	_ = framer.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = framer.WritePing(false, [8]byte{})
	f.Add(begin.Bytes())
	f.Fuzz(func(t *testing.T, sent []byte) {
		client, server := net.Pipe()
		c, err := New(server, options(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(w, r.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Serve(t.Context())
		}()
		go io.Copy(io.Discard, client) // it ends with the connection
		_, _ = io.WriteString(client, http2.ClientPreface)
		_, _ = client.Write(sent)
		client.Close()
		<-done
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.streams) > 0 || c.serving > 0 {
			t.Errorf("%d streams and %d handlers are left", len(c.streams), c.serving)
		}
	})
}
