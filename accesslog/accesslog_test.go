package accesslog

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/client"
	"watertight/event"
	"watertight/fault"
	"watertight/name"
)

// written gives the lines that a log at level writes about what report reports.
func written(t *testing.T, level slog.Level, names bool, report func(event.Sink)) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	l, err := New(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level})), names)
	if err != nil {
		t.Fatal(err)
	}
	report(l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for text := range strings.Lines(out.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, line)
	}
	return lines
}

var refused = &event.Request{
	Door: event.DoorSOCKS5, Client: netip.MustParseAddrPort("127.0.0.1:4242"), Target: name.Must("api.example.com:8443"),
	Identity: client.Identity{User: "alice", Session: "k3v9"}, Channel: "office", Code: fault.DNSNXDomain, Took: 3 * time.Millisecond,
}

func everything(s event.Sink) {
	s.Request(refused)
	s.Request(&event.Request{Door: event.DoorCONNECT, Target: name.Must("api.example.com:443"), Channel: "direct"})
	s.Request(&event.Request{Door: event.DoorHTTP, Target: name.Must("192.0.2.7:443"), Code: fault.PolicyClientResolved, ClientResolved: true})
	s.Tunnel(&event.Tunnel{Door: event.DoorCONNECT, Up: 10, Down: 20, Took: time.Second})
	s.Lookup(&event.Lookup{Channel: "direct", Upstream: "quad9", Type: "AAAA", RCode: "NOERROR", Took: time.Millisecond})
}

func TestNew_RefusesANilLogger(t *testing.T) {
	if _, err := New(nil, false); err == nil {
		t.Error("a nil logger was taken")
	}
}

func TestRefusal_IsWrittenAtInfoWithItsReason(t *testing.T) {
	lines := written(t, slog.LevelInfo, false, func(s event.Sink) { s.Request(refused) })
	if len(lines) != 1 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for key, value := range map[string]any{
		"level": "INFO", "msg": "refused", "door": "socks5", "code": "DNS_NXDOMAIN", "channel": "office",
		"client": "127.0.0.1:4242", "port": 8443.0, "took": 3e6,
	} {
		if lines[0][key] != value {
			t.Errorf("%s is %v, want %v", key, lines[0][key], value)
		}
	}
}

func TestSuccess_IsWrittenAtDebugOnly(t *testing.T) {
	if lines := written(t, slog.LevelInfo, true, everything); len(lines) != 2 {
		t.Errorf("at level info, the log tells more than the refusals: %v", lines)
	}
	lines := written(t, slog.LevelDebug, true, everything)
	if len(lines) != 5 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	if lines[1]["msg"] != "request" || lines[1]["level"] != "DEBUG" || lines[1]["code"] != nil {
		t.Errorf("a request that went well: %v", lines[1])
	}
	if lines[3]["up"] != 10.0 || lines[3]["down"] != 20.0 {
		t.Errorf("the end of a tunnel: %v", lines[3])
	}
	if lines[4]["result"] != "NOERROR" || lines[4]["upstream"] != "quad9" || lines[4]["type"] != "AAAA" {
		t.Errorf("a look-up: %v", lines[4])
	}
}

func TestTargetsAndUsers_AreHiddenAtEveryLevelUnlessNamesAreOn(t *testing.T) {
	for _, names := range []bool{false, true} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
			text, err := json.Marshal(written(t, level, names, everything))
			if err != nil {
				t.Fatal(err)
			}
			for _, target := range []string{"api.example.com", "192.0.2.7", "alice-session-k3v9"} {
				if strings.Contains(string(text), target) != names {
					t.Errorf("names: %v, level %v: %s", names, level, text)
				}
			}
		}
	}
}

func TestSetNames_HoldsFromTheNextRequestOn(t *testing.T) {
	lines := written(t, slog.LevelInfo, true, func(s event.Sink) {
		s.Request(refused)
		s.(*Log).SetNames(false)
		s.Request(refused)
	})
	if lines[0]["target"] != "api.example.com:8443" || lines[1]["target"] != nil {
		t.Errorf("lines: %v", lines)
	}
}

func TestClientResolved_IsMarked(t *testing.T) {
	lines := written(t, slog.LevelInfo, false, everything)
	if lines[0]["client_resolved"] != nil || lines[1]["client_resolved"] != true {
		t.Errorf("the marks are wrong: %v", lines)
	}
}

func TestFaultOfTheProgram_IsWrittenAtError(t *testing.T) {
	lines := written(t, slog.LevelError, false, func(s event.Sink) {
		s.Request(&event.Request{Door: event.DoorHTTP, Code: fault.Internal})
		s.Request(refused)
	})
	if len(lines) != 1 || lines[0]["code"] != "INTERNAL" {
		t.Errorf("lines: %v", lines)
	}
}

func TestLine_CannotBeForgedByAName(t *testing.T) {
	var out bytes.Buffer
	l, err := New(slog.New(slog.NewTextHandler(&out, nil)), true)
	if err != nil {
		t.Fatal(err)
	}
	l.Request(&event.Request{Door: event.DoorHTTP, Channel: "a\nlevel=ERROR msg=forged", Code: fault.Limit})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, &out)
	}
}

// stuck is a handler that nobody reads.
type stuck struct {
	slog.Handler
	free chan struct{}
}

func (s stuck) Handle(ctx context.Context, r slog.Record) error {
	<-s.free
	return s.Handler.Handle(ctx, r)
}

func TestReporter_NeverWaitsForAStuckLogAndTheLossIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := stuck{slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), make(chan struct{})}
		l, err := New(slog.New(h), false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		ended := &event.Tunnel{Door: event.DoorCONNECT}
		l.Tunnel(ended)
		synctest.Wait() // the writer holds this one
		for range backlog + 5 {
			l.Tunnel(ended) // a wait here would be a deadlock, which synctest reports
		}
		close(h.free)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(out.String(), "\n"); n != backlog+1 {
			t.Errorf("%d lines were written, want %d", n, backlog+1)
		}
		if !strings.Contains(out.String(), `"lines_dropped":5`) {
			t.Error("the loss is not told")
		}
	})
}

func TestReporting_DoesNotAllocate(t *testing.T) {
	quiet, err := New(slog.New(slog.NewTextHandler(new(bytes.Buffer), nil)), false)
	if err != nil {
		t.Fatal(err)
	}
	ok := &event.Request{Door: event.DoorCONNECT, Target: name.Must("api.example.com:443")}
	if n := testing.AllocsPerRun(100, func() { quiet.Request(ok); quiet.Request(refused) }); n != 0 {
		t.Errorf("%v allocations for each round", n)
	}
}
