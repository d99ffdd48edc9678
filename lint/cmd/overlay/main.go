// Command overlay writes an overlay in which the host's resolver panics, and prints the file to hand to -overlay:
//
//	go test -overlay "$(go run ./lint/cmd/overlay "$(go env GOROOT)" DIR)" ./channel/...
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"watertight/lint/overlay"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: overlay GOROOT DIR")
		os.Exit(2)
	}
	dir, err := filepath.Abs(os.Args[2])
	if err == nil {
		var list string
		if list, err = overlay.Write(os.Args[1], dir); err == nil {
			fmt.Println(list)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
