//go:build unix

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"watertight/wire"
)

// running serves the control socket of a source at a path.
func running(t *testing.T, path string, from Source) {
	t.Helper()
	l := listenAt(t, path)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := server(t, from)
	go func() { done <- s.ServeControl(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ServeControl: %v", err)
		}
	})
}

// example has every field set.
func example() Status {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return Status{
		Version: "0.1.0", PID: 1234, Started: at, UptimeSeconds: 7384, Ready: false,
		Listeners: []Listener{{"proxy", "127.0.0.1:8080"}, {"proxy", "[::1]:8080"}, {"admin", "127.0.0.1:9053"}},
		Channels: []Channel{
			{
				Name: "direct", Hops: []string{}, Resolve: "here", Ready: true,
				Resolver: Resolver{
					"race", 2,
					[]Upstream{{Name: "quad9", Protocol: "DoH over HTTP/3", ECH: true, Healthy: true, Queries: 120}, {Name: "https://dns.example/q", LastError: "tls: bad\x1b[31m", Queries: 2, Failures: 1}},
					&DNSSEC{"validate", 10, 3, 1, 0, 12, map[string]string{"38696": "valid"}, "no\x1b[31m"},
				},
				Cache: Cache{Entries: 42, Bytes: 3 << 19, LimitBytes: 16 << 20, Hits: 90, Misses: 10, Stale: 1},
			},
			{
				Name: "office", Over: "direct", Hops: []string{"socks5://u:***@192.0.2.1:1080"}, Resolve: "exit", Reason: "not yet",
				Resolver: Resolver{Upstreams: []Upstream{}},
			},
		},
		Connections: 12, Tunnels: Tunnels{3, 1200},
		Requests:           Requests{1300, map[string]uint64{"POLICY_PLAIN_HTTP": 30, "DNS_NXDOMAIN": 4}, map[string]uint64{"socks": 2}, []Caller{{Process: "node (4711)", UID: new(int), Door: "socks5", Last: at}}},
		DNS:                &DNS{map[string]uint64{"udp": 50, "tls": 20, "tcp": 0}, map[string]uint64{"rate": 9, "slow": 0}, 3, 2, 5},
		TrappedHostLookups: 1,
		Config:             Config{"/etc/watertight/watertight.yaml", at, 2, "watertight.yaml:1:1: no\n    mend it"},
	}
}

func TestFetchStatus_GivesWhatTheProgramTells(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	want := example()
	running(t, path, &source{status: want})
	got, err := FetchStatus(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if n := wire.Trapped(); n != 0 {
		t.Errorf("%d look-ups were trapped", n)
	}
}

func TestReload_GivesTheProgramsErrorsAllOfThem(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	var result error
	running(t, path, &source{reload: func(context.Context) error { return result }})
	if err := Reload(t.Context(), path); err != nil {
		t.Errorf("a reload that went well: %v", err)
	}
	for _, invalid := range []bool{true, false} {
		result = errors.Join(errors.New("a.yaml:1:2: unknown key\n    write it right"), errors.New("a.yaml:9:1: more"))
		want := []string{"a.yaml:1:2: unknown key", "    write it right", "a.yaml:9:1: more"}
		if invalid {
			result = fmt.Errorf("%w\n%w", ErrInvalid, result)
			want = append([]string{ErrInvalid.Error()}, want...)
		}
		err := Reload(t.Context(), path)
		failed, ok := errors.AsType[*ReloadError](err)
		if !ok || !slices.Equal(failed.Lines, want) || failed.Invalid != invalid {
			t.Errorf("a reload that failed: %+v", err)
		}
	}
}

func TestClient_SaysThatNothingRunsAndWhatToDo(t *testing.T) {
	dir := short(t)
	stale := filepath.Join(dir, "stale.sock")
	leaveStale(t, stale)
	for _, path := range []string{stale, filepath.Join(dir, "missing.sock"), filepath.Join(dir, "no", "directory.sock")} {
		_, err := FetchStatus(t.Context(), path)
		if !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "`watertight run`") || strings.Contains(err.Error(), "http:") {
			t.Errorf("FetchStatus: %v", err)
		}
		if err := Reload(t.Context(), path); !errors.Is(err, ErrNotRunning) {
			t.Errorf("Reload: %v", err)
		}
	}
}

func TestClient_SaysThatTheSocketIsAnotherUsers(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may connect to every socket")
	}
	path := filepath.Join(short(t), "s.sock")
	running(t, path, &source{})
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := FetchStatus(t.Context(), path); err == nil || !strings.Contains(err.Error(), "sudo") {
		t.Errorf("FetchStatus: %v", err)
	}
}

func TestClient_TrustsNoAnswer(t *testing.T) {
	for what, answer := range map[string]string{
		"endless":      "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxAnswer+1),
		"no JSON":      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
		"broken off":   "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"a redirect":   "HTTP/1.1 302 Found\r\nLocation: http://attacker.example/\r\nContent-Length: 0\r\n\r\n",
		"another code": "HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\n\x1b[31mwhy\n\n",
		"no HTTP":      "SSH-2.0-x\r\n",
		"long headers": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 10*maxHeader) + "\r\n\r\n{}",
		"nothing":      "",
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(short(t), "s.sock")
			l, err := wire.ListenUnix(path)
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
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer) // the client may have had enough
			}()
			_, err = FetchStatus(t.Context(), path)
			if err == nil || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("FetchStatus: %v", err)
			}
		})
	}
}

func TestClient_GivesUpWhenItIsTold(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	l, err := wire.ListenUnix(path) // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FetchStatus(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("FetchStatus: %v", err)
	}
}
