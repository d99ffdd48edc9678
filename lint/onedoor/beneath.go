package onedoor

import (
	"fmt"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// Beneath looks at the files of a package that are not Go as the rules read it: other holds what is assembled or
// compiled beside it, ignored the Go files that this build leaves out. A file that only a build with cgo takes would
// be in a program built without the release's settings, and no rule would have seen it.
func Beneath(fset *token.FileSet, other, ignored []string) ([]Finding, error) {
	var out []Finding
	for _, file := range other {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		f := fset.AddFile(file, -1, len(text))
		f.SetLinesForContent(text)
		out = append(out, below(f.Pos(0), filepath.Base(file), "it is beneath Go, where no rule here reaches", "write it in Go"))
	}
	for _, file := range ignored {
		if !strings.HasSuffix(file, ".go") {
			continue
		}
		parsed, err := parser.ParseFile(fset, file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return nil, err
		}
		needs := false
		for _, spec := range parsed.Imports {
			needs = needs || spec.Path.Value == `"C"`
		}
		for _, group := range parsed.Comments {
			for _, c := range group.List {
				if expr, err := constraint.Parse(c.Text); err == nil && c.Pos() < parsed.Package {
					needs = needs || mentions(expr, "cgo")
				}
			}
		}
		if needs {
			out = append(out, below(parsed.FileStart, filepath.Base(file), "only a build with cgo takes it, and there no rule has seen it", "write it in Go, for every build"))
		}
	}
	return out, nil
}

func below(pos token.Pos, symbol, why, instead string) Finding {
	return Finding{
		Pos: pos, Rule: "beneath", Symbol: symbol, Func: "package",
		Message: fmt.Sprintf("%s: %s; %s (onedoor: beneath)", symbol, why, instead),
	}
}

// mentions says that a build constraint depends on a tag.
func mentions(expr constraint.Expr, tag string) bool {
	switch e := expr.(type) {
	case *constraint.TagExpr:
		return e.Tag == tag
	case *constraint.NotExpr:
		return mentions(e.X, tag)
	case *constraint.AndExpr:
		return mentions(e.X, tag) || mentions(e.Y, tag)
	case *constraint.OrExpr:
		return mentions(e.X, tag) || mentions(e.Y, tag)
	default:
		return false
	}
}
