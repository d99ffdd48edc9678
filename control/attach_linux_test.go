package control

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"watertight/wire"
)

// carrier is a source that carries what comes.
type carrier struct {
	source
	refusal error
	carried chan Guest
	left    chan struct{}
}

func newCarrier(refusal error) *carrier {
	return &carrier{refusal: refusal, carried: make(chan Guest, 1), left: make(chan struct{}, 1)}
}

// Contain implements [Container].
func (c *carrier) Contain(_ context.Context, channel string) (func(context.Context, Guest), func(), error) {
	if channel == "none" {
		return nil, nil, &UnknownChannelError{Name: channel, Channels: []string{"direct"}}
	}
	if c.refusal != nil {
		return nil, nil, c.refusal
	}
	return func(_ context.Context, g Guest) { c.carried <- g }, func() { c.left <- struct{}{} }, nil
}

// onSocket serves the commands of a source on a control socket, and gives its path.
func onSocket(t *testing.T, from Source) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "wt")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "1.sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server(t, from).ServeControl(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return path
}

func TestAttach_GivesALineThatEndsWithEitherSide(t *testing.T) {
	c := newCarrier(nil)
	line, err := Attach(t.Context(), onSocket(t, c), "direct")
	if err != nil {
		t.Fatal(err)
	}
	g := <-c.carried
	<-c.left
	if g.PID != os.Getpid() {
		t.Errorf("the process is %d", g.PID)
	}
	if err := wire.HandOver(line, []byte("word")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, files, err := wire.TakeOver(g.Line, b); err != nil || string(b[:n]) != "word" || len(files) > 0 {
		t.Errorf("%q, %v", b[:n], err)
	}
	_ = line.Close()
	if n, _, err := wire.TakeOver(g.Line, b); n > 0 || err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", b[:n], err)
	}
	_ = g.Line.Close()
}

func TestAttach_SaysWhyAProgramIsNotCarried(t *testing.T) {
	path := onSocket(t, newCarrier(errors.New("the resolver\nis silent")))
	for channel, want := range map[string]string{"": "the resolver\nis silent", "none": `there is no channel "none"; the running proxy has direct`} {
		if _, err := Attach(t.Context(), path, channel); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", channel, err)
		}
	}
	if _, err := Attach(t.Context(), onSocket(t, &source{}), ""); err == nil || !strings.Contains(err.Error(), "restart it") {
		t.Errorf("a proxy that carries none: %v", err)
	}
	if _, err := Attach(t.Context(), filepath.Join(t.TempDir(), "no"), ""); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no proxy: %v", err)
	}
}

func TestAttach_TakesOneLineAndNothingElse(t *testing.T) {
	const request = "POST /attach HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: watertight-exec\r\n\r\n"
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for title, sent := range map[string]struct {
		octets string
		with   []syscall.Conn
	}{
		"nothing":  {"x", nil},
		"a file":   {"x", []syscall.Conn{file}},
		"a socket": {"x", []syscall.Conn{udp.(*net.UDPConn)}},
		"two":      {"x", []syscall.Conn{file, file}},
		"the end":  {"", nil},
	} {
		c := newCarrier(nil)
		conn, err := wire.DialUnix(t.Context(), onSocket(t, c))
		if err != nil {
			t.Fatal(err)
		}
		u := conn.(*net.UnixConn)
		if _, err := io.WriteString(u, request); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 500)
		if n, err := u.Read(answer); err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 101 ") {
			t.Fatalf("%s: %q, %v", title, answer[:n], err)
		}
		if sent.octets == "" {
			_ = u.CloseWrite()
		} else if err := wire.HandOver(u, []byte(sent.octets), sent.with...); err != nil {
			t.Fatal(err)
		}
		<-c.left
		if n, err := u.Read(answer); n > 0 || err == nil {
			t.Errorf("%s: %q, %v", title, answer[:n], err)
		}
		_ = u.Close()
		if len(c.carried) > 0 {
			t.Errorf("%s: it is carried", title)
		}
	}
	path := onSocket(t, newCarrier(nil))
	for asked, want := range map[string]string{
		strings.Replace(request, "POST", "GET", 1):                                             "405",
		strings.Replace(request, "/attach", "/attach?channel=", 1):                             "400",
		strings.Replace(request, "/attach", "/attach?channel=a&channel=b", 1):                  "400",
		strings.Replace(request, "/attach", "/attach?real=1", 1):                               "400",
		strings.Replace(request, "Upgrade: watertight-exec", "Upgrade: websocket", 1):          "426",
		strings.Replace(request, "Host: localhost", "Host: localhost\r\nContent-Length: 1", 1): "413",
	} {
		conn, err := wire.DialUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if r, body := exchange(t, conn, asked); !strings.HasPrefix(r.Status, want) {
			t.Errorf("%q: %s %s", asked, r.Status, body)
		}
		_ = conn.Close()
	}
	if r, _ := send(t, admin(t, newCarrier(nil)), strings.Replace(request, "localhost", "127.0.0.1", 1)); r.StatusCode != 404 {
		t.Errorf("the admin port takes programs: %s", r.Status)
	}
}
