package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"watertight/config"
	"watertight/leaktest"
	outcomes "watertight/leaktest/history"
	"watertight/leaktest/regular"
	"watertight/name"
	"watertight/webhook"
)

// testPause is between attempts to test while another test is under way.
const testPause = time.Second

// testOnce makes a test that nobody has asked for.
func (d *Daemon) testOnce(ctx context.Context, cause regular.Cause) regular.Outcome {
	began := time.Now()
	report, err := d.inTurn(ctx, TestRequest{Trigger: string(cause), Control: true})
	if err != nil {
		return regular.Outcome{At: began, Took: time.Since(began), Cause: cause, Verdict: regular.Inconclusive, Failed: err.Error()}
	}
	return outcomeOf(report, cause)
}

// inTurn makes a test, after the one that is under way.
func (d *Daemon) inTurn(ctx context.Context, ask TestRequest) (*leaktest.Report, error) {
	for {
		report, err := d.LeakTest(ctx, ask)
		if !errors.Is(err, ErrTestUnderWay) {
			return report, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(testPause):
		}
	}
}

// outcomeOf is what is made of a report.
func outcomeOf(r *leaktest.Report, cause regular.Cause) regular.Outcome {
	o := regular.Outcome{At: r.Started, Took: time.Duration(r.TookMS * float64(time.Millisecond)), Cause: cause, Verdict: string(r.Verdict)}
	for _, c := range r.Cases {
		switch c.Verdict {
		case leaktest.Sealed:
			o.Cases.Sealed++
		case leaktest.Leak:
			o.Cases.Leak++
			o.Found = append(o.Found, regular.Found{ID: c.ID, Title: c.Title})
		case leaktest.Skipped:
			o.Cases.Skipped++
		default:
			o.Cases.Inconclusive++
		}
	}
	if text, err := json.Marshal(r); err == nil { // it is plain data
		o.Report = text
	}
	return o
}

// testRegularly makes a test, and does what its outcome asks for.
func (d *Daemon) testRegularly(ctx context.Context, cause regular.Cause) {
	o := d.tests.test(ctx, cause)
	if context.Cause(ctx) == context.Canceled {
		return // the program ends
	}
	d.concluded(context.WithoutCancel(ctx), o)
}

// concluded does what an outcome asks for: closes and opens, tells, and keeps.
func (d *Daemon) concluded(ctx context.Context, o regular.Outcome) {
	t := &d.tests
	was := t.valve.Closed()
	t.valve.Concluded(o)
	closed := t.valve.Closed()
	t.schedule.Look()
	if was == nil && closed != nil { // what is connected for the next request is not used for it
		d.current().gateway.Drop()
		d.http.RoutesChanged()
	}
	d.logOutcome(o)

	t.mu.Lock()
	s := t.setting
	if t.last != nil {
		t.before = t.last.Verdict
	} else if s.history != nil {
		if kept, err := s.history.Read(ctx, outcomes.Filter{Last: 1}); err == nil && len(kept) > 0 {
			t.before = kept[0].Verdict
		}
	}
	before := t.before
	t.last = &o
	t.runs[o.Verdict]++
	t.mu.Unlock()

	if s.history != nil {
		err := s.history.Add(ctx, outcomes.Run{At: o.At, Took: o.Took, Cause: string(o.Cause), Verdict: o.Verdict, Cases: outcomes.Counts(o.Cases), Report: o.Report})
		if err != nil {
			d.o.Log.Warn("the outcome of the leak test is not kept", "error", err)
		}
	}
	d.tellHook(s.Webhook, o, before, closed)
}

func (d *Daemon) logOutcome(o regular.Outcome) {
	about := []any{"cause", o.Cause, "sealed", o.Cases.Sealed, "leak", o.Cases.Leak, "inconclusive", o.Cases.Inconclusive, "skipped", o.Cases.Skipped, "took", o.Took.Round(time.Millisecond)}
	switch o.Verdict {
	case regular.Leak:
		var ids []string
		for _, f := range o.Found {
			ids = append(ids, f.ID)
		}
		d.o.Log.Error("the leak test found a leak", append(about, "found", strings.Join(ids, " "), "hint", "watertight test history")...)
	case regular.Sealed:
		d.o.Log.Info("the leak test is clean", about...)
	default:
		if o.Failed != "" {
			about = append(about, "error", o.Failed)
		}
		d.o.Log.Warn("the leak test came to no verdict", about...)
	}
}

// hookBody is what a webhook is told. The field names are stable.
type hookBody struct {
	Verdict string          `json:"verdict"`
	Before  string          `json:"before,omitempty"` // the verdict of the test before
	Cause   regular.Cause   `json:"cause"`
	At      time.Time       `json:"at"`
	TookMS  int64           `json:"took_ms"`
	Cases   regular.Counts  `json:"cases"`
	Found   []regular.Found `json:"found"`
	Failed  string          `json:"failed,omitempty"`
	Closed  bool            `json:"closed"`
	Version string          `json:"version"`
}

// tellHook tells the webhook, where the outcome is one that it wants.
func (d *Daemon) tellHook(to config.Webhook, o regular.Outcome, before string, closed *regular.Closure) {
	switch {
	case to.URL == "":
		return
	case to.On == config.HookOnLeak && o.Verdict != regular.Leak:
		return
	case to.On == config.HookOnChange && (o.Verdict == before || before == "" && o.Verdict == regular.Sealed):
		return
	}
	body, err := json.Marshal(hookBody{
		Verdict: o.Verdict, Before: before, Cause: o.Cause, At: o.At.UTC(), TookMS: o.Took.Milliseconds(), Cases: o.Cases,
		Found: append([]regular.Found{}, o.Found...), Failed: o.Failed, Closed: closed != nil, Version: d.o.Version,
	})
	if err == nil {
		fields := make([]webhook.Field, len(to.Headers))
		for i, h := range to.Headers {
			fields[i] = webhook.Field(h)
		}
		err = d.tests.hook.Tell(webhook.Server{URL: to.URL, Fields: fields, Roots: to.CAs, Dial: d.dialIn(to.Channel)}, body)
	}
	if err != nil {
		d.o.Log.Warn("the webhook is not told", "error", err)
	}
}

// dialIn connects in a channel of the generation in force. The configuration chose channel and target, so no policy is asked,
// and what a leak has closed is no hindrance.
func (d *Daemon) dialIn(channel string) func(ctx context.Context, t name.Target) (net.Conn, error) {
	return func(ctx context.Context, t name.Target) (net.Conn, error) {
		g := d.board.acquire()
		defer g.release()
		for _, r := range g.channels {
			if r.Name() == channel {
				return r.Dial(ctx, t)
			}
		}
		return nil, fmt.Errorf("the configuration has no channel %q any more", channel)
	}
}
