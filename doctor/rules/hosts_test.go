package rules

import (
	"testing"

	"watertight/doctor"
	"watertight/doctor/doctortest"
)

func TestEveryRule_hasAllThatAReaderNeeds(t *testing.T) {
	if err := doctor.Check(All()); err != nil {
		t.Error(err)
	}
}

// reports are those of the hosts that were looked at; no two tests run at once.
var reports = map[string]doctor.Report{}

// report gives what every rule finds on a host.
func report(t *testing.T, c doctortest.Case) doctor.Report {
	t.Helper()
	r, ok := reports[c.Name]
	if !ok {
		r = doctor.Run(t.Context(), c.Host(t), All())
		reports[c.Name] = r
	}
	return r
}

// Each host has the findings that it says it has, and no other; and what can be mended by machine, is mended by that.
func TestEachHost_isFoundToHaveWhatItHasAndNoMore(t *testing.T) {
	for _, c := range doctortest.Cases(t, "testdata/hosts") {
		t.Run(c.Name, func(t *testing.T) {
			r := report(t, c)
			c.Check(t, r)
			mends(t, c, r)
			loads(t, r)
		})
	}
}
