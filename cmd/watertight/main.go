// Command watertight is the API proxy that cannot leak DNS. `watertight help` tells what it does.
package main

import (
	"fmt"
	"os"

	"watertight/cli"
	"watertight/trust"
	"watertight/wire"
)

func main() {
	if handled, code := child(os.Args[1:]); handled { // before the host's resolver is disarmed
		os.Exit(code)
	}
	wire.Seal()
	if err := trust.Seal(); err != nil {
		fmt.Fprintln(os.Stderr, "watertight:", err)
		os.Exit(1)
	}
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
