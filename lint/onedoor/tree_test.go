package onedoor

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// The tree is held to the rules by go test too, and the exceptions to the tree: one that nothing needs is a hole.
func TestTheTree_keepsTheRules_andNeedsEveryException(t *testing.T) {
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.LoadSyntax, Dir: "../..", Tests: true,
		Env: append(os.Environ(), "CGO_ENABLED=0"), BuildFlags: []string{"-tags=netgo,osusergo"},
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	type use struct{ room, rule string }
	needed := map[use]bool{}
	reported := map[string]bool{} // a file is in its package and in the package's test variant
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			t.Fatalf("%s: %v", p.ID, p.Errors[0])
		}
		if strings.HasSuffix(p.PkgPath, ".test") {
			continue // the generated main of a test
		}
		beneath, err := Beneath(p.Fset, p.OtherFiles, p.IgnoredFiles)
		if err != nil {
			t.Fatal(err)
		}
		found := (Unit{Fset: p.Fset, Files: p.Syntax, Pkg: p.Types, Info: p.TypesInfo}).Scan()
		for _, f := range append(found, beneath...) {
			if !excepted(p.PkgPath, f.Rule) {
				if line := p.Fset.Position(f.Pos).String() + ": " + f.Message; !reported[line] {
					reported[line] = true
					t.Error(line)
				}
				continue
			}
			for _, e := range exceptions {
				if in(strings.TrimSuffix(p.PkgPath, "_test"), e.room) {
					needed[use{e.room, f.Rule}] = true
				}
			}
		}
	}
	for _, e := range exceptions {
		for _, rule := range e.rules {
			if !needed[use{e.room, rule}] {
				t.Errorf("nothing in %s needs its exception from the rule %s", e.room, rule)
			}
		}
	}
}
