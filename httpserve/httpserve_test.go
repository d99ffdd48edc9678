package httpserve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory.
type pipes struct {
	conns chan net.Conn
	ended chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.ended:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

// asks sends a request, and gives all that comes back.
func (p *pipes) asks(t *testing.T) <-chan string {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	said := make(chan string, 1)
	go func() {
		_, _ = io.WriteString(ours, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") // it may have ended
		b, _ := io.ReadAll(ours)
		said <- string(b)
	}()
	return said
}

const drain = 2 * time.Second

// slow answers after a while.
func slow(after time.Duration) *http.Server {
	return &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(after):
			_, _ = io.WriteString(w, "whole")
		case <-r.Context().Done():
		}
	})}
}

func TestAServerEndsWithItsContextAndLetsRequestsEnd(t *testing.T) {
	for _, c := range []struct {
		takes, ends time.Duration
		whole       bool
	}{{time.Second, time.Second, true}, {time.Minute, drain, false}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			l := newPipes()
			ended := make(chan error, 1)
			go func() { ended <- Serve(ctx, slow(c.takes), l, drain) }()
			said := l.asks(t)
			synctest.Wait()
			before := time.Now()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if took := time.Since(before); took < c.ends || took > c.ends+time.Second { // a server looks now and then whether all have ended
				t.Errorf("it ended after %v", took)
			}
			if text := <-said; strings.HasSuffix(text, "whole") != c.whole {
				t.Errorf("%q", text)
			}
			select {
			case <-l.ended:
			default:
				t.Error("the listener is open")
			}
		})
	}
}

func TestAListenerThatEndsByItselfIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- Serve(t.Context(), slow(time.Minute), l, drain) }()
		said := l.asks(t)
		synctest.Wait()
		l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-said // the request is cut off
	})
}

func TestAPanicIsToldWithoutWhatWasAskedAndEndsItsRequest(t *testing.T) {
	var none *http.Request
	for name, c := range map[string]struct {
		does func()
		want string
	}{
		"of the runtime":  {func() { _ = none.Host }, "nil pointer dereference"},
		"with a text":     {func() { panic("secret.example") }, "panic=string"},
		"with an error":   {func() { panic(errors.New("secret.example")) }, "panic=*errors.errorString"},
		"that was meant":  {func() { panic(http.ErrAbortHandler) }, ""},
		"with a nothing":  {func() { panic(nil) }, "panic called with nil"},
		"with no reason":  {func() { panic(struct{ name string }{"secret.example"}) }, `panic="struct `},
		"of a comparison": {func() { panic([]string{"secret.example"}) }, "panic=[]string"},
	} {
		t.Run(name, func(t *testing.T) {
			var told bytes.Buffer
			h := Contain(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { c.does() }), slog.New(slog.NewTextHandler(&told, nil)))
			defer func() {
				if v := recover(); v != http.ErrAbortHandler {
					t.Errorf("the server hears %v", v)
				}
				text := told.String()
				if strings.Contains(text, "secret") || (text == "") != (c.want == "") || !strings.Contains(text, c.want) || c.want != "" && !strings.Contains(text, "httpserve_test.go") {
					t.Errorf("%q is not in %s", c.want, text)
				}
			}()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://secret.example/", nil))
		})
	}
}

func TestARequestThatGoesWellIsLeftAlone(t *testing.T) {
	rw := httptest.NewRecorder()
	Contain(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), slog.New(slog.DiscardHandler)).
		ServeHTTP(rw, httptest.NewRequest(http.MethodGet, "/", nil))
	if rw.Code != http.StatusTeapot {
		t.Error(rw.Code)
	}
}
