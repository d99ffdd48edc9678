package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/event"
	"watertight/fault"
)

// logging runs a log in a bubble of synctest; end stops it and gives what it wrote.
func logging(t *testing.T) (l *Log, end func() string) {
	t.Helper()
	var out bytes.Buffer
	l, err := New(slog.New(slog.NewTextHandler(&out, nil)), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	return l, func() string {
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return out.String()
	}
}

var rubbish = &event.Request{Door: event.DoorHTTP, Code: fault.BadRequest}

func TestAClientThatSendsRubbishAtSpeed_DoesNotFillTheLog_AndTheRestIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for range 10_000 {
			l.Request(rubbish)
		}
		l.Request(refused) // of another code: rubbish hides nobody's refusal
		time.Sleep(interval)
		for range 10_000 {
			l.Request(rubbish)
		}
		said := end()
		if n := strings.Count(said, "msg=refused"); n != burst+1+1 {
			t.Errorf("%d lines, want %d at once, one a second later and one of another code", n, burst)
		}
		if !strings.Contains(said, "code=DNS_NXDOMAIN") {
			t.Error("the refusal of another code is missing")
		}
		for _, want := range []string{fmt.Sprintf("left_out=%d", 10_000-burst), `msg="lines were left out" of=BAD_REQUEST left_out=9999`} {
			if strings.Count(said, want) != 1 {
				t.Errorf("%q is not told once:\n%s", want, said)
			}
		}
	})
}

func TestWhatWasLeftOut_IsToldThoughNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for range burst + 3 {
			l.Request(rubbish)
		}
		time.Sleep(summary + 1)
		l.Request(rubbish) // it has been told already
		said := end()
		if strings.Count(said, "left_out=") != 1 || !strings.Contains(said, "of=BAD_REQUEST left_out=3") {
			t.Errorf("the count:\n%s", said)
		}
	})
}

func TestRefusalsAtAnOrdinaryPace_AreAllWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for range 1000 {
			l.Request(rubbish)
			time.Sleep(interval)
		}
		if said := end(); strings.Count(said, "msg=refused") != 1000 || strings.Contains(said, "left_out") {
			t.Errorf("%d lines", strings.Count(said, "\n"))
		}
	})
}

func TestASparingLogger_WritesAsMuchOfEachMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for i := range 1000 {
			l.Sparing().Info("turned away", "n", i)
			l.Sparing().With("a", 1).WithGroup("g").Info("turned away", "n", i)
		}
		l.Sparing().Error("another")
		said := end()
		if n := strings.Count(said, "msg=\"turned away\""); n != burst {
			t.Errorf("%d lines, want %d", n, burst)
		}
		for _, want := range []string{"msg=another", "a=1 g.n=", fmt.Sprintf("of=\"turned away\" left_out=%d", 2000-burst)} {
			if !strings.Contains(said, want) {
				t.Errorf("%q is missing:\n%s", want, said)
			}
		}
	})
}

func TestMessagesWithoutEnd_ShareOnePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for i := range 10_000 {
			l.Sparing().Info(fmt.Sprintf("message %d", i))
		}
		if n := strings.Count(end(), "msg=\"message"); n != maxKinds+burst {
			t.Errorf("%d lines, want %d", n, maxKinds+burst)
		}
		if n := len(l.paces.messages); n != maxKinds+1 {
			t.Errorf("%d messages are remembered", n)
		}
	})
}

func TestASparingLogger_TellsWithTheNextLineWhatWasLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, end := logging(t)
		for range burst + 7 {
			l.Sparing().Info("turned away")
		}
		time.Sleep(interval)
		l.Sparing().Info("turned away", "last", true)
		if said := end(); !strings.Contains(said, "last=true left_out=7") || strings.Count(said, "left_out") != 1 {
			t.Errorf("the count:\n%s", said)
		}
	})
}

func TestTheCountOfALineThatIsDropped_IsToldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l, err := New(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), false)
		if err != nil {
			t.Fatal(err)
		}
		for range backlog { // nobody reads, and nothing more fits
			l.Tunnel(&event.Tunnel{Door: event.DoorHTTP})
		}
		for range burst + 7 {
			l.Request(rubbish)
		}
		time.Sleep(interval)
		l.Request(rubbish) // it would tell of the 7
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "of=BAD_REQUEST left_out=7") {
			t.Error("the count is lost")
		}
	})
}
