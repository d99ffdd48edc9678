package httpproxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/client"
	"watertight/fault"
	"watertight/gate"
	"watertight/route"
)

// selfSigned is a certificate that no client here looks at.
func selfSigned(t testing.TB) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// http2 gives a client of the proxy that has one connection, over which it speaks HTTP/2.
type http2Client struct {
	*http.Transport
	t     testing.TB
	addr  string
	dials int
}

func (p *proxy) http2(t testing.TB) *http2Client {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	config := gate.ServerTLS(selfSigned(t), nil)
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var conns []net.Conn
	p.served.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			p.served.Go(func() {
				g := gate.NewGuest(c, p.keeper, p.inForce)
				g.Conn = &gate.Secure{Conn: tls.Server(c, config), Socket: c}
				if c := g.Conn.(*gate.Secure).Conn; c.Handshake() == nil && c.ConnectionState().NegotiatedProtocol == "http/1.1" {
					p.ServeConn(ctx, g, nil)
					return
				}
				p.HTTP2().ServeConn(ctx, g, nil)
			})
		}
	})
	h := &http2Client{t: t, addr: l.Addr().String()}
	h.Transport = &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols), DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			h.dials++
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		},
	}
	h.Protocols.SetHTTP2(true)
	t.Cleanup(func() {
		h.CloseIdleConnections()
		l.Close()
		cancel()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	return h
}

// plain asks for an http:// URL. The transport takes the connection for one in clear, and so sends that scheme.
func (h *http2Client) plain(method, host, path, body string) (*http.Response, error) {
	req, err := http.NewRequest(method, "http://"+host+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Proxy-Authorization", "Basic YWxpY2U6")
	req.Header.Set("User-Agent", "")
	return h.inClear(h.t).RoundTrip(req)
}

// h2tunnel is a stream of CONNECT.
type h2tunnel struct {
	*http.Response
	w *io.PipeWriter
}

// connect asks for a tunnel.
func (h *http2Client) connect(target, user string) *h2tunnel {
	h.t.Helper()
	r, w := io.Pipe()
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: "proxy.example"}, Host: target, Header: http.Header{}, Body: r}
	if user != "" {
		req.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	resp, err := h.RoundTrip(req.WithContext(ctx))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { w.Close(); resp.Body.Close() })
	return &h2tunnel{resp, w}
}

func (s *h2tunnel) carries(t testing.TB, text string) {
	t.Helper()
	go io.WriteString(s.w, text)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s.Body, got); err != nil || string(got) != text {
		t.Errorf("%d octets come back, %v", len(got), err)
	}
}

func TestManyTunnelsShareAConnectionOfHTTP2(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	h := p.http2(t)
	var all []*h2tunnel
	for range 50 {
		s := h.connect("example.com:"+port, "alice-session-1:")
		if s.StatusCode != 200 || s.ProtoMajor != 2 {
			t.Fatal(s.Proto, s.Status)
		}
		all = append(all, s)
	}
	for _, s := range all {
		s.carries(t, "to and fro")
	}
	for _, s := range all { // the client's end reaches the far side, and the far side's the client
		s.w.Close()
		if b, err := io.ReadAll(s.Body); len(b) > 0 || err != nil {
			t.Errorf("%q %v", b, err)
		}
		if e := <-p.sink.tunnels; e.Up != 10 || e.Down != 10 {
			t.Errorf("%+v", e)
		}
	}
	if h.dials != 1 {
		t.Errorf("%d connections", h.dials)
	}
	for _, r := range p.dialer.requests() {
		if r.Identity != (client.Identity{User: "alice", Session: "1"}) || r.Target.String() != "example.com:"+port || r.PlainHTTP || !r.Client.IsValid() {
			t.Errorf("asked %+v", r)
		}
	}
}

func TestATunnelThatNobodyReadsKeepsNoOtherWaiting(t *testing.T) {
	port := serveEcho(t)
	deaf := serveEcho(t)
	p := serve(t, func(o *Options) {
		o.Relay = func(ctx context.Context, c, server net.Conn) (up, down int64, err error) {
			if _, port, _ := net.SplitHostPort(server.RemoteAddr().String()); port == deaf {
				<-ctx.Done() // and reads nothing of what the client sends
				return 0, 0, server.Close()
			}
			return copyBoth(ctx, c, server)
		}
	})
	h := p.http2(t)
	for range 40 { // more together than net/http says it would take of one connection
		if _, err := h.connect("deaf.example:"+deaf, "").w.Write(make([]byte, streamBuffer)); err != nil {
			t.Fatal(err)
		}
	}
	s := h.connect("example.com:"+port, "")
	s.carries(t, strings.Repeat("0123456789abcdef", 256<<10/16))
}

func TestOverHTTP2AFaultIsAStatusWithItsReasons(t *testing.T) {
	p := serve(t, nil)
	p.dialer.failWith(func(route.Request) error { return fault.New(fault.DNSNXDomain, "no.example does not exist", nil) })
	h := p.http2(t)
	for target, want := range map[string]struct {
		status int
		code   string
	}{"no.example:443": {502, "DNS_NXDOMAIN"}, "no-port": {400, "BAD_REQUEST"}, "a.example:0": {400, "BAD_REQUEST"}} {
		s := h.connect(target, "")
		var body struct{ Error string }
		if err := json.NewDecoder(s.Body).Decode(&body); err != nil || s.StatusCode != want.status || body.Error != want.code {
			t.Errorf("%s: %s %+v %v", target, s.Status, body, err)
		}
		if !strings.Contains(s.Header.Get("Proxy-Status"), "watertight; error=") {
			t.Errorf("Proxy-Status is %q", s.Header.Get("Proxy-Status"))
		}
	}
	if h.dials != 1 {
		t.Errorf("%d connections: a refusal ends one", h.dials)
	}
}

func TestOverHTTP2NobodyIsLetInWithoutProof(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	guarded(t, p, "alice", "s3cret")
	h := p.http2(t)
	for _, user := range []string{"", "alice:wrong", "bob:s3cret"} {
		if s := h.connect("example.com:"+port, user); s.StatusCode != 407 || !strings.HasPrefix(s.Header.Get("Proxy-Authenticate"), "Basic realm=") {
			t.Errorf("%q: %s %v", user, s.Status, s.Header)
		}
	}
	if asked := p.dialer.requests(); len(asked) > 0 {
		t.Fatalf("asked %+v", asked)
	}
	h.connect("example.com:"+port, "alice:s3cret").carries(t, "let in")
	if h.dials != 1 {
		t.Errorf("%d connections", h.dials)
	}
	for range 8 {
		h.connect("example.com:"+port, "alice:guess")
	}
	h.connect("example.com:"+port, "alice:s3cret").carries(t, "let in")
	if h.dials < 2 {
		t.Error("who guesses keeps his connection")
	}
}

func TestATunnelOfHTTP2ThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for _, reset := range []bool{true, false} {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Write([]byte("half"))
			c.Read(make([]byte, 1))
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := serve(t, func(o *Options) { o.Relay = relayLike })
	h := p.http2(t)
	for _, reset := range []bool{true, false} {
		s := h.connect("example.com:"+port, "")
		half := make([]byte, 4)
		if _, err := io.ReadFull(s.Body, half); err != nil {
			t.Fatal(err)
		}
		go s.w.Write([]byte("x"))
		if rest, err := io.ReadAll(s.Body); (err == nil) == reset || len(rest) > 0 {
			t.Errorf("reset %v: %q, %v", reset, rest, err)
		}
	}
}

// relayLike does to its client what the program's own relay does.
func relayLike(_ context.Context, c, server net.Conn) (up, down int64, err error) {
	var wg sync.WaitGroup
	wg.Go(func() { up, _ = io.Copy(server, c) })
	if down, err = io.Copy(c, server); err != nil {
		c.(interface{ Abort() }).Abort()
		_ = c.Close()
	} else {
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}
	wg.Wait()
	_ = server.Close()
	return up, down, err
}

func TestADoorThatDrainsTakesNoNewStreams_AndTunnelsGoOn(t *testing.T) {
	port := serveEcho(t)
	p := serve(t, nil)
	h := p.http2(t)
	s := h.connect("example.com:"+port, "")
	s.carries(t, "before")
	p.Drain()
	s.carries(t, "after")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for h.dials < 2 { // until the client has heard of it, and finds no new connection served
		req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: "proxy.example"}, Host: "example.com:" + port, Header: http.Header{}}
		if resp, err := h.RoundTrip(req.WithContext(ctx)); err == nil {
			resp.Body.Close()
		} else if ctx.Err() != nil {
			t.Fatal("new streams are taken")
		}
	}
	s.carries(t, "still")
}
