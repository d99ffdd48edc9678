// Package onedoor holds the program to one door: package wire opens every socket, a channel resolves every name, and
// nothing else in the tree can do either, not even by accident.
//
// It is an analyzer for go vet (see lint/cmd/onedoor). It looks at what an identifier means, not at how it is written,
// so that aliases, dot imports, embedded types, function values and method values are all seen. It promises that a
// package outside the short list in exceptions.go has no way to a socket, to the host's resolver or to net/http's
// defaults through the packages it knows (rules.go). It looks beside Go too: assembly, C, and files that only a build
// with cgo would take are refused. It does not follow values: a *http.Client that some dependency hands out ready-made
// is beyond it, which is why the dependencies themselves are scanned too (lint/golden) and why the host's resolver is
// disarmed at run time (wire.Seal).
//
// Test files are held to the same rules with these reliefs: they may open sockets on loopback addresses, written as
// literals or known only at run time; run other programs; build DNS messages with github.com/miekg/dns; and send a
// client through an explicit proxy. They may not look names up, listen on every interface, or use net/http's defaults.
package onedoor

import (
	"golang.org/x/tools/go/analysis"
)

// Analyzer reports every way to the network that does not go through package wire.
var Analyzer = &analysis.Analyzer{
	Name: "onedoor",
	Doc:  "report sockets, look-ups and default clients outside package wire",
	URL:  "https://pkg.go.dev/watertight/lint/onedoor",
	Run:  run,
}

func run(pass *analysis.Pass) (any, error) {
	unit := Unit{Fset: pass.Fset, Files: pass.Files, Pkg: pass.Pkg, Info: pass.TypesInfo}
	beneath, err := Beneath(pass.Fset, pass.OtherFiles, pass.IgnoredFiles)
	if err != nil {
		return nil, err
	}
	for _, f := range append(unit.Scan(), beneath...) {
		if excepted(pass.Pkg.Path(), f.Rule) {
			continue
		}
		pass.Report(analysis.Diagnostic{Pos: f.Pos, Category: f.Rule, Message: f.Message})
	}
	return nil, nil
}
