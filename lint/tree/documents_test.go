package tree

import (
	"encoding/json"
	"fmt"
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
	leak     = regexp.MustCompile(`(?m)^\| ([A-H][0-9]+) \|(.*)\|$`)
	naming   = regexp.MustCompile("\\b(lab|test) ((?:`[^`]+`(?:, )?)+)")
	typeName = regexp.MustCompile("type: `([a-z]+)(?:\\.([A-Z][A-Za-z]*))?`")
	quoted   = regexp.MustCompile("`([^`]+)`")
	cellID   = regexp.MustCompile(`"([A-H][0-9]+)["/ ]`)
)

// evidence is what rows of the catalogue may name.
type evidence struct {
	tests map[string]bool // functions
	cells map[string]bool // ids of rows that the lab plays
	code  map[string]string
}

func gather(t *testing.T) evidence {
	t.Helper()
	e := evidence{tests: map[string]bool{}, cells: map[string]bool{}, code: map[string]string{}}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".go") {
			continue
		}
		text := read(t, name)
		if !strings.HasSuffix(name, "_test.go") {
			e.code[filepath.Dir(name)] += text
			continue
		}
		for _, m := range function.FindAllStringSubmatch(text, -1) {
			e.tests[m[1]] = true
		}
		if strings.HasPrefix(name, "lab/cells/") {
			for _, m := range cellID.FindAllStringSubmatch(text, -1) {
				e.cells[m[1]] = true
			}
		}
	}
	return e
}

// has says whether something that a status names, as a kind of evidence, is there.
func (e evidence) has(kind, id string) bool {
	if kind == "test" {
		return e.tests[id]
	}
	return e.cells[id]
}

// doubts says what is wrong with a row's status.
func (e evidence) doubts(row, status string) (doubts []string) {
	doubt := func(format string, args ...any) { doubts = append(doubts, fmt.Sprintf(format, args...)) }
	if !regexp.MustCompile(`^(type|lab|test|analyzer|planned)\b`).MatchString(status) {
		doubt("the status %q", status)
	}
	named := false
	for _, m := range naming.FindAllStringSubmatch(status, -1) {
		for _, id := range quoted.FindAllStringSubmatch(m[2], -1) {
			named = named || m[1] == "lab" && id[1] == row
			if !e.has(m[1], id[1]) {
				doubt("%s `%s`, which is not there", m[1], id[1])
			}
		}
	}
	for _, m := range typeName.FindAllStringSubmatch(status, -1) {
		code := e.code[m[1]]
		if code == "" || m[2] != "" && !regexp.MustCompile(`(?m)^(func|type) `+m[2]+`\b`).MatchString(code) {
			doubt("the type %s.%s, which is not there", m[1], m[2])
		}
	}
	if e.cells[row] && !named {
		doubt("not the cell that the lab has for it")
	}
	return doubts
}

// A row of the catalogue that names a case of the lab, a test or a type names one that is there.
func TestEveryRowOfTheLeakCatalogue_hasAStatusThatCanBeChecked(t *testing.T) {
	e := gather(t)
	rows := leak.FindAllStringSubmatch(read(t, "docs/leaks.md"), -1)
	if len(rows) < 50 {
		t.Errorf("the catalogue has %d rows only", len(rows))
	}
	known := map[string]bool{}
	for _, row := range rows {
		if known[row[1]] {
			t.Errorf("%s stands there twice", row[1])
		}
		known[row[1]] = true
		cells := strings.Split(row[2], " | ")
		for _, doubt := range e.doubts(row[1], strings.TrimSpace(cells[len(cells)-1])) {
			t.Errorf("%s is said to be held by %s", row[1], doubt)
		}
	}
	for id := range e.cells {
		if !known[id] {
			t.Errorf("the lab plays %s, which the catalogue does not have", id)
		}
	}
}

func TestAStatusIsDoubted_ifWhatItNamesIsNotThere(t *testing.T) {
	e := gather(t)
	for status, good := range map[string]bool{
		"lab `A1`": true, "lab `A1`; test `TestClientResolved`": true, "type: `resolve.New` is the one; lab `A1`": true,
		"lab `A1`; type: `wire` refuses": true, "lab `A1`: said of it; planned: more": true,
		"lab `A`": false, "lab `A99`": false, "lab `A1`, `A99`": false, "planned": false, "lab `A2`": false, "held": false,
		"lab `A1`; test `TestClientResolve`": false, "lab `A1`; test `TestClientResolved`, `TestNothing`": false,
		"type: `resolve.Old`; lab `A1`": false, "type: `wires` refuses; lab `A1`": false,
	} {
		if doubts := e.doubts("A1", status); (len(doubts) == 0) != good {
			t.Errorf("%s: %q", status, doubts)
		}
	}
}
