package leaktest

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestEveryCaseIsDocumented holds the table of docs/leak-test.md to the cases that there are, and their causes to the catalogue.
func TestEveryCaseIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/leak-test.md")
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := os.ReadFile("../docs/leaks.md")
	if err != nil {
		t.Fatal(err)
	}
	yes := map[bool]string{true: "yes"}
	needed := func(c Listed) string {
		if c.NeededWhere != "" {
			return "where " + c.NeededWhere
		}
		return yes[c.Needed]
	}
	for _, c := range List() {
		if row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", c.ID, c.Title, c.Cause, needed(c), yes[c.Canary]); !strings.Contains(string(page), row) {
			t.Errorf("docs/leak-test.md lacks the row\n%s", row)
		}
		if !strings.Contains(string(catalogue), "\n| "+c.Cause+" | ") {
			t.Errorf("%s: %s is no row of docs/leaks.md", c.ID, c.Cause)
		}
	}
}
