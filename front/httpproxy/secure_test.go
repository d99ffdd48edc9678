package httpproxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"watertight/gate"
)

// secure gives a client that speaks HTTP/1.1 inside TLS.
func (p *proxy) secure(t *testing.T) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	config := gate.ServerTLS(selfSigned(t), nil)
	p.served.Go(func() {
		g := gate.NewGuest(s, p.keeper, p.inForce)
		g.Conn = &gate.Secure{Conn: tls.Server(s, config), Socket: s}
		p.ServeConn(t.Context(), g, nil)
	})
	conn := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	t.Cleanup(func() { conn.Close(); s.Close() })
	return conn, bufio.NewReader(conn)
}

func TestInsideTLSRequestsFollowEachOtherAndATunnelThem(t *testing.T) {
	port := serveOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		io.WriteString(w, r.URL.Path+string(b))
	})
	echo := serveEcho(t)
	p := serve(t, nil)
	c, r := p.secure(t)
	for _, path := range []string{"/one", "/two", "/three"} {
		io.WriteString(c, "POST http://example.com:"+port+path+" HTTP/1.1\r\nHost: example.com:"+port+"\r\nContent-Length: 1\r\n\r\n!")
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != path+"!" || err != nil {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	io.WriteString(c, "CONNECT example.com:"+echo+" HTTP/1.1\r\nHost: x\r\n\r\nearly ") // which does not wait for the answer
	if resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	io.WriteString(c, "late")
	c.CloseWrite()
	if b, err := io.ReadAll(r); string(b) != "early late" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestInsideTLSATunnelThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	for _, early := range []string{"", "x"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
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
		c, r := p.secure(t)
		io.WriteString(c, "CONNECT example.com:"+port+" HTTP/1.1\r\nHost: x\r\n\r\n"+early)
		if resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		half := make([]byte, 4)
		if _, err := io.ReadFull(r, half); err != nil {
			t.Fatal(err)
		}
		if early == "" {
			io.WriteString(c, "x") // the far side breaks off at the first octet
		}
		if b, err := io.ReadAll(r); err == nil {
			t.Errorf("early %q: it ends as a whole one does: %q", early, b)
		}
		l.Close()
	}
}
