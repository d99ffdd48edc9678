package cli_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: not in time", what)
		}
	}
}

func TestAHeadWithoutEndIsRefusedWhenItIsTooLong(t *testing.T) {
	x := startProxy(t, testWorld(t))
	start := "GET http://" + x.plain + "/ HTTP/1.1\r\nHost: " + x.plain + "\r\n"
	chunked := "POST http://" + x.plain + "/echo HTTP/1.1\r\nHost: " + x.plain + "\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ what, begin, more, says string }{
		{"a request line", "GET http://" + x.plain + "/", "aaaaaaaaaaaaaaaa", "the request line is longer than 8192 octets"},
		{"one header line", start + "X: ", "aaaaaaaaaaaaaaaa", "the request's head is longer than 32768 octets"},
		{"long header lines", start, "X: " + strings.Repeat("a", 1000) + "\r\n", "the request's head is longer than 32768 octets"},
		{"a chunk's extension", chunked + "1;", "aaaaaaaaaaaaaaaa", "a line in the framing of the request's body is too long"},
		{"trailers", chunked + "0\r\n", "X: aaaaaaaaaaaaaaaa\r\n", "the request's trailer section is too long"},
		{"a name of a method", "A", "AAAAAAAAAAAAAAAA", "the request line is longer than 8192 octets"},
	} {
		conn := x.dial(t)
		go func() { // it goes on until the proxy has had enough
			_, err := io.WriteString(conn, c.begin)
			for more := strings.Repeat(c.more, 100); err == nil; {
				_, err = io.WriteString(conn, more)
			}
		}()
		got := make([]byte, 2000)
		n, err := conn.Read(got)
		if !strings.HasPrefix(string(got[:n]), "HTTP/1.1 400 ") || !strings.Contains(string(got[:n]), c.says) {
			t.Errorf("%s: %q, %v", c.what, got[:n], err)
		}
		_ = conn.Close()
	}
	many := x.say(t, start+strings.Repeat("X: y\r\n", 100)+"\r\n")
	mustSay(t, many, "HTTP/1.1 400 ", "more than 100 header fields")
	x.stillServes(t)
}

func TestAClientThatDribblesItsHeadIsTurnedAway(t *testing.T) {
	t.Parallel() // it takes the whole of the time that a client has
	x := startProxy(t, testWorld(t))
	slow := x.dial(t)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		got, _ := io.ReadAll(slow)
		mustSay(t, string(got), "HTTP/1.1 400 ", "the request's head did not come within 10s")
	}()
	socks := x.dial(t)
	if _, err := io.WriteString(socks, "\x05\x01"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(slow, "GET http://"+x.plain+"/ HTTP/1.1\r\n")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for dribbling := true; dribbling; {
		select {
		case <-tick.C:
			_, _ = io.WriteString(slow, "a") // it fails when the proxy has ended the connection
		case <-answered:
			dribbling = false
		}
	}
	if got, err := io.ReadAll(socks); len(got) > 0 || err != nil {
		t.Errorf("a SOCKS client that says half a hello gets %q, %v", got, err)
	}
	x.stillServes(t)
}

func TestHalfOpenConnectionsAreLetGo(t *testing.T) {
	x := startProxy(t, testWorld(t))
	before := x.descriptors(t)
	for _, begin := range []string{
		"", "G", "GET http://" + x.plain + "/ HTTP/1.1\r\nHost: ", "CONNECT " + x.plain + " HTTP/1.1\r\n\r",
		"POST http://" + x.plain + "/echo HTTP/1.1\r\nHost: " + x.plain + "\r\nContent-Length: 100\r\n\r\nhalf",
		"\x05", "\x05\x01\x00\x05\x01\x00\x03\xff", "\x04\x01\x00\x50\x00\x00\x00\x01", "\x16\x03\x01",
	} {
		for _, reset := range []bool{false, true} {
			conn := x.dial(t)
			if _, err := io.WriteString(conn, begin); err != nil {
				t.Fatal(err)
			}
			if reset {
				_ = conn.SetLinger(0)
				_ = conn.Close()
				continue
			}
			_ = conn.CloseWrite()
			_, _ = io.Copy(io.Discard, conn) // it ends, with an answer or without
		}
	}
	eventually(t, "the connections are let go", func() bool { return x.descriptors(t) <= before+4 })
	x.stillServes(t)
}

func TestAHalfClosedTunnelGoesOnInTheOtherDirection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		got, _ := io.ReadAll(conn) // to the client's end
		_, _ = fmt.Fprintf(conn, "after the end of %q", got)
	}()
	x := startProxy(t, testWorld(t))
	conn := x.dial(t)
	fmt.Fprintf(conn, "CONNECT %s:%s HTTP/1.1\r\nHost: x\r\n\r\nwords", apiName, portOf(l.Addr()))
	_ = conn.CloseWrite()
	got, err := io.ReadAll(conn)
	if !strings.HasSuffix(string(got), `after the end of "words"`) || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// descriptors counts the open files of the proxy.
func (x *proxy) descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(x.cmd.Process.Pid), "fd"))
	if err != nil {
		lacking(t, "this system has no /proc that counts open files")
	}
	return len(entries)
}

// memory gives the resident memory of the proxy in octets.
func (x *proxy) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(x.cmd.Process.Pid), "status"))
	if err != nil {
		lacking(t, "this system has no /proc that tells a process's memory")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("the kernel does not say how much memory the proxy has")
	return 0
}

// Bounds of the memory for an idle connection: its goroutine and its sockets' state, and no buffer.
const (
	maxSilent   = 12 << 10
	maxWaiting  = 14 << 10
	manyClients = 10000
	// passing is how many descriptors may come and go by themselves: of a request that is just over, of the resolver.
	passing = 10
)

func TestTenThousandIdleConnectionsCostLittleAndHinderNobody(t *testing.T) {
	x := startProxy(t, testWorld(t))
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := manyClients
	if most := int(min(limit.Cur, 1<<20)) - 500; most < n {
		n = most
		if required() && n < 1000 {
			t.Fatalf("WATERTIGHT_LAB=required: this process may open %d files only", limit.Cur)
		}
		t.Logf("only %d connections: this process may open %d files", n, limit.Cur)
	}
	x.stillServes(t)
	open, resident := x.descriptors(t), x.memory(t)
	conns := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range n {
		c, err := net.Dial("tcp", x.address)
		if err != nil {
			t.Fatalf("connection %d: %v", len(conns), err)
		}
		conns = append(conns, c)
	}
	eventually(t, "all connections are accepted", func() bool { return x.descriptors(t) >= open+n-passing })
	each := (x.memory(t) - resident) / n
	t.Logf("%d silent connections: %d octets each", n, each)
	if each > maxSilent*raceFactor {
		t.Errorf("a silent connection costs %d octets, more than %d", each, maxSilent*raceFactor)
	}
	x.stillServes(t)

	// Now half of them ask for something, and wait.
	for _, c := range conns[:n/2] {
		if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 500)
	for _, c := range conns[:n/2] {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if k, err := c.Read(answer); !strings.HasPrefix(string(answer[:k]), "HTTP/1.1 200 OK") {
			t.Fatalf("got %q, %v", answer[:k], err)
		}
	}
	each = (x.memory(t) - resident) / n
	t.Logf("half of them between two requests: %d octets each", each)
	if each > maxWaiting*raceFactor {
		t.Errorf("an idle connection costs %d octets, more than %d", each, maxWaiting*raceFactor)
	}
	x.stillServes(t)
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "all connections are let go", func() bool { return x.descriptors(t) <= open+passing })
	x.stillServes(t)
}

func TestAClientOverTheLimitIsToldSoInItsOwnLanguage(t *testing.T) {
	w := testWorld(t)
	text := w.configText("plain_http: allow, private_targets: allow") + "limits: {connections: 8}\n"
	if err := os.WriteFile(w.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x := startProxy(t, w)
	var held []net.Conn
	for range 8 {
		c := x.dial(t)
		if _, err := io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 500)); err != nil { // it was accepted
			t.Fatal(err)
		}
		held = append(held, c)
	}
	mustSay(t, x.say(t, "CONNECT "+x.secure+" HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 503 ", "(LIMIT)", `"error":"LIMIT"`)
	if got := x.say(t, "\x05\x01\x00"); got != "\x05\xff" {
		t.Errorf("SOCKS 5 is told %q", got)
	}
	if got := x.say(t, "\x04\x01\x00\x50\x7f\x00\x00\x01\x00"); !strings.HasPrefix(got, "\x00\x5b") {
		t.Errorf("SOCKS 4 is told %q", got)
	}
	_ = held[0].Close()
	eventually(t, "a place becomes free", func() bool {
		got, _ := x.hear(t, "GET http://"+x.plain+"/ HTTP/1.1\r\nHost: "+x.plain+"\r\nConnection: close\r\n\r\n")
		return strings.HasPrefix(got, "HTTP/1.1 200 ")
	})
}
