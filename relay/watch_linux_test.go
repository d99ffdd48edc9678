package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reset closes a connection with a reset in the place of an end.
func reset(t testing.TB, c *net.TCPConn) {
	t.Helper()
	if err := c.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestAResetAfterAnEndEndsTheTunnelThoughTheOtherSideSaysNothing(t *testing.T) {
	type tunnel struct {
		resets, silent *net.TCPConn
		done           <-chan result
	}
	tunnels := map[string]tunnel{}
	for _, who := range []string{"the server", "the client"} {
		client, server, done := start(t, t.Context())
		tunnels[who] = tunnel{server, client, done}
		if who == "the client" {
			tunnels[who] = tunnel{client, server, done}
		}
	}
	for who, tn := range tunnels {
		tn.resets.Write([]byte("all of it"))
		tn.resets.CloseWrite()
		if got, err := io.ReadAll(tn.silent); string(got) != "all of it" || err != nil {
			t.Fatalf("%s sent %q, %v", who, got, err)
		}
		reset(t, tn.resets)
	}
	for who, tn := range tunnels {
		if r := await(t, tn.done); !errors.Is(r.err, syscall.ECONNRESET) || r.up+r.down != 9 {
			t.Errorf("%s reset: got %+v", who, r)
		}
		if _, err := tn.silent.Write([]byte("?")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%s reset, and the other side, which has all, was told nothing of it: %v", who, err)
		}
	}
}

func TestAResetAfterAnEndTakesNothingFromASideThatIsSlowToRead(t *testing.T) {
	client, a := pair(t)
	server, b := pair(t)
	const much = 256 << 10
	for _, err := range []error{client.SetReadBuffer(4 << 10), a.SetWriteBuffer(4 * much)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	done := pipe2(t.Context(), a, b)
	content := noise(much)
	server.Write(content)
	server.CloseWrite()
	awaitState(t, a, unix.BPF_TCP_FIN_WAIT1) // told the end, which waits behind the rest
	reset(t, server)
	if r := await(t, done); !errors.Is(r.err, syscall.ECONNRESET) {
		t.Errorf("got %+v", r)
	}
	if got, err := io.ReadAll(client); !bytes.Equal(got, content) || err != nil {
		t.Errorf("%d octets of %d arrived, %v", len(got), much, err)
	}
}

// As after a farewell that came too late (close_notify in TLS): the answer was whole, and nothing went wrong.
func TestAResetIsNoErrorWhereTheOtherSideHadEndedOnItsOwn(t *testing.T) {
	client, server, done := start(t, t.Context())
	server.CloseWrite()
	if _, err := io.ReadAll(client); err != nil {
		t.Fatal(err)
	}
	reset(t, server)
	client.Close()
	if r := await(t, done); r.err != nil {
		t.Errorf("got %+v", r)
	}
}

func TestCancellationEndsARelayOfWhichOneWayHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client, server, done := start(t, ctx)
	server.CloseWrite()
	if _, err := io.ReadAll(client); err != nil {
		t.Fatal(err)
	}
	cancel()
	if r := await(t, done); !errors.Is(r.err, context.Canceled) {
		t.Errorf("got %+v", r)
	}
}

// awaitState waits until a connection is in a state of TCP.
func awaitState(t testing.TB, c *net.TCPConn, want uint8) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; runtime.Gosched() {
		var info *unix.TCPInfo
		if err := errors.Join(raw.Control(func(fd uintptr) {
			info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
		}), err); err != nil {
			t.Fatal(err)
		}
		if info.State == want {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the connection is in state %d, not %d", info.State, want)
		}
	}
}
