package leaktest

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/leak-test.md")

// TestEverySeededLeakIsFoundAndNamedRightly makes a world leak in one way at a time, and others in none. What came of it stands
// in docs/leak-test.md.
func TestEverySeededLeakIsFoundAndNamedRightly(t *testing.T) {
	type tally struct{ seeded, found, named int }
	tallies := map[string]*tally{}
	var rows strings.Builder
	leaks := leaky()
	for _, one := range leaks {
		n := tallies[one.cause]
		if n == nil {
			n = &tally{}
			tallies[one.cause] = n
		}
		n.seeded++
		c, verdict := triedLeak(t, one)
		if verdict == Leak {
			n.found++
		}
		named := "-"
		if c.Verdict == Leak {
			named = c.Cause
		}
		if verdict == Leak && named == one.cause {
			n.named++
		}
		fmt.Fprintf(&rows, "| %s | %s | `%s` | %s | %s |\n", one.name, one.cause, one.id, verdict, named)
	}
	alarms := 0
	var quiet strings.Builder
	all := slices.Concat(sealedWorlds(), sealedWindows(), sealedHands(), sealedGuards(), sealedUsers())
	for _, one := range all {
		verdict := triedClean(t, one)
		if verdict == Leak {
			alarms++
		}
		fmt.Fprintf(&quiet, "| %s | none | - | %s | - |\n", one.name, verdict)
	}
	if len(leaks) < 40 || len(all) < 40 {
		t.Errorf("%d worlds leak, and %d do not: 40 of each are few enough", len(leaks), len(all))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d worlds leak, %d do not; there were %d false alarms.\n\n| cause | seeded | found | named rightly |\n|---|---|---|---|\n", len(leaks), len(all), alarms)
	for _, cause := range slices.SortedFunc(maps.Keys(tallies), byRow) {
		n := tallies[cause]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", cause, n.seeded, n.found, n.named)
	}
	b.WriteString("\n| world | cause | case | verdict of the run | named |\n|---|---|---|---|---|\n" + rows.String() + quiet.String() + "\n")
	keepTable(t, "what is found", b.String())
}

// byRow orders the rows of the catalogue: D10 comes after D9.
func byRow(a, b string) int {
	if a[0] != b[0] {
		return int(a[0]) - int(b[0])
	}
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func triedLeak(t *testing.T, one seeded) (c Case, verdict Verdict) {
	t.Run(one.name, func(t *testing.T) {
		r := one.run(newWorld(t))
		c, _ = r.Find(one.id)
		verdict = r.Verdict
		if r.Verdict != Leak || c.Verdict != Leak || c.Cause != one.cause || c.Fix == "" {
			t.Fatalf("the run is %s; %s is %s by %s (mend: %q), want a leak by %s\n%s", r.Verdict, c.ID, c.Verdict, c.Cause, c.Fix, one.cause, strings.Join(c.Evidence, "\n"))
		}
		if !strings.Contains(strings.Join(c.Evidence, "\n"), one.says) || !strings.HasPrefix(c.Evidence[0], "LEAK: ") {
			t.Errorf("%q is not said:\n%s", one.says, strings.Join(c.Evidence, "\n"))
		}
		for _, other := range r.Leaks() {
			if other.ID != one.id && other.Cause != one.cause {
				t.Errorf("%s is a leak by %s too:\n%s", other.ID, other.Cause, strings.Join(other.Evidence, "\n"))
			}
		}
	})
	return c, verdict
}

func triedClean(t *testing.T, one seeded) (verdict Verdict) {
	t.Run(one.name, func(t *testing.T) {
		r := one.run(newWorld(t))
		verdict = r.Verdict
		for _, c := range r.Cases {
			if r.Verdict != Sealed && c.Verdict != Sealed && (c.Needed || c.Verdict != Skipped) {
				t.Errorf("%s is %s: %s\n%s", c.ID, c.Verdict, c.Reason, strings.Join(c.Evidence, "\n"))
			}
		}
	})
	return verdict
}

// keepTable compares a table of the page with what it should be, or writes it.
func keepTable(t *testing.T, what, table string) {
	t.Helper()
	const page = "../docs/leak-test.md"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+what+": written by a test -->\n", "<!-- end of "+what+" -->\n"
	head, rest, ok := strings.Cut(string(data), begin)
	old, tail, also := strings.Cut(rest, end)
	switch {
	case !ok || !also:
		t.Fatalf("the page has no marks for %s", what)
	case *update:
		if err := os.WriteFile(page, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	case old != table:
		t.Errorf("the table of %s in docs/leak-test.md is not what the code says: go test ./leaktest -update", what)
	}
}
