//go:build unix

package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// hangUpPair is the two ends of a connection over loopback.
func hangUpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func TestAClientThatHangsUpEndsWhatIsDoneForIt(t *testing.T) {
	for _, reset := range []bool{false, true} {
		client, server := hangUpPair(t)
		ctx, stop := WatchHangUp(t.Context(), server)
		if reset {
			client.SetLinger(0)
		}
		client.Close()
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Second):
			t.Fatalf("reset %v: nobody noticed", reset)
		}
		if err := context.Cause(ctx); !errors.Is(err, ErrHungUp) {
			t.Errorf("reset %v: the cause is %v", reset, err)
		}
		stop()
	}
}

func TestAWatchTakesNoOctetsAndLeavesNoDeadline(t *testing.T) {
	client, server := hangUpPair(t)
	for i := range 300 {
		var after time.Duration // the watch begins at once, while it is stopped, or never
		if i%3 == 0 {
			after = time.Hour
		}
		ctx, stop := watchHangUp(t.Context(), server, after)
		if i%2 == 0 {
			client.Write([]byte{byte(i)})
		}
		stop()
		if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("%d: the cause is %v", i, err)
		}
		if i%2 == 1 {
			client.Write([]byte{byte(i)})
		}
		var b [1]byte
		if _, err := io.ReadFull(server, b[:]); err != nil || b[0] != byte(i) {
			t.Fatalf("%d: %v %v", i, b, err)
		}
	}
}

func TestAClientThatSentSomethingAheadIsNotTakenForGone(t *testing.T) {
	client, server := hangUpPair(t)
	io.WriteString(client, "ahead")
	client.CloseWrite()
	if awaitHangUp(server) {
		t.Error("it still waits for its answer")
	}
	if got, err := io.ReadAll(server); string(got) != "ahead" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if !awaitHangUp(server) {
		t.Error("the end was not noticed")
	}
}
