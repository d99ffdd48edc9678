package httpproxy

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"watertight/route"
)

// told is a log that is read when all is over.
type told struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *told) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestAFaultInARequestOfManyEndsItAloneAndIsTold(t *testing.T) {
	port := serveEcho(t)
	for name, connect := range map[string]func(*testing.T, *proxy) func(host string) bool{
		"HTTP/2": func(t *testing.T, p *proxy) func(string) bool {
			h := p.http2(t)
			return func(host string) bool {
				resp, err := h.RoundTrip(&http.Request{Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: "proxy.example"}, Host: host + ":" + port, Header: http.Header{}})
				if err == nil {
					resp.Body.Close()
				}
				return err == nil && resp.StatusCode == http.StatusOK
			}
		},
		"HTTP/3": func(t *testing.T, p *proxy) func(string) bool {
			dial, _ := p.http3(t, 0, anyNumber)
			c, _ := dial()
			return func(host string) bool {
				s, resp, err := connect3(t, c, host+":"+port, "")
				if err != nil || resp.StatusCode != http.StatusOK {
					return false
				}
				carries3(t, s, "carried")
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var log told
			p := serve(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			p.dialer.failWith(func(r route.Request) error {
				if strings.HasPrefix(r.Target.String(), "faulty") {
					panic(r.Target)
				}
				return nil
			})
			works := connect(t, p)
			if works("faulty.example") {
				t.Error("success is said")
			}
			if text := log.text(); !strings.Contains(text, "panic=name.Target") || !strings.Contains(text, "panic_test.go") || strings.Contains(text, "faulty") {
				t.Errorf("the log has %q", text)
			}
			if !works("sound.example") {
				t.Error("the others on the connection ended with it")
			}
		})
	}
}
