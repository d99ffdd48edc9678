package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"watertight/wire"
)

// patience bounds what must come; nothing waits for it unless it is broken.
const patience = 20 * time.Second

// pair is two ends of a TCP connection over loopback.
func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*net.TCPConn{c, s} {
		c.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { c.Close() })
	}
	s.SetDeadline(time.Time{})
	return c, s
}

type result struct {
	up, down int64
	err      error
}

// start relays between two fresh connections and gives their far ends.
func start(t testing.TB, ctx context.Context) (client, server *net.TCPConn, done <-chan result) {
	t.Helper()
	client, a := pair(t)
	server, b := pair(t)
	return client, server, pipe2(ctx, a, b)
}

func pipe2(ctx context.Context, a, b net.Conn) <-chan result {
	done := make(chan result, 1)
	go func() {
		var r result
		r.up, r.down, r.err = Pipe(ctx, a, b)
		done <- r
	}()
	return done
}

func await(t *testing.T, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		b := make([]byte, 64<<10)
		t.Fatalf("the relay did not end:\n%s", b[:runtime.Stack(b, true)])
		return result{}
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

func TestBytesArriveUnchangedBothWaysInBulk(t *testing.T) {
	client, server, done := start(t, t.Context())
	up, down := noise(9<<20+17), noise(5<<20+3)
	var wg sync.WaitGroup
	send := func(c *net.TCPConn, b []byte) {
		defer wg.Done()
		c.Write(b)
		c.CloseWrite()
	}
	wg.Add(2)
	go send(client, up)
	go send(server, down)
	var gotDown []byte
	read := make(chan struct{})
	go func() {
		defer close(read)
		gotDown, _ = io.ReadAll(client)
	}()
	gotUp, err := io.ReadAll(server)
	if err != nil {
		t.Fatal(err)
	}
	<-read
	wg.Wait()
	if sha256.Sum256(gotUp) != sha256.Sum256(up) || sha256.Sum256(gotDown) != sha256.Sum256(down) {
		t.Error("the bytes changed on the way")
	}
	r := await(t, done)
	if r.up != int64(len(up)) || r.down != int64(len(down)) || r.err != nil {
		t.Errorf("got %+v", r)
	}
}

func TestBurstsOfEverySizeKeepTheirOrder(t *testing.T) {
	client, server, done := start(t, t.Context())
	var want bytes.Buffer
	go func() {
		defer client.CloseWrite()
		for i := range 60 {
			size := 1 << (i % 20)
			client.Write(noise(size))
			runtime.Gosched()
		}
	}()
	for i := range 60 {
		want.Write(noise(1 << (i % 20)))
	}
	got, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%d octets of %d, equal: %v, %v", len(got), want.Len(), bytes.Equal(got, want.Bytes()), err)
	}
	server.Close()
	await(t, done)
}

func TestTheEndOfOneWayLeavesTheOtherOpen(t *testing.T) {
	client, server, done := start(t, t.Context())
	client.Write([]byte("question"))
	client.CloseWrite()
	got, err := io.ReadAll(server)
	if string(got) != "question" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	server.Write([]byte("answer"))
	server.Close()
	got, err = io.ReadAll(client)
	if string(got) != "answer" || err != nil {
		t.Fatalf("%q %v", got, err)
	}
	if r := await(t, done); r.err != nil || r.up != 8 || r.down != 6 {
		t.Errorf("got %+v", r)
	}
}

func TestAResetIsPassedOnAsAReset(t *testing.T) {
	client, server, done := start(t, t.Context())
	server.Write([]byte("half of it"))
	b := make([]byte, 64)
	if n, err := client.Read(b); string(b[:n]) != "half of it" || err != nil {
		t.Fatal(n, err)
	}
	server.SetLinger(0)
	server.Close()
	if _, err := client.Read(b); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client read %v, not a reset", err)
	}
	if r := await(t, done); !errors.Is(r.err, syscall.ECONNRESET) {
		t.Errorf("got %+v", r)
	}
}

func TestAnAnswerGivenBeforeTheServerHungUpReachesAClientThatStillSends(t *testing.T) {
	client, server, done := start(t, t.Context())
	go func() { // more than fits on the way, sent to the end
		chunk := noise(256 << 10)
		for range 64 {
			if _, err := client.Write(chunk); err != nil {
				t.Errorf("the client was stopped in sending: %v", err)
				return
			}
		}
		client.CloseWrite()
	}()
	if _, err := io.ReadFull(server, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	server.Write([]byte("413 too large"))
	server.CloseWrite()
	server.Close() // with octets unread: the kernel resets
	got, err := io.ReadAll(client)
	if string(got) != "413 too large" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	await(t, done)
}

func TestWhatWasReadAheadGoesFirst(t *testing.T) {
	client, a := pair(t)
	server, b := pair(t)
	done := pipe2(t.Context(), wire.NewHeaded(a, []byte("early ")), wire.NewHeaded(b, []byte("banner ")))
	client.Write([]byte("late"))
	client.CloseWrite()
	server.Write([]byte("text"))
	server.CloseWrite()
	up, _ := io.ReadAll(server)
	down, _ := io.ReadAll(client)
	if string(up) != "early late" || string(down) != "banner text" {
		t.Errorf("%q %q", up, down)
	}
	if r := await(t, done); r.up != 10 || r.down != 11 || r.err != nil {
		t.Errorf("got %+v", r)
	}
}

func TestCancellationEndsAnIdleRelayAndABlockedOne(t *testing.T) {
	for _, blocked := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		client, _, done := start(t, ctx)
		if blocked { // the server reads nothing: fill the way up
			client.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			if _, err := client.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the way was not full: %v", err)
			}
		}
		cancel()
		if r := await(t, done); !errors.Is(r.err, context.Canceled) {
			t.Errorf("blocked %v: got %+v", blocked, r)
		}
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("blocked %v: the client read %v, not a reset", blocked, err)
		}
	}
}

func TestConnectionsInMemoryAreRelayedToo(t *testing.T) {
	client, a := net.Pipe()
	server, b := pair(t)
	done := pipe2(t.Context(), a, b)
	go func() {
		client.Write([]byte("ping"))
		got := make([]byte, 4)
		io.ReadFull(client, got)
		client.Close()
	}()
	got := make([]byte, 4)
	io.ReadFull(server, got)
	server.Write([]byte("pong"))
	rest, err := io.ReadAll(server)
	if string(got) != "ping" || len(rest) != 0 || err != nil {
		t.Errorf("%q %q %v", got, rest, err)
	}
	server.Close()
	if r := await(t, done); r.up != 4 || r.down != 4 {
		t.Errorf("got %+v", r)
	}
}

func TestAMissingConnectionIsAnError(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, _, err := Pipe(t.Context(), a, nil); !errors.Is(err, ErrNilConn) {
		t.Error(err)
	}
}
