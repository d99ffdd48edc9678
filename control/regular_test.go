package control

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/leaktest/history"
	"watertight/leaktest/regular"
)

// keeping is a source that keeps outcomes.
type keeping struct {
	source
	asked  history.Filter
	runs   []history.Run
	err    error
	closed *regular.Closure
}

func (k *keeping) Outcomes(_ context.Context, f history.Filter) ([]history.Run, error) {
	k.asked = f
	return k.runs, k.err
}

func (k *keeping) Accept() *regular.Closure {
	was := k.closed
	k.closed = nil
	return was
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func leaked() *regular.Closure {
	return &regular.Closure{Since: noon, Found: []regular.Found{{ID: "NAME-BY-DOOR", Title: "a name goes one way"}}}
}

func TestOutcomes_AreGivenAsTheyAreAskedFor(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	k := &keeping{runs: []history.Run{{ID: 7, At: noon, Took: 1500 * time.Millisecond, Cause: "network", Verdict: "leak", Cases: history.Counts{Leak: 1, Sealed: 2}, Report: []byte(`{"verdict":"leak"}`)}}}
	running(t, path, k)
	got, err := FetchOutcomes(t.Context(), path, history.Filter{Since: noon, Last: 5, Reports: true})
	if err != nil || len(got) != 1 || got[0].ID != 7 || !got[0].At.Equal(noon) || got[0].TookMS != 1500 || got[0].Cases.Leak != 1 || !strings.Contains(string(got[0].Report), "leak") {
		t.Errorf("%+v, %v", got, err)
	}
	if !k.asked.Since.Equal(noon) || k.asked.Last != 5 || !k.asked.Reports {
		t.Errorf("asked for %+v", k.asked)
	}
	k.err = errors.New("no history is kept")
	if _, err := FetchOutcomes(t.Context(), path, history.Filter{}); err == nil || !strings.Contains(err.Error(), "no history is kept") {
		t.Error(err)
	}
	if _, err := FetchOutcomes(t.Context(), path+"x", history.Filter{}); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

func TestAccept_OpensAndSaysWhatWasClosed(t *testing.T) {
	path := filepath.Join(short(t), "s.sock")
	running(t, path, &keeping{closed: leaked()})
	if was, err := Accept(t.Context(), path); err != nil || was == nil || was.Found[0].ID != "NAME-BY-DOOR" || !was.Since.Equal(noon) {
		t.Errorf("%+v, %v", was, err)
	}
	if was, err := Accept(t.Context(), path); err != nil || was != nil {
		t.Errorf("%+v, %v", was, err)
	}
}

func TestWhatIsKeptOfTestsIsForTheControlSocketAlone_AndStrict(t *testing.T) {
	at := admin(t, &keeping{closed: leaked()})
	for _, request := range []string{"POST " + pathAccept, "GET " + pathOutcomes} {
		if r, _ := send(t, at, request+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s at the admin port: %s", request, r.Status)
		}
	}
	for request, want := range map[string]int{
		"GET " + pathAccept:                          http.StatusMethodNotAllowed,
		"POST " + pathAccept + "?x":                  http.StatusBadRequest,
		"POST " + pathOutcomes:                       http.StatusMethodNotAllowed,
		"GET " + pathOutcomes + "?since=now":         http.StatusBadRequest,
		"GET " + pathOutcomes + "?last=x":            http.StatusBadRequest,
		"GET " + pathOutcomes + "?last=1&last=2":     http.StatusBadRequest,
		"GET " + pathOutcomes + "?reports=yes":       http.StatusBadRequest,
		"GET " + pathOutcomes + "?report":            http.StatusBadRequest,
		"GET " + pathOutcomes + "?%zz":               http.StatusBadRequest,
		"GET " + pathOutcomes + "?last=3&reports=":   http.StatusOK,
		"HEAD " + pathOutcomes + "?since=2026-06-01": http.StatusBadRequest,
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := inMemory(t, &keeping{closed: leaked()}).dial()
			defer conn.Close()
			if r, body := exchange(t, conn, request+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != want {
				t.Errorf("%s: %s %s", request, r.Status, body)
			}
		})
	}
}

func TestHealth_OfWhatALeakHasClosedIsAliveAndSaysSo(t *testing.T) {
	at := admin(t, &source{status: Status{LeakTest: &LeakTest{Closed: leaked()}}})
	r, body := send(t, at, get("/healthz"))
	if r.StatusCode != http.StatusOK || body != "closed: the leak test of 2026-06-01 12:00 UTC found NAME-BY-DOOR\n" {
		t.Errorf("%s %q", r.Status, body)
	}
}

func TestRenderStatus_TellsOfTheLeakTest(t *testing.T) {
	next := noon.Add(time.Hour)
	for want, l := range map[string]*LeakTest{
		"none yet": {},
		"leak test      CLOSED: the leak test of 2026-06-01 12:00 UTC found NAME-BY-DOOR\n               nothing goes out until a test is clean": {Closed: leaked()},
		"leak test      sealed at 2026-06-01T12:00:00Z (network): 8 sealed, 0 leak, 1 inconclusive, 2 skipped\n               the next at 2026-06-01T13:00:00Z": {
			Last: &Outcome{At: noon, Cause: "network", Verdict: "sealed", Cases: regular.Counts{Sealed: 8, Inconclusive: 1, Skipped: 2}}, Next: &next,
		},
		"leak test      one runs (start)": {Running: "start", Next: &next},
	} {
		var b strings.Builder
		if err := RenderStatus(&b, Status{LeakTest: l}); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v\n%s\nwant %s", err, &b, want)
		}
	}
}
