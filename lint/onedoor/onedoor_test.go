package onedoor_test

import (
	"go/importer"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"watertight/lint/onedoor"
)

// Each directory under testdata/src breaks one rule in every known way (its want comments) and keeps it in others.
func TestEveryWayAroundTheDoor_isReported_andNothingElse(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0") // as releases are built: with it, the files of testdata/src/around are another package
	analysistest.Run(t, analysistest.TestData(), onedoor.Analyzer,
		"resolver", "socket", "dot", "client", "environment", "asothers", "dnslib", "exec", "beneath", "tests", "around",
		"watertight/wire", "watertight/dnswire", "watertight/dnssec", "watertight/lab/clients", "watertight/laboratory")
}

// The analyzer cannot see into a file that the build leaves out, so that one for cgo is refused whole.
func TestAFileForCgoAlone_isReported(t *testing.T) {
	dir := filepath.Join(analysistest.TestData(), "src", "ignored")
	var files []string
	for _, name := range []string{"native.go", "tagged.go", "elsewhere.go"} {
		files = append(files, filepath.Join(dir, name))
	}
	found, err := onedoor.Beneath(token.NewFileSet(), nil, files)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, f.Symbol)
	}
	if !slices.Equal(got, []string{"native.go", "tagged.go"}) {
		t.Errorf("reported: %q", got)
	}
}

// harmless are the names of the standard library that look like dialling and are not.
var harmless = []string{
	"net.Listener",        // an interface
	"net.ResolveUnixAddr", // a path
	"crypto/tls.NewListener",
	"log/syslog.Dialer",
}

// A new release of Go may bring a new way to dial: then this test fails until the rules name it.
func TestEveryDiallingNameOfTheStandardLibrary_isRuled(t *testing.T) {
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	for _, path := range []string{"net", "crypto/tls", "net/http", "net/rpc", "net/rpc/jsonrpc", "net/smtp", "net/textproto", "log/syslog"} {
		pkg, err := imp.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range dialling(pkg) {
			if !onedoor.Ruled(key) && !slices.Contains(harmless, key) {
				t.Errorf("%s looks like a way to the network, and no rule names it", key)
			}
		}
	}
}

// dialling gives the exported functions, types and methods of a package whose names speak of sockets or look-ups.
func dialling(pkg *types.Package) []string {
	var out []string
	for _, name := range pkg.Scope().Names() {
		obj := pkg.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		key := pkg.Path() + "." + name
		if speaks(name) {
			out = append(out, key)
		}
		if _, ok := types.Unalias(obj.Type()).(*types.Named); !ok || types.IsInterface(obj.Type()) {
			continue
		}
		if _, isType := obj.(*types.TypeName); !isType {
			continue
		}
		set := types.NewMethodSet(types.NewPointer(obj.Type()))
		for m := range set.Methods() {
			if m.Obj().Exported() && speaks(m.Obj().Name()) {
				out = append(out, key+"."+m.Obj().Name())
			}
		}
	}
	return out
}

func speaks(name string) bool {
	for _, prefix := range []string{"Dial", "Listen", "Lookup", "Resolve", "NewListener"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func TestEveryException_hasAReason(t *testing.T) {
	for room, why := range onedoor.Exceptions() {
		if len(why) < 20 {
			t.Errorf("%s is excepted without a reason: %q", room, why)
		}
	}
}
