package httpproxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"watertight/event"
	"watertight/gate"
	"watertight/route"
)

// patience bounds what must come; nothing waits for it unless it is broken.
const patience = 20 * time.Second

// dialer stands for the routes: every name is this host, and what it was asked is kept.
type dialer struct {
	mu    sync.Mutex
	asked []route.Request
	fail  func(route.Request) error
	hold  func(context.Context, route.Request) error // waits before it dials; set before the first request
}

func (d *dialer) Dial(ctx context.Context, r route.Request) (net.Conn, error) {
	d.mu.Lock()
	d.asked = append(d.asked, r)
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		if err := fail(r); err != nil {
			return nil, err
		}
	}
	if d.hold != nil {
		if err := d.hold(ctx, r); err != nil {
			return nil, err
		}
	}
	var nd net.Dialer
	return nd.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", r.Target.Port()))
}

func (d *dialer) DialPacket(ctx context.Context, r route.Request) (net.Conn, error) {
	d.mu.Lock()
	d.asked = append(d.asked, r)
	fail := d.fail
	d.mu.Unlock()
	if fail != nil {
		if err := fail(r); err != nil {
			return nil, err
		}
	}
	var nd net.Dialer
	return nd.DialContext(ctx, "udp", fmt.Sprintf("127.0.0.1:%d", r.Target.Port()))
}

// failWith makes Dial give the function's error, where it has one.
func (d *dialer) failWith(f func(route.Request) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

func (d *dialer) requests() []route.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]route.Request(nil), d.asked...)
}

// sink keeps what it is told.
type sink struct {
	event.Discard
	mu       sync.Mutex
	requests []event.Request
	tunnels  chan event.Tunnel
}

func (s *sink) Request(e *event.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, *e)
	s.mu.Unlock()
}

func (s *sink) Tunnel(e *event.Tunnel) { s.tunnels <- *e }

func (s *sink) codes() (codes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		codes = append(codes, string(r.Code))
	}
	return codes
}

// copyBoth is the plainest relay.
func copyBoth(_ context.Context, a, b net.Conn) (up, down int64, err error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		up, _ = io.Copy(b, a)
		if c, ok := b.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	})
	down, err = io.Copy(a, b)
	if c, ok := a.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	wg.Wait()
	_ = a.Close()
	_ = b.Close()
	return up, down, err
}

// proxy is a door being served.
type proxy struct {
	*Door
	addr   string
	dialer *dialer
	sink   *sink
	served sync.WaitGroup
	keeper *gate.Keeper
	rules  atomic.Pointer[gate.Rules] // nil: everyone is let in
}

func (p *proxy) inForce() *gate.Rules {
	if r := p.rules.Load(); r != nil {
		return r
	}
	return gate.Open()
}

func serve(t testing.TB, change func(*Options)) *proxy {
	t.Helper()
	p := &proxy{keeper: gate.NewKeeper(), dialer: &dialer{}, sink: &sink{tunnels: make(chan event.Tunnel, 100)}}
	o := Options{Dialer: p.dialer, Packets: p.dialer, Relay: copyBoth, Sink: p.sink, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.Door = d
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p.addr = l.Addr().String()
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
			p.served.Go(func() { d.ServeConn(ctx, gate.NewGuest(c, p.keeper, p.inForce), nil) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		cancel()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		done := make(chan struct{})
		go func() { p.served.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("a connection is still served")
		}
	})
	return p
}

// client gives net/http's client through the proxy.
func (p *proxy) client(t testing.TB) *http.Client {
	tr := &http.Transport{
		Proxy:                 func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: p.addr}, nil },
		ExpectContinueTimeout: patience,
		DisableCompression:    true,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// raw is a client that writes what it likes.
type raw struct {
	*net.TCPConn
	*bufio.Reader
	t testing.TB
}

func (r *raw) Read(b []byte) (int, error) { return r.Reader.Read(b) }

func (p *proxy) raw(t testing.TB) *raw {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &raw{c.(*net.TCPConn), bufio.NewReader(c), t}
}

func (r *raw) send(lines ...string) {
	r.t.Helper()
	if _, err := io.WriteString(r.TCPConn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
}

// response reads a response of a request of that method, with its body.
func (r *raw) response(method string) (*http.Response, string) {
	r.t.Helper()
	resp, err := http.ReadResponse(r.Reader, &http.Request{Method: method})
	if err != nil {
		r.t.Fatal(err)
	}
	if method == "CONNECT" && resp.StatusCode == 200 {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s: body %q: %v", resp.Status, body, err)
	}
	return resp, string(body)
}

// refusal reads a response that refuses, and gives its code and message.
func (r *raw) refusal(method string) (resp *http.Response, code, message string) {
	r.t.Helper()
	resp, body := r.response(method)
	var got struct{ Error, Message string }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		r.t.Fatalf("%s: %q: %v", resp.Status, body, err)
	}
	return resp, got.Error, got.Message
}

// ended says that the proxy closes the connection, with nothing before.
func (r *raw) ended() {
	r.t.Helper()
	if b, err := io.ReadAll(r.Reader); len(b) > 0 || err != nil {
		r.t.Errorf("the connection goes on: %q %v", b, err)
	}
}

func serveOrigin(t testing.TB, h http.HandlerFunc) (port string) {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// serveEcho sends back what comes.
func serveEcho(t testing.TB) (port string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}
