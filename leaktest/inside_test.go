package leaktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// containing is a subject that contains programs, of which it says what it was told to.
type containing struct {
	Subject
	tried []Tried
	err   error
	hosts []string
	leads error
}

func (c *containing) Inside(_ context.Context, host string) ([]Tried, error) {
	c.hosts = append(c.hosts, host)
	return c.tried, c.err
}

func (c *containing) Leads(string) (string, error) { return "direct", c.leads }

// uncontaining is a subject that contains none.
type uncontaining struct{ Subject }

func within1(t *testing.T, s Subject, id string) (Case, *run) {
	t.Helper()
	r := &run{o: Options{Subject: s}}
	var f findings
	r.tryInside(t.Context(), id, &f)
	for _, d := range insides() {
		if d.ID == id {
			return f.conclude(d), r
		}
	}
	t.Fatalf("there is no case %s", id)
	return Case{}, nil
}

func TestInside_WhatAContainedProgramFindsIsJudged(t *testing.T) {
	held := Tried{Kind: "EXEC-DNS", What: "a question, 192.0.2.53:53", Result: "answered", Held: true}
	for _, c := range []struct {
		what    string
		tried   []Tried
		err     error
		verdict Verdict
		says    string
	}{
		{"all is as it must be", []Tried{held, held}, nil, Sealed, "192.0.2.53:53"},
		{"somebody else answered", []Tried{held, {Kind: "EXEC-DNS", What: "a question, 8.8.8.8:53", Result: "elsewhere", Open: true}}, nil, Leak, "LEAK: a question, 8.8.8.8:53"},
		{"nobody answered", []Tried{held, {Kind: "EXEC-DNS", What: "a question, 8.8.8.8:53", Result: "silent"}}, nil, Inconclusive, ""},
		{"another case leaks", []Tried{held, {Kind: "EXEC-SOCKET", Result: "answered", Open: true}}, nil, Sealed, ""},
		{"nothing of it was tried", []Tried{{Kind: "EXEC-SOCKET", Held: true}}, nil, Skipped, ""},
		{"it cannot be contained", nil, fmt.Errorf("%w: this host allows no user namespaces", ErrUncontained), Skipped, ""},
		{"it could be contained, and was not", nil, errors.New("the program inside failed"), Inconclusive, ""},
		{"it did not end", nil, context.DeadlineExceeded, Inconclusive, ""},
	} {
		got, _ := within1(t, &containing{tried: c.tried, err: c.err}, "EXEC-DNS")
		if got.Needed == (got.Verdict == Skipped) {
			t.Errorf("%s: it is needed: %t", c.what, got.Needed)
		}
		if got.Verdict != c.verdict || !strings.Contains(strings.Join(got.Evidence, "\n"), c.says) {
			t.Errorf("%s: %+v", c.what, got)
		}
		if c.err != nil && !strings.Contains(got.Reason, c.err.Error()) {
			t.Errorf("%s: the reason is %q", c.what, got.Reason)
		}
	}
	if got, _ := within1(t, uncontaining{}, "EXEC-DNS"); got.Verdict != Skipped || !strings.Contains(got.Reason, "Linux") {
		t.Errorf("without containment: %+v", got)
	}
}

func TestInside_OneProgramIsRunForAllCases(t *testing.T) {
	s := &containing{tried: []Tried{{Kind: "EXEC-DNS", Held: true}}}
	r := &run{o: Options{Subject: s}}
	for _, d := range insides() {
		var f findings
		d.try(t.Context(), r, &f)
	}
	if len(s.hosts) != 1 || len(r.labels) != 1 || s.hosts[0] != r.labels[0]+".example.com" {
		t.Errorf("it asked for %v, of the labels %v", s.hosts, r.labels)
	}
	lost := &containing{leads: errors.New("no route leads there")}
	if within1(t, lost, "EXEC-NAME"); len(lost.hosts) != 1 || lost.hosts[0] != "" {
		t.Errorf("a name that leads nowhere is to be asked for: %q", lost.hosts)
	}
}

// Inside lets everything hold in the world of the tests.
func (w *world) Inside(context.Context, string) (all []Tried, err error) {
	for _, d := range insides() {
		if w.open == d.ID {
			all = append(all, Tried{Kind: d.ID, What: d.Title, Result: "it led elsewhere", Open: true})
			continue
		}
		if w.open != "nothing" {
			all = append(all, Tried{Kind: d.ID, What: d.Title, Result: "as it must be", Held: true})
		}
	}
	return all, nil
}
