package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a listener without a network, for tests in which time passes.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9053} }

func (m *memory) dial() net.Conn {
	here, there := net.Pipe()
	m.conns <- there
	return here
}

// inMemory serves the commands over a listener in memory, inside a bubble of synctest.
func inMemory(t *testing.T, from Source) *memory {
	l := newMemory()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	s := server(t, from)
	go func() { done <- s.serve(ctx, l, guarded(s.commands()), nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l
}

func TestRequests_WithContentAreRefusedWithoutReadingIt(t *testing.T) {
	for _, field := range []string{"Content-Length: 10000000000", "Content-Length: 1", "Transfer-Encoding: chunked"} {
		synctest.Test(t, func(t *testing.T) {
			conn := inMemory(t, &source{}).dial()
			defer conn.Close()
			begun := time.Now()
			r, _ := exchange(t, conn, "GET /status HTTP/1.1\r\nHost: localhost\r\n"+field+"\r\n\r\n")
			if r.StatusCode != http.StatusRequestEntityTooLarge || !r.Close {
				t.Errorf("%s: %s, closed: %v", field, r.Status, r.Close)
			}
			if waited := time.Since(begun); waited > time.Second {
				t.Errorf("%s: the answer came after %v", field, waited)
			}
		})
	}
}

func TestSlowClients_AreCutOff(t *testing.T) {
	for what, slow := range map[string]struct {
		drip  string
		limit time.Duration
	}{
		"silent":              {"", headerLimit},
		"one octet at a time": {"GET /status HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 1000), headerLimit},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := inMemory(t, &source{}).dial()
				defer conn.Close()
				begun := time.Now()
				var dripping sync.WaitGroup
				defer dripping.Wait()
				dripping.Go(func() {
					for _, octet := range []byte(slow.drip) {
						if _, err := conn.Write([]byte{octet}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				})
				_, _ = io.Copy(io.Discard, conn) // ends when the server closes
				if took := time.Since(begun); took > slow.limit+time.Second {
					t.Errorf("it was served for %v", took)
				}
			})
		})
	}
}

func TestClientsThatDoNotRead_AreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{status: Status{Version: strings.Repeat("x", 1<<20)}}
		conn := inMemory(t, s).dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, get("/status")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(writeLimit + time.Second)
		if got, _ := io.Copy(io.Discard, conn); got >= 1<<20 {
			t.Error("the answer waited for its reader")
		}
	})
}

func TestIdleClients_AreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := inMemory(t, &source{}).dial()
		defer conn.Close()
		begun := time.Now()
		r, _ := exchange(t, conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r.Close {
			t.Error("the connection is not kept")
		}
		_, _ = io.Copy(io.Discard, conn)
		if kept := time.Since(begun); kept < idleLimit || kept > idleLimit+time.Second {
			t.Errorf("it was kept for %v", kept)
		}
	})
}

func TestClients_BeyondTheLimitWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := inMemory(t, &source{})
		first := l.dial()
		for range maxClients - 1 {
			defer l.dial().Close()
		}
		taken := make(chan struct{})
		go func() {
			defer close(taken)
			l.dial().Close()
		}()
		synctest.Wait()
		select {
		case <-taken:
			t.Error("one more was taken")
		default:
		}
		first.Close()
		<-taken
	})
}

func TestReload_MayTakeLongerThanOtherRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{reload: func(ctx context.Context) error {
			select {
			case <-time.After(reloadLimit - time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		conn := inMemory(t, s).dial()
		defer conn.Close()
		if r, body := exchange(t, conn, "POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != http.StatusOK {
			t.Errorf("%s %s", r.Status, body)
		}
	})
}

func TestReload_IsCancelledAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{reload: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("given up")
		}}
		conn := inMemory(t, s).dial()
		defer conn.Close()
		r, body := exchange(t, conn, "POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "given up") {
			t.Errorf("%s %s", r.Status, body)
		}
	})
}

func TestReload_TakesPostOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := inMemory(t, &source{reload: func(context.Context) error { t.Error("it was reloaded"); return nil }}).dial()
		defer conn.Close()
		r, _ := exchange(t, conn, get("/reload"))
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "POST" {
			t.Errorf("%s, Allow: %s", r.Status, r.Header.Get("Allow"))
		}
	})
}

func TestServer_CutsOffWhoDoesNotEndWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newMemory()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s := server(t, &source{})
		go func() { done <- s.serve(ctx, l, guarded(s.commands()), nil) }()
		conn := l.dial()
		defer conn.Close()
		if _, err := io.WriteString(conn, "GET /status HTTP/1.1\r\nHo"); err != nil {
			t.Fatal(err)
		}
		stop()
		begun := time.Now()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > drainLimit+time.Second {
			t.Errorf("it stopped after %v", took)
		}
	})
}

func TestServer_TellsThatItsListenerFailed(t *testing.T) {
	l := newMemory()
	l.Close()
	s := server(t, &source{})
	if err := s.serve(t.Context(), l, guarded(s.admin()), nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("serve: %v", err)
	}
}

func TestServer_TakesTheEndOfItsListenerForOrderlyOnceItIsToldToStop(t *testing.T) {
	l := newMemory()
	l.Close() // whoever tells it to stop may close the listener too
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := server(t, &source{}).serve(ctx, l, guarded(server(t, &source{}).admin()), nil); err != nil {
		t.Errorf("serve: %v", err)
	}
}
