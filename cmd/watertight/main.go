// Command watertight is the API proxy that cannot leak DNS. `watertight help` tells what it does.
package main

import (
	"os"

	"watertight/cli"
	"watertight/demo"
	"watertight/wire"
)

func main() {
	// The children of the demonstration come first: one of them is an ordinary client, with an ordinary resolver.
	if handled, code := demo.Child(os.Args[1:]); handled {
		os.Exit(code)
	}
	wire.Seal()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
