// Command watertight is the API proxy that cannot leak DNS. `watertight help` tells what it does.
package main

import (
	"os"

	"watertight/cli"
	"watertight/wire"
)

func main() {
	if handled, code := child(os.Args[1:]); handled { // before the host's resolver is disarmed
		os.Exit(code)
	}
	wire.Seal()
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
