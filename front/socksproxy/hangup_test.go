package socksproxy

import (
	"context"
	"testing"
	"time"
)

func TestAClientThatHangsUpEndsTheDialForIt(t *testing.T) {
	for _, request := range []string{"\x05\x01\x00" + request5Name, "\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00"} {
		ended := make(chan struct{})
		conn := open(t, &inside{hold: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				close(ended)
			case <-t.Context().Done(): // the test has failed
			}
			return context.Canceled
		}}, 1)
		send(t, conn, request)
		conn.Close()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the dial goes on")
		}
	}
}

func TestASlowDialStillGivesATunnel(t *testing.T) {
	through := make(chan struct{})
	in := &inside{origin: echoOrigin(t), hold: func(context.Context) error { <-through; return nil }}
	conn := open(t, in, 1)
	send(t, conn, "\x05\x01\x00"+request5Name)
	expect(t, conn, "\x05\x00")

	// When this client's end was noticed, the other is watched too.
	noticed := make(chan struct{})
	gone := open(t, &inside{hold: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case <-t.Context().Done():
		}
		close(noticed)
		return context.Canceled
	}}, 1)
	send(t, gone, "\x05\x01\x00"+request5Name)
	gone.Close()
	<-noticed

	close(through)
	expect(t, conn, granted5)
	send(t, conn, "to and fro")
	expect(t, conn, "to and fro")
	conn.Close()
}
