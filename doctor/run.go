package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Limits of a run.
const (
	RuleTime    = 5 * time.Second  // that one rule may take
	RunTime     = 30 * time.Second // that all of them may take
	maxFindings = 200              // of one rule
	maxEvidence = 20               // of one finding
)

// Report is what a run found. Field names are stable.
type Report struct {
	Findings []Finding `json:"findings"` // the worst first
	// Rules are those that finished.
	Rules []string `json:"rules"`
	// Unfinished are those that did not; with any, a report without findings is no clean bill.
	Unfinished []Unfinished `json:"unfinished"`
	// Unseen is what could not be looked at, and why.
	Unseen []string `json:"unseen"`
}

// Unfinished is a rule that did not finish.
type Unfinished struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// Bad says whether there is a finding whose severity is an error.
func (r Report) Bad() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity.Error() })
}

// Run applies the rules to a host, one after the other. It returns within RunTime, or when ctx ends, whatever a rule does:
// one that does not come back is left behind and ends at its next look at a file.
func Run(ctx context.Context, h *Host, rules []Rule) Report {
	r := Report{Findings: []Finding{}, Rules: []string{}, Unfinished: []Unfinished{}, Unseen: []string{}}
	ctx, cancel := context.WithTimeout(ctx, RunTime)
	defer cancel()
	for _, rule := range rules {
		if len(rule.Systems) > 0 && !slices.Contains(rule.Systems, h.OS) {
			continue
		}
		found, err := one(ctx, h, rule)
		if err != nil {
			r.Unfinished = append(r.Unfinished, Unfinished{rule.ID, err.Error()})
			continue
		}
		r.Rules = append(r.Rules, rule.ID)
		r.Findings = append(r.Findings, found...)
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return int(b.Severity) - int(a.Severity) })
	r.Unseen = append(r.Unseen, h.Files.Blind()...)
	if h.Unseen > 0 {
		r.Unseen = append(r.Unseen, fmt.Sprintf("the environment of %d processes of other users: permission denied", h.Unseen))
	}
	return r
}

// one applies one rule.
func one(ctx context.Context, h *Host, rule Rule) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, RuleTime)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return nil, errors.New("there was no time left for it")
	}
	type outcome struct {
		found []Finding
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o = outcome{err: fmt.Errorf("it failed: %s", clip(fmt.Sprint(p)))}
			}
			done <- o
		}()
		o.found = rule.Find(h.within(ctx))
	}()
	select {
	case o := <-done:
		if o.err == nil && ctx.Err() != nil {
			return nil, errors.New("its time was over before it had seen everything")
		}
		if more := len(o.found) - maxFindings; more > 0 {
			o.found = o.found[:maxFindings]
			h.Files.blindTo(fmt.Sprintf("%s: %d findings more than are told", rule.ID, more))
		}
		return complete(rule, o.found), o.err
	case <-ctx.Done():
		return nil, fmt.Errorf("it did not finish within %v", RuleTime)
	}
}

// complete fills in what a finding leaves to its rule, and keeps each within bounds.
func complete(rule Rule, found []Finding) []Finding {
	for i := range found {
		f := &found[i]
		f.ID = rule.ID
		if f.Severity == 0 {
			f.Severity = rule.Severity
		}
		if f.Clients == nil {
			f.Clients = rule.Clients
		}
		f.Fact = clip(f.Fact)
		lines := strings.Split(f.Fix, "\n")
		for j := range lines {
			lines[j] = Plain(lines[j])
		}
		f.Fix = strings.Join(lines, "\n")
		if more := len(f.Evidence) - maxEvidence; more > 0 {
			f.Evidence = append(slices.Clone(f.Evidence[:maxEvidence]), fmt.Sprintf("%d more", more))
		}
		for j, e := range f.Evidence {
			f.Evidence[j] = clip(e)
		}
		if f.Evidence == nil {
			f.Evidence = []string{}
		}
	}
	return found
}
