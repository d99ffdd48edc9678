package cells

import (
	"os"
	"strings"
	"testing"

	"watertight/lab"
)

// The document's table of doors and ways is what is played.
func TestTheTableOfDoorsAndWays_isThatOfTheDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("| way |")
	for _, e := range entrances() {
		b.WriteString(" " + e.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(entrances())) + "\n")
	for _, w := range ways() {
		b.WriteString("| " + w.name + " |")
		for _, e := range entrances() {
			b.WriteString(map[bool]string{true: " refused |", false: " carried |"}[w.refuses(e)])
		}
		b.WriteString("\n")
	}
	if page := lab.Must(os.ReadFile("../../docs/lab.md"))(t); !strings.Contains(string(page), b.String()) {
		t.Errorf("docs/lab.md has another table than\n%s", b.String())
	}
}
