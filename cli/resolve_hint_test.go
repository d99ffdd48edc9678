package cli

import (
	"testing"

	"watertight/daemon"
	"watertight/fault"
)

func TestTheHintIsThatOfTheQuestionThatFailed_NotThatAFamilyHasNoRecord(t *testing.T) {
	none := daemon.Answer{Type: "AAAA", Error: &daemon.AnswerError{Code: fault.DNSNoData, Hint: "no record"}}
	bogus := daemon.Answer{Type: "A", Error: &daemon.AnswerError{Code: fault.DNSBogus, Hint: "bogus"}}
	for _, c := range []struct {
		answers []daemon.Answer
		want    string
	}{
		{[]daemon.Answer{none, bogus}, "bogus"},
		{[]daemon.Answer{bogus, none}, "bogus"},
		{[]daemon.Answer{none, none}, "no record"},
		{[]daemon.Answer{none, {Error: &daemon.AnswerError{Code: fault.DNSTimeout}}}, "no record"},
		{[]daemon.Answer{{Type: "A"}}, ""},
	} {
		if got := hintOf(c.answers); got != c.want {
			t.Errorf("%v: %q, want %q", c.answers, got, c.want)
		}
	}
}
