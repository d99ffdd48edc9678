package mixed

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/gate"
)

// patience bounds what must come; nothing waits for it unless it is broken.
const patience = 20 * time.Second

// handler serves by a function, and counts its drains.
type handler struct {
	serve  func(ctx context.Context, conn *net.TCPConn, head []byte)
	mu     sync.Mutex
	drains int
}

func (h *handler) ServeConn(ctx context.Context, g *gate.Guest, head []byte) {
	h.serve(ctx, g.Conn.(*net.TCPConn), head)
}

func (h *handler) Drain() { h.mu.Lock(); h.drains++; h.mu.Unlock() }

// says answers with its word and the octets read ahead.
func says(word string) *handler {
	return &handler{serve: func(_ context.Context, conn *net.TCPConn, head []byte) {
		defer conn.Close()
		io.WriteString(conn, word+":"+string(head))
	}}
}

type port struct {
	*Port
	addr   string
	log    *syncBuffer
	stop   context.CancelFunc
	closed chan struct{} // the listener has ended
	done   chan error    // and then the port, with what Serve gave
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func serve(t *testing.T, o Options) *port {
	t.Helper()
	return serveWay(t, o, &Way{Rules: gate.Open()})
}

func serveWay(t *testing.T, o Options, way *Way) *port {
	t.Helper()
	log := &syncBuffer{}
	o.Keeper = gate.NewKeeper()
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	for h, word := range map[*Handler]string{&o.Handlers.HTTP: "http", &o.Handlers.SOCKS4: "socks4", &o.Handlers.SOCKS5: "socks5", &o.Handlers.HTTP2: "http2"} {
		if *h == nil {
			*h = says(word)
		}
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &port{Port: p, addr: l.Addr().String(), log: log, stop: cancel, done: make(chan error, 1)}
	r.closed = make(chan struct{})
	go func() {
		err := p.Serve(ctx, l, func() *Way { return way })
		close(r.closed)
		p.Drain()
		r.done <- err
	}()
	t.Cleanup(func() {
		cancel()
		r.ended(t)
	})
	return r
}

// ended waits for the port's end.
func (p *port) ended(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("Serve does not end")
	}
}

func (p *port) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func (p *port) say(t *testing.T, s string) string {
	t.Helper()
	c := p.dial(t)
	io.WriteString(c, s)
	got, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
	return string(got)
}

// until waits for what other goroutines bring about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestTheFirstOctetTellsTheProtocol(t *testing.T) {
	p := serve(t, Options{})
	for octets, want := range map[string]string{
		"CONNECT a:1":    "http:CONNECT a:1",
		"get":            "http:get",
		"\x04\x01":       "socks4:\x04\x01",
		"\x05\x01\x00":   "socks5:\x05\x01\x00",
		"\x00":           "",
		"\r\n\r\nPROXY ": "",
		"\xff":           "",
	} {
		if got := p.say(t, octets); got != want {
			t.Errorf("%q: %q", octets, got)
		}
	}
	if s := p.Stats(); s.Unknown != 3 || s.Accepted != 7 {
		t.Errorf("%+v", s)
	}
}

func TestAClientThatSpeaksTLSIsToldThatThePortDoesNot(t *testing.T) {
	p := serve(t, Options{})
	// Each client has words of its own for a handshake that fails so.
	err := tls.Client(p.dial(t), &tls.Config{ServerName: "proxy.example"}).Handshake()
	if header, ok := errors.AsType[tls.RecordHeaderError](err); !ok || string(header.RecordHeader[:]) != "HTTP/" {
		t.Errorf("the handshake ends with %v", err)
	}
	if got := p.say(t, "\x16\x03\x01"); !strings.HasPrefix(got, "HTTP/1.1 400 this port does not speak TLS (BAD_REQUEST)\r\n") {
		t.Errorf("the client hears %q", got)
	}
	if s := p.Stats(); s.Unknown != 2 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(p.log.String(), "speaks TLS") {
		t.Error("the log does not say that a client spoke TLS")
	}
}

func TestASilentClientIsEndedAtItsTime(t *testing.T) {
	p := serve(t, Options{FirstOctet: 20 * time.Millisecond})
	if got := p.say(t, ""); got != "" {
		t.Errorf("%q", got)
	}
	until(t, "the connection still counts", func() bool { return p.Stats().Open == 0 })
}

func TestManySilentConnectionsCostLittleAndOthersAreServed(t *testing.T) {
	count := 10000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < uint64(2*count+200) {
		count = int(limit.Cur/2) - 200
	}
	p := serve(t, Options{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, count)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range count {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(len(conns), err)
		}
		conns = append(conns, c)
	}
	until(t, "not all were accepted", func() bool { return p.Stats().Open == int64(count) })
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse) / uint64(count)
	t.Logf("%d connections, %d octets each, with the test's own side", count, each)
	if each > 8<<10 {
		t.Errorf("a silent connection costs %d octets", each)
	}
	if got := p.say(t, "x"); got != "http:x" {
		t.Errorf("%q", got)
	}
}

func TestOverTheLimitAClientIsToldInItsOwnProtocol(t *testing.T) {
	p := serve(t, Options{Connections: 1})
	p.dial(t)
	until(t, "not accepted", func() bool { return p.Stats().Open == 1 })
	if got := p.say(t, "GET / HTTP/1.1\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, `"error":"LIMIT"`) {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x05\x01\x00"); got != "\x05\xff" {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x04\x01\x00\x50\x7f\x00\x00\x01\x00"); len(got) != 8 || got[1] != 91 {
		t.Errorf("%q", got)
	}
	if s := p.Stats(); s.Refused != 3 || s.Open != 1 {
		t.Errorf("%+v", s)
	}
}

func TestAPanicEndsItsConnectionOnlyAndTellsNoName(t *testing.T) {
	p := serve(t, Options{Handlers: Handlers{HTTP: &handler{serve: func(_ context.Context, _ *net.TCPConn, head []byte) {
		panic("secret.example: " + string(head))
	}}}})
	if got := p.say(t, "boom"); got != "" {
		t.Errorf("%q", got)
	}
	if got := p.say(t, "\x05"); got != "socks5:\x05" {
		t.Errorf("the port is gone: %q", got)
	}
	until(t, "the panic does not count", func() bool { return p.Stats().Panics == 1 })
	if log := p.log.String(); !strings.Contains(log, "panic=string") || strings.Contains(log, "secret.example") {
		t.Error(log)
	}
}

func TestEndingServeLetsHandlersFinishAndClosesSilentClients(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := &handler{serve: func(ctx context.Context, conn *net.TCPConn, _ []byte) {
		defer conn.Close()
		close(entered)
		<-leave
		if ctx.Err() == nil {
			io.WriteString(conn, "finished")
		}
	}}
	p := serve(t, Options{Handlers: Handlers{HTTP: h}, DrainLimit: patience})
	silent, busy := p.dial(t), p.dial(t)
	io.WriteString(busy, "x")
	<-entered
	until(t, "not accepted", func() bool { return p.Stats().Open == 2 })
	p.stop()
	<-p.closed
	if got, err := io.ReadAll(silent); len(got) > 0 || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if _, err := net.Dial("tcp", p.addr); err == nil {
		t.Error("connections are still accepted")
	}
	close(leave)
	if got, err := io.ReadAll(busy); string(got) != "finished" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	p.ended(t)
	if h.drains != 1 {
		t.Errorf("drained %d times", h.drains)
	}
}

func TestHandlersThatDoNotFinishAreEndedAtTheLimit(t *testing.T) {
	entered := make(chan struct{})
	p := serve(t, Options{Handlers: Handlers{HTTP: &handler{serve: func(ctx context.Context, conn *net.TCPConn, _ []byte) {
		close(entered)
		<-ctx.Done()
		io.ReadAll(conn) // its client says nothing: it ends because conn is closed
	}}}})
	c := p.dial(t)
	io.WriteString(c, "x")
	<-entered
	p.stop()
	p.ended(t)
}

func TestAPortWithoutItsCollaboratorsIsAnError(t *testing.T) {
	h := Handlers{HTTP: says(""), SOCKS4: says(""), SOCKS5: says(""), HTTP2: says("")}
	for _, o := range []Options{
		{},
		{Handlers: h, Keeper: gate.NewKeeper()},
		{Keeper: gate.NewKeeper(), Logger: slog.Default()},
		{Handlers: h, Logger: slog.Default()},
		{Handlers: Handlers{HTTP: says("")}, Keeper: gate.NewKeeper(), Logger: slog.Default()},
		{Handlers: h, Keeper: gate.NewKeeper(), Logger: slog.Default(), Connections: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
