package doctor_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"watertight/doctor"
)

func rule(id string, severity doctor.Severity, find func(*doctor.Host) []doctor.Finding) doctor.Rule {
	return doctor.Rule{ID: id, Severity: severity, Title: "t", Explain: "e", Clients: []string{"curl"}, Find: find}
}

func finds(fact string) func(*doctor.Host) []doctor.Finding {
	return func(*doctor.Host) []doctor.Finding {
		return []doctor.Finding{{Fact: fact, Evidence: []string{"e"}, Fix: "f"}}
	}
}

func TestRun_goesOnAfterARuleThatPanics(t *testing.T) {
	h := seeded(t, "")
	r := doctor.Run(t.Context(), h, []doctor.Rule{
		rule("A", doctor.Low, finds("a")), rule("B", doctor.High, func(*doctor.Host) []doctor.Finding { panic("no") }), rule("C", doctor.Critical, finds("c")),
	})
	if len(r.Findings) != 2 || r.Findings[0].ID != "C" || r.Findings[1].ID != "A" || r.Findings[1].Severity != doctor.Low || r.Findings[0].Clients[0] != "curl" {
		t.Errorf("%+v", r.Findings)
	}
	if len(r.Unfinished) != 1 || r.Unfinished[0].ID != "B" || !strings.Contains(r.Unfinished[0].Reason, "no") || !slices.Equal(r.Rules, []string{"A", "C"}) {
		t.Errorf("%+v %q", r.Unfinished, r.Rules)
	}
	if !r.Bad() || !strings.Contains(doctor.Summary(r), "1 critical, 1 low, by 2 rules") {
		t.Error(doctor.Summary(r))
	}
}

// A rule that does not come back is left behind, and once its time is over its host has no files any more.
func TestRun_leavesARuleBehindThatHangs(t *testing.T) {
	h := seeded(t, "-- f --\nx\n")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		release, ended := make(chan struct{}), make(chan bool)
		r := doctor.Run(context.Background(), h, []doctor.Rule{
			rule("HANGS", doctor.High, func(h *doctor.Host) []doctor.Finding {
				_, before := h.Files.Read("/f")
				<-release
				_, after := h.Files.Read("/f")
				ended <- before && !after
				return nil
			}),
			rule("AFTER", doctor.Low, finds("a")),
		})
		if took := time.Since(began); took != doctor.RuleTime {
			t.Errorf("it took %v", took)
		}
		if len(r.Findings) != 1 || len(r.Unfinished) != 1 || r.Unfinished[0].ID != "HANGS" {
			t.Errorf("%+v", r)
		}
		close(release)
		if !<-ended {
			t.Error("the rule saw files after its time")
		}
	})
}

func TestRun_endsWhenAllItsTimeIsOver(t *testing.T) {
	h := seeded(t, "")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		release := make(chan struct{})
		defer close(release)
		var hanging []doctor.Rule
		for range 20 {
			hanging = append(hanging, rule("A", doctor.High, func(*doctor.Host) []doctor.Finding { <-release; return nil }))
		}
		r := doctor.Run(context.Background(), h, hanging)
		if took := time.Since(began); took != doctor.RunTime || len(r.Unfinished) != 20 {
			t.Errorf("it took %v, and %d rules did not finish", took, len(r.Unfinished))
		}
		if !strings.Contains(doctor.Summary(r), "20 did not finish") {
			t.Error(doctor.Summary(r))
		}
	})
}

func TestRun_leavesOutRulesOfOtherSystems(t *testing.T) {
	h := seeded(t, "")
	other := rule("A", doctor.High, finds("a"))
	other.Systems = []string{"windows"}
	if r := doctor.Run(t.Context(), h, []doctor.Rule{other}); len(r.Findings)+len(r.Rules)+len(r.Unfinished) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRun_boundsWhatARuleSays(t *testing.T) {
	h := seeded(t, "")
	r := doctor.Run(t.Context(), h, []doctor.Rule{rule("A", doctor.Low, func(*doctor.Host) []doctor.Finding {
		var found []doctor.Finding
		for range 1000 {
			found = append(found, doctor.Finding{Fact: strings.Repeat("x", 10_000), Evidence: slices.Repeat([]string{"a\x1b[2Jb"}, 100), Fix: "f\x1b\ng"})
		}
		return found
	})})
	if len(r.Findings) != 200 || len(r.Findings[0].Evidence) != 21 || r.Findings[0].Evidence[20] != "80 more" || r.Findings[0].Evidence[0] != "a [2Jb" || len(r.Findings[0].Fact) > 300 || r.Findings[0].Fix != "f \ng" {
		t.Errorf("%d findings, %q", len(r.Findings), r.Findings[0].Evidence)
	}
}

func TestMerge_makesOneFindingOfTheSameFact(t *testing.T) {
	change := &doctor.Change{Path: "/x"}
	got := doctor.Merge([]doctor.Finding{
		{Fact: "a", Evidence: []string{"1"}, Severity: doctor.Low}, {Fact: "b", Evidence: []string{"2"}}, {Fact: "a", Evidence: []string{"1", "3"}, Severity: doctor.High, Change: change},
	})
	if len(got) != 2 || !slices.Equal(got[0].Evidence, []string{"1", "3"}) || got[0].Severity != doctor.High || got[0].Change != change {
		t.Errorf("%+v", got)
	}
}

func TestCheck_refusesRulesThatLackSomething(t *testing.T) {
	good := rule("A-1", doctor.Low, finds("a"))
	if err := doctor.Check([]doctor.Rule{good}); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string][]doctor.Rule{
		"twice": {good, good}, "an id": {rule("a", doctor.Low, finds("a"))}, "a severity": {rule("A", 0, finds("a"))}, "a look": {rule("A", doctor.Low, nil)},
	} {
		if doctor.Check(bad) == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func TestSeverities_readWhatTheyWrite(t *testing.T) {
	for s := doctor.Low; s <= doctor.Critical; s++ {
		text, err := s.MarshalText()
		var back doctor.Severity
		if err != nil || back.UnmarshalText(text) != nil || back != s || s.Error() != (s >= doctor.High) {
			t.Errorf("%v: %q %v", s, text, err)
		}
	}
	var s doctor.Severity
	if _, err := doctor.Severity(9).MarshalText(); err == nil || s.UnmarshalText([]byte("bad")) == nil {
		t.Error("a severity that is none is taken")
	}
}
