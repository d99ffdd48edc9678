package onedoor

import (
	"go/ast"
	"go/types"
	"slices"
)

// guarded gives the guard of a struct type, through aliases but not through pointers.
func (s *scanner) guarded(t types.Type) *guard {
	if t == nil {
		return nil
	}
	named, ok := types.Unalias(t).(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg() == s.Pkg {
		return nil
	}
	return byType[named.Obj().Pkg().Path()+"."+named.Obj().Name()]
}

// literal checks that a guarded struct is written with the fields that keep it off the host.
func (s *scanner) literal(lit *ast.CompositeLit, stack []ast.Node) {
	t := s.Info.TypeOf(lit)
	if t == nil {
		return
	}
	g := s.guarded(deref(t))
	if g == nil || s.test && s.proxied(g, lit) {
		return
	}
	if !s.sets(lit, g.need, true) || s.sets(lit, g.unset, false) {
		s.report(lit.Pos(), stack, g.rule, short(g.typ)+"{}", g.why, g.instead)
	}
}

// sets says whether the literal gives a value other than nil to the fields: to all of them, or to any.
func (s *scanner) sets(lit *ast.CompositeLit, fields []string, all bool) bool {
	count := 0
	for _, elt := range lit.Elts {
		kv, ok := elt.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if key, ok := kv.Key.(*ast.Ident); ok && slices.Contains(fields, key.Name) && !s.isNil(kv.Value) {
			count++
		}
	}
	if all {
		return count == len(fields)
	}
	return count > 0
}

// proxied says whether a test's transport goes through a proxy that the test names.
func (s *scanner) proxied(g *guard, lit *ast.CompositeLit) bool {
	return g.typ == "net/http.Transport" && s.sets(lit, []string{"Proxy"}, true)
}

// assign checks what is put into a guarded struct's fields after it was written.
func (s *scanner) assign(a *ast.AssignStmt, stack []ast.Node) {
	if len(a.Lhs) != len(a.Rhs) {
		return
	}
	for i, lhs := range a.Lhs {
		sel, ok := ast.Unparen(lhs).(*ast.SelectorExpr)
		if !ok {
			continue
		}
		t := s.Info.TypeOf(sel.X)
		if t == nil {
			continue
		}
		g := s.guarded(deref(t))
		if g == nil {
			continue
		}
		cleared := slices.Contains(g.need, sel.Sel.Name) && s.isNil(a.Rhs[i])
		set := slices.Contains(g.unset, sel.Sel.Name) && !s.isNil(a.Rhs[i])
		if cleared || set && !s.test {
			s.report(lhs.Pos(), stack, g.rule, short(g.typ)+"."+sel.Sel.Name, g.why, g.instead)
		}
	}
}

// value finds the places where a guarded struct comes into being without a literal: variables, fields, results,
// new, make, and types defined from it. A pointer to one brings nothing into being.
func (s *scanner) value(e ast.Expr, stack []ast.Node) {
	tv, ok := s.Info.Types[e]
	if !ok || !tv.IsType() {
		return
	}
	g := s.guarded(tv.Type)
	if g == nil {
		return
	}
	switch parent := stack[len(stack)-1].(type) {
	case *ast.StarExpr, *ast.ParenExpr:
		return
	case *ast.CompositeLit:
		if parent.Type == e {
			return // the literal itself is checked
		}
	case *ast.SelectorExpr:
		return // the package's part of http.Client, or a method expression
	case *ast.TypeSpec:
		if parent.Assign.IsValid() {
			return // an alias is the same type, and is seen where it is used
		}
	case *ast.ValueSpec:
		if len(parent.Values) > 0 {
			return
		}
	case *ast.CallExpr:
		if ast.Unparen(parent.Fun) == e {
			return // a conversion
		}
	}
	s.report(e.Pos(), stack, g.rule, short(g.typ), "its zero value falls back to the host: "+g.why, g.instead)
}

// instance finds a guarded struct as a type argument that is inferred, and so written nowhere: the generic function may
// make a zero one.
func (s *scanner) instance(id *ast.Ident, stack []ast.Node) {
	args := s.Info.Instances[id].TypeArgs
	if args == nil || len(stack) == 0 || called(id, stack) == nil {
		return // written out, it is an expression that value has seen
	}
	for t := range args.Types() {
		if g := s.guarded(t); g != nil {
			s.report(id.Pos(), stack, g.rule, short(g.typ), "its zero value falls back to the host: "+g.why, g.instead)
		}
	}
}

func (s *scanner) isNil(e ast.Expr) bool {
	tv, ok := s.Info.Types[e]
	return ok && tv.IsNil()
}
