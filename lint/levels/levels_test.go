package levels

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "watertight"

func TestTheTree_keepsTheLevelsOfARCHITECTURE(t *testing.T) {
	text, err := os.ReadFile("../../ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	l, err := Find(string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range l.Check(tree(t)) {
		t.Error(wrong)
	}
}

// tree asks the go command for every package of the module and its imports within it.
func tree(t *testing.T) []Package {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,GoFiles", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var all []Package
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
			GoFiles    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		pkg := Package{Path: within(p.ImportPath)}
		for _, path := range p.Imports {
			if path == module || strings.HasPrefix(path, module+"/") {
				pkg.Imports = append(pkg.Imports, within(path))
			}
		}
		all = append(all, pkg)
	}
}

func within(path string) string { return strings.TrimPrefix(path, module+"/") }

const sample = "text\n```levels\nname · fault   # words\nwire\nfront/a · front/b\nlab/...  (only for demo)\ndemo/...\nlint/...  (for nobody)\n```\n"

func TestCheck_findsEachKindOfDeparture(t *testing.T) {
	l, err := Find(sample)
	if err != nil {
		t.Fatal(err)
	}
	sound := []Package{
		{"name", nil},
		{"fault", nil},
		{"wire", []string{"name", "fault"}},
		{"front/a", []string{"wire"}},
		{"front/b", []string{"name"}},
		{"lab", []string{"front/a", "lab/clients"}},
		{"lab/clients", []string{"wire"}},
		{"demo", []string{"lab/clients", "demo/ordinary"}},
		{"demo/ordinary", nil},
		{"lint/levels", []string{"lint/other"}},
		{"lint/other", nil},
	}
	if wrong := l.Check(sound); len(wrong) > 0 {
		t.Fatalf("a sound tree is refused: %q", wrong)
	}
	for _, tt := range []struct {
		pkg  Package
		want string
	}{
		{Package{"name", []string{"wire"}}, "name imports wire, which is on a line below it"},
		{Package{"front/a", []string{"front/b"}}, "front/a imports front/b, which is on its own line"},
		{Package{"stray", nil}, "stray has no line in the text"},
		{Package{"wire", []string{"lab"}}, "wire imports lab, which may be imported only by demo"},
		{Package{"demo", []string{"lint/levels"}}, "demo imports lint/levels, which may be imported only by nobody"},
	} {
		if wrong := l.Check(append(slices.Clone(sound), tt.pkg)); !slices.Equal(wrong, []string{tt.want}) {
			t.Errorf("got %q, want %q", wrong, tt.want)
		}
	}
	if wrong := l.Check(sound[1:]); !slices.Contains(wrong, "name has a line in the text and is not in the tree") {
		t.Errorf("a line without a package passes: %q", wrong)
	}
}

func TestFind_refusesATextThatSaysNothingOrTwoThings(t *testing.T) {
	for _, text := range []string{
		"no block", "```levels\n```\n", "```levels\n# only a remark\n```\n",
		"```levels\na\n```\n```levels\nb\n```\n", "```levels\na · a\n```\n", "```levels\na b\n```\n", "```levels\na · \n```\n",
	} {
		if l, err := Find(text); err == nil {
			t.Errorf("%q is read as %v", text, l)
		}
	}
}
