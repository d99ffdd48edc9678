package regular

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"watertight/fault"
)

// Verdicts of an outcome, as in a report.
const (
	Sealed       = "sealed"
	Leak         = "leak"
	Inconclusive = "inconclusive"
)

// Found is a case that found a leak.
type Found struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// Counts is how many cases had which verdict.
type Counts struct {
	Sealed       int `json:"sealed"`
	Leak         int `json:"leak"`
	Inconclusive int `json:"inconclusive"`
	Skipped      int `json:"skipped"`
}

// Outcome is what came of a test.
type Outcome struct {
	At      time.Time // it began
	Took    time.Duration
	Cause   Cause
	Verdict string
	Cases   Counts
	Found   []Found // where Verdict is Leak
	Failed  string  // why there is no verdict: the test could not be made, or did not come to its end
	Report  []byte  // the whole, in JSON; nil where there is none
}

// Closure is what a leak has closed. The field names are stable.
type Closure struct {
	Since time.Time `json:"since"`
	Found []Found   `json:"found"`
	Why   string    `json:"why,omitempty"` // in place of Found: what was kept cannot be read
}

// kept is what outlives the program.
type kept struct {
	Closed   *Closure `json:"closed,omitempty"`
	Accepted []string `json:"accepted,omitempty"` // IDs of cases whose leaks a person has accepted
}

// Store keeps texts from one run of the program to the next.
type Store interface {
	// Read gives a text; the error wraps [fs.ErrNotExist] where there is none.
	Read(name string) ([]byte, error)
	Write(name string, text []byte) error
	// Path gives the place of a text, for messages.
	Path(name string) string
}

// File is the name of the text in the store.
const File = "leaktest"

// maxFound bounds what is kept of a leak: enough to be told, and to be accepted.
const maxFound = 200

// Valve is closed by a leak. Its methods may be called from many goroutines.
type Valve struct {
	log *slog.Logger
	now atomic.Pointer[Closure] // nil: it is open

	mu     sync.Mutex
	closes bool  // a leak closes it
	store  Store // nil: nothing is kept
	kept   kept
}

// NewValve makes one that is open, and that nothing closes.
func NewValve(log *slog.Logger) (*Valve, error) {
	if log == nil {
		return nil, errors.New("regular: a valve needs a log")
	}
	return &Valve{log: log}, nil
}

// Set says whether a leak closes it, and where that is kept, and reads what was kept there. What is kept and cannot be read
// closes it: it may have been closed. Where no leak closes it any more it is open.
func (v *Valve) Set(closes bool, store Store) error {
	if closes && store == nil {
		return errors.New("what a leak closes has to be kept over a restart, and no place is known")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !closes:
		if v.store != nil {
			v.openFor(v.store)
		}
		if store != nil {
			v.openFor(store)
		}
		v.kept = kept{}
	case !v.closes || v.store.Path(File) != store.Path(File):
		before := v.kept
		v.kept = read(store)
		if v.closes && v.kept.Closed == nil && before.Closed != nil {
			v.kept = before // it moves with the place
		}
	}
	moved := closes && v.closes && v.store.Path(File) != store.Path(File)
	v.closes, v.store = closes, store
	if moved {
		v.keep()
	}
	if v.kept.Closed != nil {
		v.log.Error("closed: "+v.kept.Closed.String(), "hint", hint)
	}
	v.now.Store(v.kept.Closed)
	return nil
}

// openFor has nothing closed by what is kept, where no leak closes any more.
func (v *Valve) openFor(store Store) {
	if k := read(store); k.Closed == nil && len(k.Accepted) == 0 {
		return
	}
	v.log.Warn("what a leak had closed is open: the configuration does not say that a leak closes")
	v.kept, v.store = kept{}, store
	v.keep()
}

func read(store Store) kept {
	text, err := store.Read(File)
	if errors.Is(err, fs.ErrNotExist) {
		return kept{}
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil {
		return kept{Closed: &Closure{Since: time.Now().UTC(), Found: []Found{}, Why: "whether a leak had closed everything cannot be read: " + err.Error()}}
	}
	return k
}

// keep writes what is to outlive the program. It is called with the lock held.
func (v *Valve) keep() {
	if v.store == nil {
		return
	}
	text, err := json.Marshal(v.kept)
	if err == nil {
		err = v.store.Write(File, text)
	}
	if err != nil {
		v.log.Error("whether a leak has closed everything cannot be kept: after a restart it may be otherwise", "file", v.store.Path(File), "error", err)
	}
}

// Concluded takes an outcome: a leak that nobody has accepted closes, where leaks do, and a clean test opens.
func (v *Valve) Concluded(o Outcome) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.closes:
	case o.Verdict == Sealed && (v.kept.Closed != nil || len(v.kept.Accepted) > 0):
		if v.kept.Closed != nil {
			v.log.Info("open again: a test is clean", "closed_since", v.kept.Closed.Since)
		}
		v.kept = kept{}
		v.keep()
	case o.Verdict == Leak:
		found := o.Found[:min(len(o.Found), maxFound)]
		if !slices.ContainsFunc(found, func(f Found) bool { return !slices.Contains(v.kept.Accepted, f.ID) }) && len(found) > 0 {
			return // all of it was accepted
		}
		c := &Closure{Since: o.At.UTC(), Found: found}
		if v.kept.Closed != nil {
			c.Since = v.kept.Closed.Since
		}
		v.kept.Closed = c
		v.now.Store(c) // before it is written: that may take its time
		v.keep()
		v.log.Error("closed: "+c.String(), "hint", hint)
	}
	v.now.Store(v.kept.Closed)
}

// Accept opens by a person's word: what was found closes no more, until a test was clean. It gives what was closed; nil
// where nothing was.
func (v *Valve) Accept() *Closure {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.kept.Closed
	if was == nil {
		return nil
	}
	v.kept.Closed = nil
	for _, f := range was.Found {
		if !slices.Contains(v.kept.Accepted, f.ID) && len(v.kept.Accepted) < maxFound {
			v.kept.Accepted = append(v.kept.Accepted, f.ID)
		}
	}
	v.keep()
	v.now.Store(nil)
	v.log.Warn("open again by a person's word", "closed_since", was.Since, "accepted", strings.Join(v.kept.Accepted, " "))
	return was
}

// Closed gives what closed it; nil where it is open.
func (v *Valve) Closed() *Closure { return v.now.Load() }

// hint says how it is opened.
const hint = "see `watertight test history`, and mend it: a clean test opens; `watertight test accept` opens by your word"

// String says in a line what closed it and when.
func (c *Closure) String() string {
	since := c.Since.UTC().Format("2006-01-02 15:04") + " UTC"
	if c.Why != "" {
		return fmt.Sprintf("since %s: %s", since, c.Why)
	}
	ids := make([]string, 0, len(c.Found))
	for _, f := range c.Found {
		ids = append(ids, f.ID)
	}
	what := strings.Join(ids[:min(len(ids), 3)], ", ")
	if len(ids) > 3 {
		what += fmt.Sprintf(" and %d more", len(ids)-3)
	}
	return fmt.Sprintf("the leak test of %s found %s", since, what)
}

// Fault is what a client is told.
func (c *Closure) Fault() *fault.Error {
	return &fault.Error{Code: fault.NotReady, Message: "closed: " + c.String(), Hint: hint}
}
