package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Verdicts of the whole.
const (
	verdictHeld     = "held"
	verdictNotHeld  = "not_held"
	verdictNotShown = "not_shown"
)

// report is the result as scripts read it.
type report struct {
	Verdict string `json:"verdict"`
	Reason  string `json:"reason,omitempty"`
	Acts    []*act `json:"acts"`
	Took    int64  `json:"took_ms"`
}

func (r *report) conclude(took time.Duration) {
	r.Took = took.Milliseconds()
	r.Verdict = verdictHeld
	for _, a := range r.Acts {
		if len(a.Failures) > 0 {
			r.Verdict = verdictNotHeld
		}
	}
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}
