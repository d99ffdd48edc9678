// Command onedoor runs the analyzer of lint/onedoor under go vet:
//
//	go build -o onedoor ./lint/cmd/onedoor && go vet -vettool=./onedoor ./...
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"watertight/lint/onedoor"
)

func main() { unitchecker.Main(onedoor.Analyzer) }
