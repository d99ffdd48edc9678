// Package overlay builds a copy of the standard library's net package in which the host's resolver is a trap: any
// look-up of a name through a net.Resolver that was not made to refuse panics, with the stack of whoever asked.
//
// package wire replaces net.DefaultResolver, but a dependency may still write net.Resolver{} and walk around it. Under
// this overlay it does not get far. The overlay is made from the source of the Go release that is in use, at the
// moment it is used; a release whose source no longer has the expected shape is an error, never a trap left out.
package overlay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// expected are the methods through which every look-up of a name goes, and which must be found and trapped. LookupPort
// is not among them: it reads a local file. LookupIPAddr, LookupIP, LookupNetIP and all dialling by name pass
// lookupIPAddr.
var expected = []string{"LookupAddr", "LookupCNAME", "LookupHost", "LookupMX", "LookupNS", "LookupSRV", "LookupTXT", "lookupIPAddr"}

// trap is what the new net package calls. A resolver that refuses has a Dial of its own and is pure Go: that is
// wire's, which counts. Literal addresses are not names, except where the address itself is the question.
const trap = `
func (r *Resolver) trapNames(method, question string, literalIsFine bool) {
	if r != nil && r.PreferGo && r.Dial != nil {
		return
	}
	if question == "" {
		return
	}
	if _, err := netip.ParseAddr(question); err == nil && literalIsFine {
		return
	}
	panic("overlay: " + method + " was asked for " + question + " by a resolver of the host")
}
`

// Write puts the trapped source and the overlay's JSON file into dir, from the Go tree at goroot. It gives the path to
// hand to go's -overlay flag.
func Write(goroot, dir string) (string, error) {
	source := filepath.Join(goroot, "src", "net", "lookup.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	changed, err := rewrite(text)
	if err != nil {
		return "", fmt.Errorf("overlay: %s: %w", source, err)
	}
	target := filepath.Join(dir, "lookup.go")
	if err := os.WriteFile(target, changed, 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {source: target}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// rewrite puts a call of the trap at the head of every expected method.
func rewrite(text []byte) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "lookup.go", text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(text, []byte(`"net/netip"`)) {
		return nil, errors.New("it does not import net/netip")
	}
	type insert struct {
		at   int
		call string
	}
	var inserts []insert
	missing := slices.Clone(expected)
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || !isResolver(fn) {
			continue
		}
		i := slices.Index(missing, fn.Name.Name)
		if i < 0 {
			continue
		}
		missing = slices.Delete(missing, i, i+1)
		last := fn.Type.Params.List[len(fn.Type.Params.List)-1]
		if len(last.Names) == 0 || fmt.Sprint(last.Type) != "string" {
			return nil, fmt.Errorf("%s does not end in the name to look up", fn.Name.Name)
		}
		question := last.Names[len(last.Names)-1].Name
		literal := fn.Name.Name == "LookupHost" || fn.Name.Name == "lookupIPAddr"
		inserts = append(inserts, insert{
			at:   fset.Position(fn.Body.Lbrace).Offset + 1,
			call: fmt.Sprintf(" r.trapNames(%q, %s, %t);", fn.Name.Name, question, literal),
		})
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no method %s", strings.Join(missing, ", "))
	}
	var out bytes.Buffer
	done := 0
	for _, in := range inserts { // in the order of the file
		out.Write(text[done:in.at])
		out.WriteString(in.call)
		done = in.at
	}
	out.Write(text[done:])
	out.WriteString(trap)
	return out.Bytes(), nil
}

func isResolver(fn *ast.FuncDecl) bool {
	if fn.Recv == nil || len(fn.Recv.List) != 1 || fn.Body == nil {
		return false
	}
	star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
	if !ok || len(fn.Recv.List[0].Names) != 1 || fn.Recv.List[0].Names[0].Name != "r" {
		return false
	}
	id, ok := star.X.(*ast.Ident)
	return ok && id.Name == "Resolver"
}
