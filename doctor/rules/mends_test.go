package rules

import (
	"io/fs"
	"regexp"
	"slices"
	"testing"

	"watertight/config"
	"watertight/doctor"
	"watertight/doctor/doctortest"
)

// mends makes the changes that reports on a host offer, one after the other, until none is offered: what is left was there from
// the beginning, and is less.
func mends(t *testing.T, c doctortest.Case, before doctor.Report) {
	t.Helper()
	offered := func(r doctor.Report) int {
		return slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Change != nil })
	}
	if offered(before) < 0 {
		return
	}
	o := c.Options(t)
	after := before
	for range 20 {
		i := offered(after)
		if i < 0 {
			break
		}
		f := after.Findings[i]
		if _, err := doctortest.Open(t, o).Apply(f.Change); err != nil {
			t.Fatalf("the change of %s: %v", f.ID, err)
		}
		after = doctor.Run(t.Context(), doctortest.Open(t, o), All())
	}
	if i := offered(after); i >= 0 {
		t.Errorf("%s is offered without end:\n%s", after.Findings[i].ID, after.Findings[i].Change.Diff)
	}
	was, is := evidence(before), evidence(after)
	if len(is) >= len(was) {
		t.Errorf("the changes take nothing away: %q", is)
	}
	for _, e := range is {
		if !slices.Contains(was, e) {
			t.Errorf("the changes bring what was not there: %s", e)
		}
	}
}

// ofOurs is what a fix says of our configuration.
var ofOurs = regexp.MustCompile(`listen: \{.*\}`)

// loads wants of what fixes say of our configuration that it is one.
func loads(t *testing.T, r doctor.Report) {
	t.Helper()
	for _, f := range r.Findings {
		for _, text := range ofOurs.FindAllString(f.Fix, -1) {
			if _, err := config.Parse("fix", []byte(text+"\n"), config.Host{
				Getenv:   func(string) (string, bool) { return "", false },
				ReadFile: func(string, int64) ([]byte, error) { return nil, fs.ErrNotExist },
				Exposed:  func(string) bool { return false },
			}); err != nil {
				t.Errorf("%s: %s: %v", f.ID, text, err)
			}
		}
	}
}

var lineNumber = regexp.MustCompile(`:\d+:`)

// evidence is that of all findings, without the numbers of lines, which a change moves.
func evidence(r doctor.Report) []string {
	var all []string
	for _, f := range r.Findings {
		for _, e := range f.Evidence {
			all = append(all, f.ID+" "+lineNumber.ReplaceAllString(e, ": "))
		}
	}
	return all
}
