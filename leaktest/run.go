package leaktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Limits of a run.
const (
	// MaxLimit is the most that a run may be given.
	MaxLimit  = time.Hour
	caseLimit = 90 * time.Second
)

// Options is what a run is made with.
type Options struct {
	Subject Subject
	// Canary is nil where there is none: the cases that need one are skipped then, and say so.
	Canary *Canary
	// Observer is nil where packets cannot be read: what that keeps from being seen is said.
	Observer Observer
	// Control asks the host's own resolver for a name, as a client does that resolves by itself, and so shows whether a leak
	// would be seen. Nil: it is not tried.
	Control func(ctx context.Context, host string) error
	// Environ is the environment whose variables are read as clients do; nil: none is.
	Environ []string
	// Own is the environment of the program under test, whose proxies it must not use; nil: it is not known.
	Own []string
	// Only are the IDs of the cases to try; empty: all of them.
	Only []string
	// Trigger is what the run is made for.
	Trigger string
	// Progress is told what is going on; nil: nobody is.
	Progress func(Progress)
	// Limit is how long the run may take, [MaxLimit] at most.
	Limit time.Duration
	// PCAP takes the packets that were seen; nil: nobody does.
	PCAP io.Writer
}

// Progress is how far a run is. The field names are stable.
type Progress struct {
	Begun int    `json:"begun"` // cases
	Of    int    `json:"of"`
	Case  string `json:"case"` // the ID of the one that has begun
}

// ErrOptions is what the errors of a run wrap that could not begin.
var ErrOptions = errors.New("leaktest")

func (o Options) validate() error {
	switch {
	case o.Subject == nil:
		return fmt.Errorf("%w: there is nothing to test", ErrOptions)
	case o.Canary != nil && (o.Canary.Zone == "" || o.Canary.API == "" || o.Canary.Channel == ""):
		return fmt.Errorf("%w: a canary needs a zone, an API and a channel", ErrOptions)
	case o.Limit <= 0 || o.Limit > MaxLimit:
		return fmt.Errorf("%w: a run takes up to %s, and not %s", ErrOptions, MaxLimit, o.Limit)
	}
	return Known(o.Only)
}

// UnknownCaseError says that there is no case of an ID.
type UnknownCaseError struct{ ID string }

func (e *UnknownCaseError) Error() string {
	return fmt.Sprintf("there is no case %q; there are %s", e.ID, strings.Join(IDs(), ", "))
}

// Known says whether there are cases of these IDs. The error is an *[UnknownCaseError].
func Known(ids []string) error {
	for _, id := range ids {
		if !slices.Contains(IDs(), id) {
			return &UnknownCaseError{id}
		}
	}
	return nil
}

// Run tries the cases and gives what came of them. The error is for a run that could not begin or was broken off: what is
// inconclusive stands in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	r := newRun(o)
	started := time.Now()
	r.begin(ctx)
	r.learn(ctx)
	done := r.tryAll(ctx)
	report := &Report{Cases: done, Environment: r.environment(), Started: started.UTC()}
	report.Verdict = Conclude(done)
	report.TookMS = milliseconds(time.Since(started))
	if err := context.Cause(ctx); errors.Is(err, context.Canceled) {
		return nil, err
	}
	return report, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// system is the operating system and the architecture.
func system() string { return runtime.GOOS + "/" + runtime.GOARCH }
