package relay

import (
	"io"
	"runtime"
	"testing"
	"time"
)

func lentPipes() int {
	pipes.mu.Lock()
	defer pipes.mu.Unlock()
	return pipes.lent
}

func TestARelayThatFellSilentHoldsNoPipe(t *testing.T) {
	client, server, done := start(t, t.Context())
	sum := noise(4 << 20)
	go client.Write(sum)
	if _, err := io.ReadFull(server, make([]byte, len(sum))); err != nil {
		t.Fatal(err)
	}
	// The octets are through before the relay has seen that no more come.
	for until := time.Now().Add(patience); lentPipes() != 0; {
		if time.Now().After(until) {
			t.Fatalf("%d pipes are held by a relay that carries nothing", lentPipes())
		}
		runtime.Gosched()
	}
	pipes.mu.Lock()
	spare := len(pipes.spare)
	pipes.mu.Unlock()
	if spare == 0 {
		t.Error("no pipe was ever used: the test shows nothing")
	}
	client.Close()
	server.Close()
	await(t, done)
}

func TestWithoutPipesTheBytesStillArrive(t *testing.T) {
	pipes.mu.Lock()
	spare := pipes.spare
	pipes.spare = nil
	pipes.mu.Unlock()
	before := pipes.paused.Swap(time.Now().Add(time.Hour).UnixNano())
	defer func() {
		pipes.paused.Store(before)
		pipes.mu.Lock()
		pipes.spare = append(pipes.spare, spare...)
		pipes.mu.Unlock()
	}()
	TestBytesArriveUnchangedBothWaysInBulk(t)
	if n := lentPipes(); n != 0 {
		t.Errorf("%d pipes lent", n)
	}
}

func TestAPipeThatStillHoldsOctetsIsNotUsedAgain(t *testing.T) {
	var p pool
	one := p.get()
	if one == nil {
		t.Skip("no pipe to be had")
	}
	one.held = 1
	p.put(one)
	if len(p.spare) != 0 || p.lent != 0 {
		t.Errorf("%d spare, %d lent", len(p.spare), p.lent)
	}
}
