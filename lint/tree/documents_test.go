package tree

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var listed = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|")

func TestTheListOfDependencies_isThatOfGoMod(t *testing.T) {
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Tool []struct{ Path string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range mod.Require {
		tool := slices.ContainsFunc(mod.Tool, func(tool struct{ Path string }) bool {
			return tool.Path == r.Path || strings.HasPrefix(tool.Path, r.Path+"/")
		})
		if !r.Indirect || tool {
			want = append(want, r.Path)
		}
	}
	for _, m := range listed.FindAllStringSubmatch(read(t, "docs/dependencies.md"), -1) {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/dependencies.md lists\n%s\ngo.mod requires\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var (
	leak   = regexp.MustCompile(`(?m)^\| ([A-H][0-9]+) \|(.*)\|$`)
	naming = regexp.MustCompile("(lab|test) ((?:`[^`]+`(?:, )?)+)")
)

// A row of the catalogue that names a case of the lab or a test names one that is there.
func TestEveryRowOfTheLeakCatalogue_hasAStatusThatCanBeChecked(t *testing.T) {
	source := map[string]string{"lab": "", "test": ""}
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		if strings.HasPrefix(name, "lab/") {
			source["lab"] += read(t, name)
		}
		if strings.HasSuffix(name, "_test.go") {
			source["test"] += read(t, name)
		}
	}
	rows := leak.FindAllStringSubmatch(read(t, "docs/leaks.md"), -1)
	if len(rows) < 50 {
		t.Errorf("the catalogue has %d rows only", len(rows))
	}
	for _, row := range rows {
		cells := strings.Split(row[2], " | ")
		status := strings.TrimSpace(cells[len(cells)-1])
		if !regexp.MustCompile(`^(type|lab|test|analyzer|planned)\b`).MatchString(status) {
			t.Errorf("%s has the status %q", row[1], status)
		}
		for _, m := range naming.FindAllStringSubmatch(status, -1) {
			for _, id := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[2], -1) {
				want := id[1]
				if m[1] == "test" {
					want = "func " + want + "("
				} else {
					want = `"` + want
				}
				if !strings.Contains(source[m[1]], want) {
					t.Errorf("%s is held by %s `%s`, which is not there", row[1], m[1], id[1])
				}
			}
		}
	}
}
