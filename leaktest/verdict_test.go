package leaktest

import "testing"

func TestARunIsNeverBetterThanItsCases(t *testing.T) {
	needed := func(v Verdict) Case { return Case{Verdict: v, Needed: true} }
	for _, one := range []struct {
		name  string
		cases []Case
		want  Verdict
	}{
		{"all that is needed was tried and held", []Case{needed(Sealed), needed(Sealed), {Verdict: Skipped}}, Sealed},
		{"a leak outweighs everything", []Case{needed(Sealed), needed(Inconclusive), {Verdict: Leak}}, Leak},
		{"what is needed was skipped", []Case{needed(Sealed), needed(Skipped)}, Inconclusive},
		{"a doubt, of a case that is not needed too", []Case{needed(Sealed), {Verdict: Inconclusive}}, Inconclusive},
		{"nothing was tried", nil, Inconclusive},
		{"nothing that counts was tried", []Case{{Verdict: Sealed}}, Inconclusive},
		{"a verdict that nobody knows", []Case{needed(Sealed), {Verdict: "fine"}}, Inconclusive},
	} {
		if got := Conclude(one.cases); got != one.want {
			t.Errorf("%s: %s, want %s", one.name, got, one.want)
		}
	}
}
