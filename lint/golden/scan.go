package golden

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/tools/go/packages"

	"watertight/lint/onedoor"
)

// counted are the rules that a dependency is held to. What is beneath Go (cgo, go:linkname) is not among them: the
// program is built without cgo, and golang.org/x/sys names runtime functions by linkname as its trade.
var counted = []string{"resolver", "socket", "client", "environment", "exec"}

// Options say how the program is built; they decide which files of a dependency are in it.
type Options struct {
	Dir  string   // the module's root
	Main []string // the packages that make the program
	Env  []string // the environment of the go command
	Tags string   // build tags, separated by commas
}

// Scan applies the rules to every package that the program is linked from, except those of the module itself. Packages
// of the standard library are not looked into: those that import net are reported whole.
func Scan(o Options) ([]Entry, error) {
	conf := packages.Config{
		Dir: o.Dir, Env: o.Env, BuildFlags: []string{"-tags=" + o.Tags},
		Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedModule,
	}
	roots, err := packages.Load(&conf, o.Main...)
	if err != nil {
		return nil, err
	}
	found := map[Entry]bool{}
	var deps []string
	var broken error
	packages.Visit(roots, nil, func(p *packages.Package) {
		switch {
		case len(p.Errors) > 0:
			broken = p.Errors[0]
		case p.Module != nil && !p.Module.Main:
			deps = append(deps, p.PkgPath)
		case p.Module == nil && p.Imports["net"] != nil:
			found[Entry{Package: p.PkgPath}] = true
		}
	})
	if broken != nil {
		return nil, fmt.Errorf("golden: the program does not load: %w", broken)
	}
	if len(deps) > 0 {
		// Syntax for the dependencies, export data for what they import: the program is compiled once, not type-checked whole.
		conf.Mode = packages.LoadSyntax
		loaded, err := packages.Load(&conf, deps...)
		if err != nil {
			return nil, err
		}
		for _, p := range loaded {
			if len(p.Errors) > 0 {
				return nil, fmt.Errorf("golden: %s: %w", p.PkgPath, p.Errors[0])
			}
			unit := onedoor.Unit{Fset: p.Fset, Files: p.Syntax, Pkg: p.Types, Info: p.TypesInfo}
			for _, f := range unit.Scan() {
				if slices.Contains(counted, f.Rule) {
					found[Entry{p.PkgPath, f.Func, f.Symbol}] = true
				}
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), Compare), nil
}
