package tree

import (
	"regexp"
	"strings"
	"testing"
)

// The page on the lab names tests, rows of the catalogue and packages: each has to be there.
func TestThePageOnTheLab_namesWhatIsThere(t *testing.T) {
	page, e := read(t, "docs/lab.md"), gather(t)
	catalogue, packages := read(t, "docs/leaks.md"), read(t, "scripts/test-packages")
	tests := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(page, -1)
	if len(tests) < 30 {
		t.Errorf("the page names %d tests only", len(tests))
	}
	for _, m := range tests {
		if !e.tests[m[1]] {
			t.Errorf("the page names %s, which is not there", m[1])
		}
	}
	rows := leak.FindAllStringSubmatch(page, -1)
	if len(rows) < 10 {
		t.Errorf("the page has %d rows of the catalogue only", len(rows))
	}
	for _, row := range rows {
		if !strings.Contains(catalogue, "\n| "+row[1]+" |") {
			t.Errorf("the catalogue has no row %s", row[1])
		}
		if len(quoted.FindAllString(row[2], -1)) == 0 {
			t.Errorf("%s names no test", row[1])
		}
	}
	_, programs, found := strings.Cut(page, "## Programs of others")
	if !found {
		t.Fatal("the page has no programs of others")
	}
	n := 0
	for line := range strings.Lines(programs) {
		fields := strings.Split(line, " | ")
		if len(fields) != 4 || !strings.Contains(fields[1], "`") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(fields[1], -1) {
			n++
			if !regexp.MustCompile(`(?m)^\t".* ` + regexp.QuoteMeta(m[1]) + `( .*)?"$`).MatchString(packages) {
				t.Errorf("%s is not among the packages for the tests", m[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("the page names %d packages only", n)
	}
}
