package onedoor

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"strconv"
	"strings"
)

// Unit is one type-checked package.
type Unit struct {
	Fset  *token.FileSet
	Files []*ast.File
	Pkg   *types.Package
	Info  *types.Info
}

// Finding is one way to the network that is not through the door.
type Finding struct {
	Pos     token.Pos
	Rule    string // the rule's id
	Symbol  string // what was used: net.Dial, http.Transport{}
	Func    string // the function around it: Dial, (*Client).Dial, or "package" outside any
	Message string // the reason and the right call
}

// Scan applies every rule to the unit, in the order of the source. It knows no exceptions.
func (u Unit) Scan() []Finding {
	var out []Finding
	for _, file := range u.Files {
		s := scanner{Unit: u, test: strings.HasSuffix(u.Fset.Position(file.FileStart).Filename, "_test.go"), out: &out}
		s.imports(file)
		s.directives(file)
		ast.PreorderStack(file, nil, func(n ast.Node, stack []ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				s.use(n, stack)
				s.instance(n, stack)
			case *ast.CompositeLit:
				s.literal(n, stack)
			case *ast.AssignStmt:
				s.assign(n, stack)
			}
			if e, ok := n.(ast.Expr); ok {
				s.value(e, stack)
			}
			return true
		})
	}
	return out
}

// scanner goes through one file.
type scanner struct {
	Unit
	test bool
	out  *[]Finding
}

func (s *scanner) report(pos token.Pos, stack []ast.Node, rule, symbol, why, instead string) {
	*s.out = append(*s.out, Finding{
		Pos: pos, Rule: rule, Symbol: symbol, Func: enclosing(stack),
		Message: fmt.Sprintf("%s: %s; %s (onedoor: %s)", symbol, why, instead, rule),
	})
}

// imports applies the rules on whole packages.
func (s *scanner) imports(file *ast.File) {
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		r := byImport[p]
		if r == nil || p == s.Pkg.Path() || s.test && r.tests == lifted {
			continue
		}
		s.report(spec.Pos(), nil, r.id, "import "+strconv.Quote(p), r.why, r.instead)
	}
}

// directives finds //go:linkname, which names a function without using it.
func (s *scanner) directives(file *ast.File) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") {
				s.report(c.Pos(), nil, "beneath", "go:linkname", "it reaches what no rule here can name", "call the exported function")
			}
		}
	}
}

// use applies the rules on names to one identifier.
func (s *scanner) use(id *ast.Ident, stack []ast.Node) {
	obj := s.Info.Uses[id]
	if obj == nil || obj.Pkg() == nil || obj.Pkg() == s.Pkg {
		return // a package that is ruled by name may use its own names
	}
	key, owner := symbol(obj)
	r := bySymbol[key]
	if r == nil {
		r = bySymbol[owner]
	}
	if r == nil {
		return
	}
	if s.test && (r.tests == lifted || r.tests == loopback && s.stays(id, stack)) {
		return
	}
	s.report(id.Pos(), stack, r.id, short(key), r.why, r.instead)
}

// symbol gives an object's name as the rules write it, and for a method also its type's. It is empty for what no rule
// can name: local variables, fields, and methods of interfaces.
func symbol(obj types.Object) (key, owner string) {
	base := obj.Pkg().Path() + "."
	if fn, ok := obj.(*types.Func); ok {
		recv := fn.Origin().Signature().Recv()
		if recv == nil {
			return base + fn.Name(), ""
		}
		named, ok := deref(recv.Type()).(*types.Named)
		if !ok {
			return "", ""
		}
		owner = base + named.Obj().Name()
		return owner + "." + fn.Name(), owner
	}
	if obj.Parent() != obj.Pkg().Scope() {
		return "", ""
	}
	return base + obj.Name(), ""
}

// deref takes aliases and one pointer off a type.
func deref(t types.Type) types.Type {
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		t = types.Unalias(p.Elem())
	}
	return t
}

// short turns net/http.Get into http.Get.
func short(key string) string { return path.Base(key) }

// enclosing names the declared function that the stack is in.
func enclosing(stack []ast.Node) string {
	for _, n := range stack {
		fn, ok := n.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil || len(fn.Recv.List) == 0 {
			return fn.Name.Name
		}
		recv := fn.Recv.List[0].Type
		star, pointer := recv.(*ast.StarExpr)
		if pointer {
			recv = star.X
		}
		if ix, ok := recv.(*ast.IndexExpr); ok {
			recv = ix.X
		}
		if ix, ok := recv.(*ast.IndexListExpr); ok {
			recv = ix.X
		}
		if id, ok := recv.(*ast.Ident); ok && pointer {
			return "(*" + id.Name + ")." + fn.Name.Name
		} else if ok {
			return id.Name + "." + fn.Name.Name
		}
		return fn.Name.Name
	}
	return "package"
}
