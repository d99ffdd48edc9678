package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"watertight/name"
)

func TestACertificateIsObtainedByTheDialFunctionAloneAndShown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setting.Email, w.setting.KeyID, w.setting.MAC = "admin@example.net", "external", []byte("a secret of sixteen")
		w.run()
		w.after(time.Minute)
		c := w.shown()
		if c == nil {
			t.Fatalf("none is shown\n%s", &w.log)
		}
		if !slices.Equal(c.DNSNames, []string{host, other}) {
			t.Error(c.DNSNames)
		}
		for _, to := range w.dialled {
			if to != "ca.example:443" {
				t.Errorf("%s was dialled", to)
			}
		}
		if contacts, bound, all := w.authority.Account(); !slices.Equal(contacts, []string{"mailto:admin@example.net"}) || bound != "external" || all != 1 {
			t.Errorf("%v %q %d", contacts, bound, all)
		}
		if s := w.m.Status(); len(s) != 1 || !s[0].NotAfter.Equal(c.NotAfter) || s[0].Failures != 0 || s[0].LastError != "" || !s[0].Next.Before(c.NotAfter) {
			t.Errorf("%+v", s)
		}
		if text := w.log.String(); strings.Contains(text, "PRIVATE") || strings.Contains(text, "a secret") {
			t.Errorf("the log tells too much\n%s", text)
		}
	})
}

func TestByHTTPAnswersAreGivenWhileTheyAreAskedForOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setting.HTTP = true
		w.run()
		w.after(time.Minute)
		if w.shown() == nil {
			t.Fatalf("none is shown\n%s", &w.log)
		}
		for _, path := range []string{"/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/token-0-0", "/status"} {
			r := httptest.NewRecorder()
			w.m.answers.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
			if r.Code != http.StatusNotFound || strings.Contains(r.Body.String(), "token") {
				t.Errorf("%s: %d %s", path, r.Code, r.Body)
			}
		}
	})
}

func TestAListenerWithoutACertificateRefusesHandshakesAndSaysWhy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setting.Await = func(context.Context) error { return errors.New("channel far is not ready") }
		w.run()
		w.after(time.Second)
		for range 50 {
			if w.shown() != nil {
				t.Fatal("a certificate from nowhere")
			}
		}
		if n := strings.Count(w.log.String(), "a handshake was refused"); n != 1 || !strings.Contains(w.log.String(), "channel far is not ready") || !strings.Contains(w.log.String(), "next=2000-01-01T") {
			t.Errorf("%d lines\n%s", n, &w.log)
		}
		if len(w.dialled) > 0 {
			t.Errorf("%v were dialled", w.dialled)
		}
		w.after(time.Hour)
		if w.shown() != nil || strings.Count(w.log.String(), "a handshake was refused") != 2 || strings.Count(w.log.String(), "is not asked for yet") != 1 {
			t.Errorf("%s", &w.log)
		}
	})
}

func TestACertificateIsRenewedBeforeItEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Life = 9 * 24 * time.Hour
		w.run()
		w.after(time.Minute)
		first := w.shown()
		seen := map[string]bool{}
		for range 40 {
			w.after(24 * time.Hour)
			c := w.shown()
			if c == nil {
				t.Fatalf("none is shown\n%s", &w.log)
			}
			if left := time.Until(c.NotAfter); left < 2*24*time.Hour {
				t.Errorf("it ends in %v", left)
			}
			seen[c.SerialNumber.String()] = true
		}
		if n := len(w.authority.Begun()); n < 6 || n > 8 || len(seen) < 6 {
			t.Errorf("%d orders in 40 days, %d certificates", n, len(seen))
		}
		if w.shown().PublicKey == first.PublicKey {
			t.Error("the key is the same")
		}
		if _, _, all := w.authority.Account(); all != 1 {
			t.Errorf("%d accounts", all)
		}
	})
}

func TestWhatIsKeptIsShownByTheNextRunWithoutAQuestion(t *testing.T) {
	inWorld(t, func(w *world) {
		w.run()
		w.after(time.Minute)
		first := w.shown()
		w.stop()
		before := len(w.dialled)
		w.run()
		if c := w.shown(); c == nil || !c.Equal(first) {
			t.Errorf("%v", c)
		}
		w.after(time.Hour)
		if len(w.dialled) != before {
			t.Error("the authority was asked again")
		}
		w.stop()
		w.after(91 * 24 * time.Hour)
		w.authority.Refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return true
		}
		w.run()
		if w.shown() != nil {
			t.Error("a certificate is shown that has ended")
		}
		if !strings.Contains(w.log.String(), "it ended at 2000-03-31") {
			t.Errorf("%s", &w.log)
		}
	})
}

func TestAfterFailuresTheAuthorityIsAskedLessAndLess(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Validate = func(string, string, string, string) error { return errors.New("connection\nrefused") }
		w.run()
		w.after(48 * time.Hour)
		begun := w.authority.Begun()
		if len(begun) < 8 || len(begun) > 14 {
			t.Errorf("%d orders in two days", len(begun))
		}
		for i := 1; i < len(begun); i++ {
			if gap := begun[i].Sub(begun[i-1]); gap < floor || gap > mostBackOff*3/2 || i > 1 && i < 5 && gap < 2*begun[i-1].Sub(begun[i-2]) {
				t.Errorf("%v between %d and %d", gap, i-1, i)
			}
		}
		s := w.m.Status()[0]
		if s.Failures != len(begun) || !strings.Contains(s.LastError, "connection refused") || !s.Next.After(time.Now()) {
			t.Errorf("%+v", s)
		}
		w.authority.Validate = w.validate
		if err := w.m.Set(w.setting); err != nil { // a reload
			t.Fatal(err)
		}
		w.after(2 * time.Minute)
		if w.shown() == nil || w.m.Status()[0].LastError != "" {
			t.Errorf("a reload does not have it tried soon: %+v", w.m.Status())
		}
	})
}

func TestStartsInALoopDoNotAskTheAuthorityMoreOften(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Validate = func(string, string, string, string) error { return errors.New("no") }
		for range 300 {
			w.run()
			w.after(10 * time.Second)
		}
		if n := len(w.authority.Begun()); n < 2 || n > 4 {
			t.Errorf("%d orders in %d minutes of starts", n, 50)
		}
		_ = w.m.Set(nil)
		for range 10 {
			if err := w.m.Set(w.setting); err != nil {
				t.Fatal(err)
			}
			w.after(time.Second)
		}
		if n := len(w.authority.Begun()); n > 5 {
			t.Errorf("%d orders after reloads", n)
		}
	})
}

func TestAnAuthorityThatSaysWhenToComeIsHeard(t *testing.T) {
	inWorld(t, func(w *world) {
		var asked atomic.Int64
		w.authority.Refuse = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/order" {
				return false
			}
			asked.Add(1)
			rw.Header().Set("Retry-After", "36000")
			rw.Header().Set("Content-Type", "application/problem+json")
			rw.WriteHeader(http.StatusTooManyRequests)
			_ = json.NewEncoder(rw).Encode(map[string]any{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many", "status": 429})
			return true
		}
		w.run()
		w.after(9 * time.Hour)
		if err := w.m.Set(w.setting); err != nil {
			t.Fatal(err)
		}
		w.after(30 * time.Minute)
		if asked.Load() != 1 {
			t.Errorf("it was asked %d times in nine hours", asked.Load())
		}
		w.after(time.Hour)
		if asked.Load() != 2 {
			t.Errorf("it was asked %d times in eleven hours", asked.Load())
		}
	})
}

func TestWhatCannotBeKeptIsNotAskedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.store.set(func(s *store) { s.full = true })
		w.run()
		w.after(time.Hour)
		if len(w.dialled) > 0 || w.shown() != nil || !strings.Contains(w.log.String(), "no space left") {
			t.Errorf("%v\n%s", w.dialled, &w.log)
		}
		w.store.set(func(s *store) { s.full = false })
		w.after(3 * time.Minute)
		if w.shown() == nil {
			t.Errorf("%s", &w.log)
		}
	})
}

func TestOfTwoProgramsOneAsksAndTheOtherShowsWhatItKept(t *testing.T) {
	inWorld(t, func(w *world) {
		w.store.set(func(s *store) { s.locked = true })
		w.run()
		w.after(10 * time.Minute)
		if len(w.dialled) > 0 || !strings.Contains(w.log.String(), "another program") {
			t.Fatalf("%v were dialled\n%s", w.dialled, &w.log)
		}
		second := w.m
		w.store.set(func(s *store) { s.locked = false })
		listener := w.listener
		one := &world{t: t, authority: w.authority, store: w.store, setting: w.setting}
		w.authority.Validate = one.validate
		w.store.set(func(s *store) { s.locked = false })
		one.run()
		one.after(5 * time.Second)
		one.stop()
		w.store.set(func(s *store) { s.locked = true })
		w.m, w.listener = second, listener
		w.after(2 * time.Minute)
		if w.shown() == nil {
			t.Errorf("%s", &w.log)
		}
		if n := len(w.authority.Begun()); n != 1 {
			t.Errorf("%d orders", n)
		}
		if s := w.m.Status()[0]; s.LastError != "" {
			t.Errorf("%+v", s)
		}
		w.store.set(func(s *store) { s.locked = false })
	})
}

func TestAnotherSettingEndsWhatIsUnderWay(t *testing.T) {
	inWorld(t, func(w *world) {
		begun := make(chan struct{})
		w.setting.Await = func(ctx context.Context) error {
			select {
			case begun <- struct{}{}:
			default:
			}
			<-ctx.Done()
			return ctx.Err()
		}
		w.run()
		<-begun
		next := *w.setting
		next.Names = [][]string{{host}}
		next.Await = func(context.Context) error { return nil }
		if err := w.m.Set(&next); err != nil {
			t.Fatal(err)
		}
		w.after(time.Second)
		if s := w.m.Status(); len(s) != 1 || len(s[0].Names) != 1 || s[0].NotAfter.IsZero() {
			t.Errorf("%+v\n%s", s, &w.log)
		}
		if w.shown() != nil {
			t.Error("a listener of names that are not in force shows a certificate")
		}
	})
}

func TestAnotherWayEndsWhatIsUnderWayByTheFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setting.Way = "first"
		w.authority.Validate = func(kind, name, token, answer string) error {
			time.Sleep(time.Second)
			return w.validate(kind, name, token, answer)
		}
		w.run()
		w.after(time.Second / 2)
		next := *w.setting
		next.Way = "second"
		next.Dial = func(context.Context, name.Target) (net.Conn, error) { return nil, errors.New("the second is dead") }
		if err := w.m.Set(&next); err != nil {
			t.Fatal(err)
		}
		w.after(10 * time.Minute)
		if s := w.m.Status()[0]; !s.NotAfter.IsZero() || !strings.Contains(s.LastError, "the second is dead") {
			t.Errorf("%+v", s)
		}
	})
}

func TestAValidationIsAnsweredOnlyWhileItIsUnderWayAndNeverOverQUIC(t *testing.T) {
	var a answers
	hello := &tls.ClientHelloInfo{ServerName: "Proxy.Example.net", SupportedProtos: []string{Protocol}}
	if _, err := a.configFor(hello); !errors.Is(err, errNoValidation) {
		t.Errorf("before: %v", err)
	}
	done := a.forName(host, &tls.Certificate{})
	if c, err := a.configFor(hello); err != nil || !IsAnswer(c) {
		t.Errorf("%v, %v", c, err)
	}
	for _, other := range []*tls.ClientHelloInfo{
		{ServerName: "elsewhere.example.net", SupportedProtos: hello.SupportedProtos},
		{ServerName: host, SupportedProtos: hello.SupportedProtos, Extensions: []uint16{16, quicParameters}},
	} {
		if _, err := a.configFor(other); !errors.Is(err, errNoValidation) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	for _, protos := range [][]string{nil, {"h2"}, {"h2", Protocol}, {Protocol, "h2"}} {
		if c, err := a.configFor(&tls.ClientHelloInfo{ServerName: host, SupportedProtos: protos}); c != nil || err != nil {
			t.Errorf("%v: %v, %v", protos, c, err)
		}
	}
	done()
	if _, err := a.configFor(hello); !errors.Is(err, errNoValidation) {
		t.Errorf("after: %v", err)
	}
}

func TestASettingThatCouldNotWorkIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.run()
		for name, change := range map[string]func(*Setting){
			"http":      func(s *Setting) { s.Directory = "http://ca.example/dir" },
			"no store":  func(s *Setting) { s.Store = nil },
			"no dial":   func(s *Setting) { s.Dial = nil },
			"no await":  func(s *Setting) { s.Await = nil },
			"no name":   func(s *Setting) { s.Names = [][]string{{}} },
			"many":      func(s *Setting) { s.Names = [][]string{make([]string, MaxNames+1)} },
			"half bind": func(s *Setting) { s.KeyID = "x" },
		} {
			s := *w.setting
			change(&s)
			if err := w.m.Set(&s); err == nil {
				t.Errorf("%s: it is taken", name)
			}
		}
	})
	if _, err := New(nil); err == nil {
		t.Error("a manager without a log")
	}
}
