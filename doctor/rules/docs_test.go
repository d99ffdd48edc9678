package rules

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"watertight/doctor/doctortest"
)

var update = flag.Bool("update", false, "write the tables of docs/doctor.md")

const page = "../../docs/doctor.md"

// between gives the text between two marks of the page, and puts another in its place.
func between(t *testing.T, text, mark, table string) (old, now string) {
	t.Helper()
	begin, end := "<!-- "+mark+": written by a test -->\n", "<!-- end of "+mark+" -->\n"
	head, rest, ok := strings.Cut(text, begin)
	old, tail, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("the page has no marks for %s", mark)
	}
	return old, head + begin + table + end + tail
}

// held compares a table of the page with what it should be, or writes it.
func held(t *testing.T, mark, table string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	old, now := between(t, string(data), mark, table)
	if *update {
		if err := os.WriteFile(page, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if old != table {
		t.Errorf("the table of %s in docs/doctor.md is not what the code says: go test ./doctor/rules -update", mark)
	}
}

func TestThePageOnTheDoctor_hasEveryRule(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n| rule | severity | what it finds | who is affected |\n|---|---|---|---|\n")
	for _, r := range All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.ID, r.Severity, r.Title, strings.ReplaceAll(strings.Join(r.Clients, "; "), "|", "\\|"))
	}
	b.WriteString("\n")
	held(t, "rules", b.String())
}

// tally is what the hosts showed of one rule.
type tally struct{ leaky, found, clean, alarms int }

// What each host of the tests has and what was found there stands in the documents, and is what happens.
func TestThePageOnTheDoctor_hasWhatWasFoundOnEachHost(t *testing.T) {
	byRule := map[string]*tally{}
	for _, r := range All() {
		byRule[r.ID] = &tally{}
	}
	var rows strings.Builder
	leaky, clean, missed, alarms := 0, 0, 0, 0
	for _, c := range doctortest.Cases(t, "testdata/hosts") {
		has, found := map[string]bool{}, map[string]bool{}
		for _, w := range c.Wants {
			has[w.ID] = true
		}
		for _, f := range report(t, c).Findings {
			found[f.ID] = true
		}
		if len(has) > 0 {
			leaky++
		} else {
			clean++
		}
		for id, n := range byRule {
			switch {
			case has[id]:
				n.leaky++
				n.found += one(found[id])
				missed += one(!found[id])
			default:
				n.clean++
				n.alarms += one(found[id])
				alarms += one(found[id])
			}
		}
		fmt.Fprintf(&rows, "| %s | %s | %s | %s |\n", c.Name, c.Comment, ids(has), ids(found))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d hosts have something to be found, %d are clean; %d causes were missed, and there were %d false alarms.\n\n", leaky, clean, missed, alarms)
	b.WriteString("| rule | on hosts that have it: found | on all others: false alarms |\n|---|---|---|\n")
	for _, r := range All() {
		n := byRule[r.ID]
		fmt.Fprintf(&b, "| `%s` | %d of %d | %d of %d |\n", r.ID, n.found, n.leaky, n.alarms, n.clean)
		if n.leaky == 0 && r.ID != "GRPC-GO-OLD" { // whose host needs a program that is built
			t.Errorf("no host has what %s finds", r.ID)
		}
	}
	b.WriteString("\n| host | what it is | has | found |\n|---|---|---|---|\n" + rows.String() + "\n")
	if leaky < 40 || clean < 40 || missed > 0 || alarms > 0 {
		t.Errorf("%d leaky hosts, %d clean ones, %d causes missed, %d false alarms", leaky, clean, missed, alarms)
	}
	held(t, "hosts", b.String())
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

func ids(set map[string]bool) string {
	if len(set) == 0 {
		return "-"
	}
	return "`" + strings.Join(slices.Sorted(maps.Keys(set)), "`, `") + "`"
}
