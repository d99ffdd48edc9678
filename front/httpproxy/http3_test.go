package httpproxy

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"watertight/client"
	"watertight/gate"
)

// http3 serves HTTP/3 and gives a client's connection. end ends the serving.
func (p *proxy) http3(t *testing.T, drain time.Duration, take func() (func(), bool)) (dial func() (*http3.ClientConn, *quic.Conn), end func()) {
	t.Helper()
	return p.http3Config(t, drain, take, &quic.Config{}, &http3.Transport{Dial: noDial})
}

// http3Config is http3 for a client of its own kind.
func (p *proxy) http3Config(t *testing.T, drain time.Duration, take func() (func(), bool), qc *quic.Config, over *http3.Transport) (dial func() (*http3.ClientConn, *quic.Conn), end func()) {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	config := gate.ServerTLS(selfSigned(t), nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- p.ServeHTTP3(ctx, socket, HTTP3{
			TLS: func() *tls.Config { return config }, Rules: p.inForce, Keeper: p.keeper, Take: take,
			Crowded: func() bool { return true }, Drain: func() time.Duration { return drain },
		})
	}()
	end = func() {
		cancel()
		select {
		case err := <-done:
			done <- err
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the serving does not end")
		}
	}
	t.Cleanup(end)
	own, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: own}
	t.Cleanup(func() { tr.Close(); own.Close() })
	return func() (*http3.ClientConn, *quic.Conn) {
		t.Helper()
		patient, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := tr.Dial(patient, socket.LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, qc)
		if err != nil {
			t.Fatal(err)
		}
		return over.NewClientConn(conn), conn
	}, end
}

// noDial is of a transport that is given its connection.
func noDial(context.Context, string, *tls.Config, *quic.Config) (*quic.Conn, error) {
	return nil, net.ErrClosed
}

func anyNumber() (func(), bool) { return func() {}, true }

// connect3 asks for a tunnel.
func connect3(t *testing.T, c *http3.ClientConn, target, user string) (*http3.RequestStream, *http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s, err := c.OpenRequestStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	_ = s.SetDeadline(time.Now().Add(patience))
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Host: target}, Host: target, Header: http.Header{}}
	if user != "" {
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	if err := s.SendRequestHeader(req); err != nil {
		return nil, nil, err
	}
	resp, err := s.ReadResponse()
	return s, resp, err
}

func carries3(t *testing.T, s *http3.RequestStream, text string) {
	t.Helper()
	go io.WriteString(s, text)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s, got); err != nil || string(got) != text {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTunnelsOfHTTP3EndInEachDirectionByItself(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // says all it has to say, and then listens to the end
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "farewell")
		c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		if string(b) != "said after" {
			t.Errorf("the far side heard %q", b)
		}
		c.Close()
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := serve(t, nil)
	dial, _ := p.http3(t, patience, anyNumber)
	c, _ := dial()
	s, resp, err := connect3(t, c, "example.com:"+port, "alice-session-1:x")
	if err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 3 {
		t.Fatal(resp, err)
	}
	if b, err := io.ReadAll(s); string(b) != "farewell" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	io.WriteString(s, "said after")
	s.Close()
	if e := <-p.sink.tunnels; e.Up != 10 || e.Down != 8 {
		t.Errorf("%+v", e)
	}
	if r := p.dialer.requests(); len(r) != 1 || r[0].Identity != (client.Identity{User: "alice", Session: "1"}) || !r[0].Client.Addr().IsLoopback() {
		t.Errorf("asked %+v", r)
	}
}

func TestOverHTTP3NobodyIsLetInWithoutProof(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	guarded(t, p, "alice", "s3cret")
	dial, _ := p.http3(t, patience, anyNumber)
	c, conn := dial()
	for _, user := range []string{"", "alice:wrong", "bob:s3cret"} {
		_, resp, err := connect3(t, c, "example.com:"+port, user)
		if err != nil || resp.StatusCode != 407 || !strings.HasPrefix(resp.Header.Get("Proxy-Authenticate"), "Basic realm=") || !strings.Contains(resp.Header.Get("Proxy-Status"), "error=") {
			t.Errorf("%q: %v %v", user, resp, err)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Fatalf("asked %+v", asked)
	}
	s, resp, err := connect3(t, c, "example.com:"+port, "alice:s3cret")
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	carries3(t, s, "let in")
	for range maxGuesses {
		if _, _, err := connect3(t, c, "example.com:"+port, "alice:guess"); err != nil {
			break
		}
	}
	select {
	case <-conn.Context().Done():
	case <-time.After(patience):
		t.Error("who guesses keeps his connection")
	}
}

// maxGuesses is more than one connection may make.
const maxGuesses = 20

func TestATunnelOfHTTP3ThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, "half")
		c.Read(make([]byte, 1))
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := serve(t, func(o *Options) { o.Relay = relayLike })
	dial, _ := p.http3(t, patience, anyNumber)
	c, _ := dial()
	s, _, err := connect3(t, c, "example.com:"+port, "")
	if err != nil {
		t.Fatal(err)
	}
	half := make([]byte, 4)
	if _, err := io.ReadFull(s, half); err != nil {
		t.Fatal(err)
	}
	s.Write([]byte("x"))
	if b, err := io.ReadAll(s); err == nil {
		t.Errorf("it ends as a whole one does: %q", b)
	}
}

func TestAtItsEndHTTP3TakesNothingNew_AndTunnelsHaveTheirTime(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	dial, end := p.http3(t, 0, anyNumber)
	c, conn := dial()
	s, resp, err := connect3(t, c, "example.com:"+port, "")
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	carries3(t, s, "before")
	end()
	if conn.Context().Err() == nil {
		select {
		case <-conn.Context().Done():
		case <-time.After(patience):
			t.Error("the connection outlives the serving")
		}
	}
}

func TestOverHTTP3AsManyAreServedAsMayBe(t *testing.T) {
	p := serve(t, nil)
	dial, _ := p.http3(t, patience, func() (func(), bool) { return nil, false })
	_, conn := dial()
	select {
	case <-conn.Context().Done():
	case <-time.After(patience):
		t.Error("one more than may be is served")
	}
}
