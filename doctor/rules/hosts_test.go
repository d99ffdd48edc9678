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

// Each host has the findings that it says it has, and no other; and what can be mended by machine, is mended by that.
func TestEachHost_isFoundToHaveWhatItHasAndNoMore(t *testing.T) {
	for _, c := range doctortest.Cases(t, "testdata/hosts") {
		t.Run(c.Name, func(t *testing.T) {
			r := c.Check(t, All())
			mends(t, c, r)
			loads(t, r)
		})
	}
}
