package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"watertight/leaktest/history"
	"watertight/leaktest/regular"
)

// LeakTest is how a program tests itself.
type LeakTest struct {
	Running string           `json:"running,omitempty"` // what the test is made for that is under way
	Next    *time.Time       `json:"next,omitempty"`    // when the next is; nothing where none is planned
	Last    *Outcome         `json:"last,omitempty"`    // nothing where there was none since the program started
	Closed  *regular.Closure `json:"closed,omitempty"`  // nothing where nothing is closed
	History string           `json:"history,omitempty"` // the file of the outcomes
}

// Outcome is what came of a test.
type Outcome struct {
	ID      int64           `json:"id,omitempty"` // in the history
	At      time.Time       `json:"at"`
	TookMS  int64           `json:"took_ms"`
	Cause   string          `json:"cause"`
	Verdict string          `json:"verdict"`
	Cases   regular.Counts  `json:"cases"`
	Report  json.RawMessage `json:"report,omitempty"` // the whole of it, where it was asked for and kept
}

// OutcomeOf is an outcome of a history.
func OutcomeOf(r history.Run) Outcome {
	return Outcome{ID: r.ID, At: r.At, TookMS: r.Took.Milliseconds(), Cause: r.Cause, Verdict: r.Verdict, Cases: regular.Counts(r.Cases), Report: r.Report}
}

// Keeper is a [Source] that keeps the outcomes of its tests.
type Keeper interface {
	// Outcomes gives them, the latest first.
	Outcomes(ctx context.Context, f history.Filter) ([]history.Run, error)
	// Accept opens by a person's word what a leak has closed, and gives what was closed; nil where nothing was.
	Accept() *regular.Closure
}

// maxReports bounds the octets of the reports in one answer.
const maxReports = maxAnswer / 2

// Paths of the tests.
const (
	pathAccept   = "/leaktest/accept"
	pathOutcomes = "/leaktest/history"
)

// addKept adds what is known of tests, where the source keeps it.
func (s *Server) addKept(p paths) {
	k, ok := s.o.Source.(Keeper)
	if !ok {
		return
	}
	p[pathAccept] = handling{http.MethodPost, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			refuse(w, http.StatusBadRequest, "this path takes no query")
			return
		}
		s.json(w, http.StatusOK, accepted{k.Accept()})
	})}
	p[pathOutcomes] = handling{http.MethodGet, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.outcomes(k, w, r) })}
}

// accepted is the answer of /leaktest/accept.
type accepted struct {
	Was *regular.Closure `json:"was"` // null: nothing was closed
}

// kept is the answer of /leaktest/history.
type kept struct {
	Outcomes []Outcome `json:"outcomes"`
}

func (s *Server) outcomes(k Keeper, w http.ResponseWriter, r *http.Request) {
	f, err := filterOf(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, "this path takes ?since=TIME&last=N&reports, and no more")
		return
	}
	runs, err := k.Outcomes(r.Context(), f)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, firstLine([]byte(err.Error())))
		return
	}
	all := kept{Outcomes: []Outcome{}}
	octets := 0
	for _, one := range runs {
		if octets += len(one.Report); octets > maxReports {
			one.Report = nil // the older ones
		}
		all.Outcomes = append(all.Outcomes, OutcomeOf(one))
	}
	s.json(w, http.StatusOK, all)
}

// filterOf reads a query.
func filterOf(query string) (f history.Filter, err error) {
	asked, err := url.ParseQuery(query)
	if err != nil {
		return f, err
	}
	for key, values := range asked {
		switch {
		case len(values) != 1:
			return f, strconv.ErrSyntax
		case key == "since":
			f.Since, err = time.Parse(time.RFC3339, values[0])
		case key == "last":
			f.Last, err = strconv.Atoi(values[0])
		case key == "reports" && values[0] == "":
			f.Reports = true
		default:
			return f, strconv.ErrSyntax
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// FetchOutcomes asks the program that serves socketPath for the outcomes of its tests, the latest first.
func FetchOutcomes(ctx context.Context, socketPath string, f history.Filter) ([]Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*statusLimit)
	defer cancel()
	query := url.Values{}
	if !f.Since.IsZero() {
		query.Set("since", f.Since.UTC().Format(time.RFC3339))
	}
	if f.Last > 0 {
		query.Set("last", strconv.Itoa(f.Last))
	}
	if f.Reports {
		query.Set("reports", "")
	}
	var all kept
	if err := ask(ctx, socketPath, http.MethodGet, pathOutcomes+"?"+query.Encode(), &all, http.StatusOK); err != nil {
		return nil, err
	}
	return all.Outcomes, nil
}

// Accept lets the program that serves socketPath open what a leak has closed, and gives what was closed; nil where nothing was.
func Accept(ctx context.Context, socketPath string) (*regular.Closure, error) {
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	var a accepted
	if err := ask(ctx, socketPath, http.MethodPost, pathAccept, &a, http.StatusOK); err != nil {
		return nil, err
	}
	return a.Was, nil
}

// healthy says that the program is alive, and whether a leak has closed it: that is no reason to start it again.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	if l := s.o.Source.Status().LeakTest; l != nil && l.Closed != nil {
		text(w, http.StatusOK, "closed: "+clean(l.Closed.String())+"\n")
		return
	}
	text(w, http.StatusOK, "ok\n")
}

// leakTest shows how the program tests itself.
func (v *view) leakTest(l *LeakTest) {
	if l == nil {
		return
	}
	if l.Closed != nil {
		v.row("leak test", "CLOSED: %s", l.Closed)
		v.row("leak test", "nothing goes out until a test is clean, or `watertight test accept`")
	}
	switch {
	case l.Last != nil:
		c := l.Last.Cases
		v.row("leak test", "%s at %s (%s): %d sealed, %d leak, %d inconclusive, %d skipped", l.Last.Verdict, l.Last.At.UTC().Format(time.RFC3339), l.Last.Cause, c.Sealed, c.Leak, c.Inconclusive, c.Skipped)
	case l.Running == "":
		v.row("leak test", "none yet")
	}
	if l.Running != "" {
		v.row("leak test", "one runs (%s)", l.Running)
	} else if l.Next != nil {
		v.row("leak test", "the next at %s", l.Next.UTC().Format(time.RFC3339))
	}
}
