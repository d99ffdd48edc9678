package dnssec

import (
	"slices"
	"strings"
	"testing"
)

func TestNamesAreSortedAsInTheStandard(t *testing.T) { // RFC 4034, section 6.1
	want := []string{"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return compare(mustName(a), mustName(b)) })
	if !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestANameIsUnderAnotherLabelByLabel(t *testing.T) {
	for _, c := range []struct {
		n, zone string
		want    bool
	}{
		{"www.ed.example", "ed.example", true},
		{"ED.example", "ed.Example.", true},
		{"xed.example", "ed.example", false},
		{`x\002ed.example`, "ed.example", false},
		{`www\.ed.example`, "ed.example", false},
		{"example", "ed.example", false},
		{"a", "", true},
		{"", "a", false},
	} {
		if got := mustName(c.n).under(mustName(c.zone)); got != c.want {
			t.Errorf("%s under %s: %v", c.n, c.zone, got)
		}
	}
}

func TestNamesThatCannotBeAreRefused(t *testing.T) {
	for _, s := range []string{"a..b", strings.Repeat("a", 64), strings.Repeat("abcdefg.", 32) + "x", `\`} {
		if n, ok := parseName(s); ok {
			t.Errorf("%.20q: %q", s, n)
		}
	}
	if n := mustName("."); n != root || n.text() != "the root" || n.parent() != root || n.labels() != 0 {
		t.Errorf("%q", n)
	}
}
