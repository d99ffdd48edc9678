package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"watertight/config"
	"watertight/lab/dnstest"
	"watertight/netwatch"
	"watertight/wire"
)

// live is a daemon on sockets of this host, with a resolver and an origin.
type live struct {
	t      *testing.T
	dns    *dnstest.Server
	origin net.Listener
	d      *Daemon
	text   string // the configuration that the next load reads
	log    *lines

	network chan struct{} // a value: the network has changed; closed: nobody can tell any more

	listening chan Listening
	ready     chan struct{}
	at        Listening
	cancel    context.CancelFunc
	ended     chan struct{}
	err       error
}

var loopback = netip.MustParseAddr("127.0.0.1")

// newLive makes a daemon that does not run yet. More stands in its configuration.
func newLive(t *testing.T, more string) *live {
	t.Helper()
	l := &live{
		t: t, log: &lines{}, network: make(chan struct{}), listening: make(chan Listening, 1), ready: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	socket := l.open("127.0.0.1:0")
	zone := dnstest.Zone{hostName + ". 60 A 127.0.0.1"}
	l.dns = dnstest.ServeDoT(socket, authority.CA.Issue(nil, []netip.Addr{loopback}), zone.Handler())
	t.Cleanup(func() { l.dns.Close() })
	l.origin = l.open("127.0.0.1:0")
	go l.serveOrigin()
	l.text = l.config(more)
	d, err := New(Options{
		Config: l.load(), Load: func() (*config.Config, error) { return l.parse() },
		Ground: wire.Dialer{}, Network: l.watch, Clocks: netwatch.Clocks, Log: slog.New(slog.NewTextHandler(l.log, nil)), Version: "test",
		Listening: func(at Listening) { l.listening <- at },
		InForce:   func(*config.Config) {},
		Ready:     func() { l.ready <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.d = d
	return l
}

// config is a configuration whose resolver is the one of the test. Without `listen:` in it the port is any.
func (l *live) config(more string) string {
	if !strings.Contains(more, "listen:") {
		more += "\nlisten: {proxy: \"127.0.0.1:0\", admin: \"127.0.0.1:0\"}\n"
	}
	if !strings.Contains(more, "channels:") {
		more += l.channels("")
	}
	return more + "\npolicy: {private_targets: allow}\n"
}

// channels is `direct` with the test's resolver; more stands in the map of its resolver.
func (l *live) channels(more string) string {
	return fmt.Sprintf("channels: {direct: {resolver: {upstreams: [{url: %q, ca: %q}]%s}}}\n", "tls://"+l.dns.Addr().String(), caFile, more)
}

func (l *live) parse() (*config.Config, error) {
	return config.Parse("live.yaml", []byte(l.text), config.ThisHost())
}

func (l *live) load() *config.Config {
	l.t.Helper()
	c, err := l.parse()
	if err != nil {
		l.t.Fatalf("the test's own configuration: %v\n%s", err, l.text)
	}
	return c
}

// start runs the daemon until the test ends, and waits until it listens.
func (l *live) start() *live {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.ended)
		l.err = l.d.Run(ctx)
	}()
	l.t.Cleanup(func() { l.stop() })
	select {
	case l.at = <-l.listening:
	case <-l.ended:
		l.t.Fatalf("it ended: %v", l.err)
	}
	return l
}

// watch is how the daemon learns of changes of the network.
func (l *live) watch(ctx context.Context, changed func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-l.network:
			if !ok {
				return wire.ErrNoNetworkWatch
			}
			changed()
		}
	}
}

// stop ends the daemon and gives what Run gave.
func (l *live) stop() error {
	l.cancel()
	<-l.ended
	return l.err
}

func (l *live) awaitReady() *live {
	l.t.Helper()
	select {
	case <-l.ready:
	case <-time.After(10 * time.Second):
		l.t.Fatalf("it did not say that it is ready\n%s", l.log)
	}
	return l
}

func (l *live) reload(more string) error {
	l.text = l.config(more)
	return l.d.Reload(context.Background())
}

func (l *live) mustReload(more string) {
	l.t.Helper()
	if err := l.reload(more); err != nil {
		l.t.Fatal(err)
	}
}

func (l *live) open(at string) net.Listener {
	l.t.Helper()
	socket, err := net.Listen("tcp", at)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { socket.Close() })
	return socket
}

// serveOrigin answers with what it was sent.
func (l *live) serveOrigin() {
	for {
		conn, err := l.origin.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// target is the origin by name.
func (l *live) target() string {
	return hostName + ":" + strconv.Itoa(l.origin.Addr().(*net.TCPAddr).Port)
}

// tunnel is one client connection.
type tunnel struct {
	net.Conn
	r *bufio.Reader
}

// limit keeps a test that hangs from hanging for ever; no test comes near it.
const limit = 30 * time.Second

func dialProxy(t *testing.T, at netip.AddrPort) *tunnel {
	t.Helper()
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(limit))
	return &tunnel{conn, bufio.NewReader(conn)}
}

// connect asks for a tunnel and gives the answer.
func (c *tunnel) connect(t *testing.T, target string) *http.Response {
	t.Helper()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
	resp, err := http.ReadResponse(c.r, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// tunnel opens a tunnel to the origin.
func (l *live) tunnel(at netip.AddrPort) *tunnel {
	l.t.Helper()
	c := dialProxy(l.t, at)
	if resp := c.connect(l.t, l.target()); resp.StatusCode != http.StatusOK {
		l.t.Fatalf("CONNECT: %s\n%s", resp.Status, l.log)
	}
	c.carries(l.t)
	return c
}

// carries wants the tunnel to carry octets both ways.
func (c *tunnel) carries(t *testing.T) {
	t.Helper()
	fmt.Fprintln(c, "ping")
	if got, err := c.r.ReadString('\n'); got != "ping\n" {
		t.Errorf("the echo was %q (%v)", got, err)
	}
}

// refuses wants CONNECT to be answered with a status and a code.
func (l *live) refuses(at netip.AddrPort, target string, status int, code string) {
	l.t.Helper()
	resp := dialProxy(l.t, at).connect(l.t, target)
	if resp.StatusCode != status || !strings.Contains(resp.Status, code) {
		l.t.Errorf("CONNECT %s: %s, want %d %s", target, resp.Status, status, code)
	}
}

// get asks the admin listener.
func (l *live) get(path string) (int, string) {
	l.t.Helper()
	c := dialProxy(l.t, l.at.Admin[0])
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path)
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Error(err)
	}
	return resp.StatusCode, string(body)
}

// listens says whether anybody accepts connections at an address.
func listens(at netip.AddrPort) bool {
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err = conn.Read(make([]byte, 1))
	return err == nil || !errors.Is(err, io.EOF)
}

// freePort gives an address on which nobody listens: each time another of loopback's many, so that no other test and
// no outgoing connection takes its port in the meantime.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	n := freePorts.Add(1)
	ip := netip.AddrFrom4([4]byte{127, byte(1 + os.Getpid()%200), byte(n >> 8), byte(n)})
	socket, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	return socket.Addr().(*net.TCPAddr).AddrPort()
}

var freePorts atomic.Uint32

// lines is a log that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write takes a line.
func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String gives all lines.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ours are goroutines of the program, not of its tests.
var ours = regexp.MustCompile(`watertight/(daemon\.\(\*Daemon|channel|resolve|route|relay|front|hop|control|metrics|accesslog|wire)`)

// leavesNothing wants no goroutine of the program to be left. Only for tests that do not run in parallel.
func leavesNothing(t *testing.T) {
	t.Helper()
	buf := make([]byte, 1<<20)
	var left []string
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); runtime.Gosched() {
		left = nil
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if ours.MatchString(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}
