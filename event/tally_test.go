package event

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"watertight/fault"
)

func TestTally_CountsWhatWasRefusedByCode(t *testing.T) {
	var all Tally
	if got := all.String(); got != "" {
		t.Errorf("an empty one is %q", got)
	}
	for _, code := range []fault.Code{fault.PolicyPlainHTTP, "", fault.DNSNXDomain, fault.PolicyPlainHTTP} {
		all.Request(&Request{Code: code})
	}
	if got, want := all.String(), "DNS_NXDOMAIN 1, POLICY_PLAIN_HTTP 2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDoors_AreAllThatThereAre(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Door" {
			return true
		}
		n++
		if text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value); err != nil || !slices.Contains(Doors(), Door(text)) {
			t.Errorf("%s is not among the doors", spec.Names[0].Name)
		}
		return true
	})
	if n == 0 || n != len(Doors()) {
		t.Errorf("event.go has %d doors, and there are %d", n, len(Doors()))
	}
}
