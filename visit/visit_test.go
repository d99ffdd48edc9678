package visit

import (
	"strings"
	"testing"
)

func TestNamesAreTakenApartAsTheyAreMade(t *testing.T) {
	label := NewLabel()
	if label == NewLabel() || !IsLabel(label) {
		t.Fatalf("%q", label)
	}
	for _, branch := range Branches {
		for depth, below := range []string{"", "a.", "a.b."} {
			name := below + Name(label, branch, "canary.example.net")
			l, b, d, err := Parse(strings.ToUpper(name)+".", "Canary.example.net.")
			if l != label || b != branch || d != depth || err != nil {
				t.Errorf("%s: %q %q %d %v", name, l, b, d, err)
			}
		}
	}
}

func TestOtherNamesAreNoVisit(t *testing.T) {
	label := NewLabel()
	for _, name := range []string{
		"", ".", "canary.example.net", "www.canary.example.net", label, label + ".example.net", label + "canary.example.net",
		label + "-.canary.example.net", label + "-new.canary.example.net", label + "a.canary.example.net", label[1:] + ".canary.example.net",
		"a." + label + ".b.canary.example.net", strings.Repeat("a.", 110) + label + ".canary.example.net",
		strings.Replace(label, label[:1], "1", 1) + ".canary.example.net",
	} {
		if l, b, d, err := Parse(name, "canary.example.net"); err == nil {
			t.Errorf("%s: %q %q %d", name, l, b, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a.b."+NewLabel()+"-v4.canary.example.net.", "canary.example.net")
	f.Fuzz(func(t *testing.T, name, zone string) {
		label, branch, _, err := Parse(name, zone)
		if err != nil {
			return
		}
		if l, b, d, err := Parse(Name(label, branch, strings.TrimSuffix(zone, ".")), zone); err == nil && (l != label || b != branch || d != 0) {
			t.Errorf("%q %q: %q %q %d %v", name, zone, l, b, d, err)
		}
	})
}
