package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"watertight/name"
)

// hook is a server that notes what it is told, and answers with the statuses of its list, the last one for ever.
type hook struct {
	t        *testing.T
	server   *httptest.Server
	statuses []int

	mu    sync.Mutex
	asked []*http.Request
	told  []string
	came  chan struct{}

	dialled []string
	refuse  error
}

func newHook(t *testing.T, statuses ...int) *hook {
	t.Helper()
	h := &hook{t: t, statuses: statuses, came: make(chan struct{}, 100)}
	h.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked, h.told = append(h.asked, r), append(h.told, string(body))
		status := h.statuses[min(len(h.asked), len(h.statuses))-1]
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "https://elsewhere.example.net/")
		}
		w.WriteHeader(status)
		h.came <- struct{}{}
	}))
	h.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	t.Cleanup(h.server.Close)
	return h
}

// to is the server as it is configured: by a name, which the test's dial function alone knows.
func (h *hook) to() Server {
	roots := x509.NewCertPool()
	roots.AddCert(h.server.Certificate())
	return Server{URL: "https://example.com/secret-path", Fields: []Field{{"Authorization", "Bearer hunter2"}}, Roots: roots, Dial: func(_ context.Context, t name.Target) (net.Conn, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.dialled = append(h.dialled, t.String())
		if h.refuse != nil {
			return nil, h.refuse
		}
		return net.Dial("tcp", h.server.Listener.Addr().String())
	}}
}

// telling runs a teller whose pauses are none.
func telling(t *testing.T) (*Teller, *bytes.Buffer, func()) {
	t.Helper()
	var log bytes.Buffer
	teller, err := New(slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	teller.pauses = make([]time.Duration, len(teller.pauses))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		teller.Run(ctx)
	}()
	return teller, &log, func() { stop(); <-ended }
}

func TestAServerIsToldOverTheGivenWayAndNoOther(t *testing.T) {
	h := newHook(t, http.StatusNoContent)
	teller, log, stop := telling(t)
	if err := teller.Tell(h.to(), []byte(`{"verdict":"leak"}`)); err != nil {
		t.Fatal(err)
	}
	<-h.came
	stop()
	r := h.asked[0]
	if r.Method != http.MethodPost || r.URL.Path != "/secret-path" || r.Host != "example.com" || r.Header.Get("Authorization") != "Bearer hunter2" || r.Header.Get("Content-Type") != "application/json" || h.told[0] != `{"verdict":"leak"}` {
		t.Errorf("%+v %q", r, h.told)
	}
	if len(h.dialled) != 1 || h.dialled[0] != "example.com:443" || teller.Failed() != 0 || log.Len() > 0 {
		t.Errorf("%v, %d failures, %s", h.dialled, teller.Failed(), log)
	}
}

func TestWhatCannotBeToldIsTriedAFewTimes(t *testing.T) {
	h := newHook(t, http.StatusBadGateway, http.StatusTooManyRequests, http.StatusOK)
	teller, _, stop := telling(t)
	if err := teller.Tell(h.to(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-h.came
	}
	if err := teller.Tell(h.to(), []byte("[]")); err != nil {
		t.Fatal(err)
	}
	<-h.came
	stop()
	if strings.Join(h.told, " ") != "{} {} {} []" || teller.Failed() != 0 {
		t.Errorf("%v, %d failures", h.told, teller.Failed())
	}
}

// gaveUp waits until a message is given up.
func gaveUp(t *testing.T, teller *Teller) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); teller.Failed() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it does not come to an end")
		}
	}
}

func TestWhatIsGivenUpIsCountedAndToldWithoutASecret(t *testing.T) {
	for status, times := range map[int]int{http.StatusServiceUnavailable: len(patience()), http.StatusForbidden: 1, http.StatusFound: 1} {
		h := newHook(t, status)
		teller, log, stop := telling(t)
		if err := teller.Tell(h.to(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		gaveUp(t, teller)
		stop()
		if len(h.asked) != times || len(h.dialled) != times {
			t.Errorf("%d: asked %d times, dialled %v", status, len(h.asked), h.dialled)
		}
		if text := log.String(); !strings.Contains(text, "could not be told") || strings.Contains(text, "hunter2") || strings.Contains(text, "secret-path") {
			t.Errorf("%d: the log says %s", status, text)
		}
	}
	h := newHook(t, http.StatusOK)
	h.refuse = errors.New("the channel is not ready")
	teller, log, stop := telling(t)
	if err := teller.Tell(h.to(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	gaveUp(t, teller)
	stop()
	if text := log.String(); !strings.Contains(text, "the channel is not ready") || strings.Contains(text, "secret-path") || len(h.dialled) != len(patience()) {
		t.Errorf("%v %s", h.dialled, text)
	}
}

func TestAServerThatDoesNotProveWhoItIsIsToldNothing(t *testing.T) {
	h := newHook(t, http.StatusOK)
	teller, log, stop := telling(t)
	to := h.to()
	to.Roots = x509.NewCertPool()
	if err := teller.Tell(to, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	gaveUp(t, teller)
	stop()
	if len(h.asked) != 0 || !strings.Contains(log.String(), "certificate") {
		t.Errorf("%v %s", h.asked, log)
	}
}

func TestTheQueueIsBoundedAndTheOldestGoes(t *testing.T) {
	h := newHook(t, http.StatusOK)
	teller, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i := range queue + 3 {
		if err := teller.Tell(h.to(), []byte{'0' + byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if m := <-teller.waits; teller.Failed() != 3 || string(m.body) != "3" || len(teller.waits) != queue-1 {
		t.Errorf("%d given up, the next is %q", teller.Failed(), m.body)
	}
}

func TestWhatCouldNotBeToldIsRefused(t *testing.T) {
	h := newHook(t, http.StatusOK)
	teller, err := New(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	plain, nowhere := h.to(), h.to()
	plain.URL, nowhere.Dial = "http://example.com/", nil
	for _, bad := range []Server{plain, nowhere} {
		if err := teller.Tell(bad, nil); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if err := teller.Tell(h.to(), make([]byte, MaxBody+1)); err == nil {
		t.Error("a message that is too long is taken")
	}
	if _, err := New(nil); err == nil {
		t.Error("it takes no log for one")
	}
}
