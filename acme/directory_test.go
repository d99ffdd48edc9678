package acme

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestADirectoryLeadsToNoOtherHost(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Elsewhere = "inside.example:8443"
		w.run()
		w.after(time.Minute)
		if slices.ContainsFunc(w.dialled, func(to string) bool { return to != "ca.example:443" }) || len(w.dialled) == 0 {
			t.Errorf("%v were dialled", w.dialled)
		}
		if !strings.Contains(w.log.String(), "leads to another host") {
			t.Errorf("%s", &w.log)
		}
	})
}

func TestADirectoryIsNotLeftByARedirect(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Refuse = func(rw http.ResponseWriter, r *http.Request) bool {
			http.Redirect(rw, r, "https://inside.example/dir", http.StatusFound)
			return true
		}
		w.run()
		w.after(2 * time.Minute)
		if slices.ContainsFunc(w.dialled, func(to string) bool { return to != "ca.example:443" }) || w.m.Status()[0].Failures == 0 {
			t.Errorf("%v were dialled", w.dialled)
		}
	})
}

func TestADirectoryHasToProveWhoItIs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setting.Roots = w.authority.Pool()
		w.run()
		w.after(time.Minute)
		if _, _, all := w.authority.Account(); all != 0 || w.shown() != nil || !strings.Contains(w.log.String(), "certificate signed by unknown authority") {
			t.Errorf("%s", &w.log)
		}
	})
}

func TestAnAnswerOfAnAuthorityHasALimit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.authority.Refuse = func(rw http.ResponseWriter, _ *http.Request) bool {
			rw.WriteHeader(http.StatusForbidden)
			for range 3 * maxAnswer / 1024 {
				if _, err := rw.Write(make([]byte, 1024)); err != nil {
					return true
				}
			}
			return true
		}
		w.run()
		w.after(time.Minute)
		if s := w.m.Status()[0]; s.Failures == 0 || len(s.LastError) > 2000 {
			t.Errorf("%+v", s)
		}
	})
}

func TestANonceThatTheAuthorityDoesNotTakeIsReplacedAtOnce(t *testing.T) { // RFC 8555, section 6.5
	inWorld(t, func(w *world) {
		var posts, refused int
		w.authority.Refuse = func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			if posts++; posts%6 == 0 {
				return false
			}
			refused++
			rw.Header().Set("Content-Type", "application/problem+json")
			rw.Header().Set("Replay-Nonce", "stale")
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = rw.Write([]byte(`{"type": "urn:ietf:params:acme:error:badNonce", "status": 400}`))
			return true
		}
		w.run()
		w.after(time.Minute)
		if s := w.m.Status(); w.shown() == nil || s[0].Failures != 0 || refused < 5 {
			t.Errorf("%+v after %d refusals\n%s", s, refused, &w.log)
		}
	})
}
