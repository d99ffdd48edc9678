package contain

import (
	"errors"
	"os"

	"watertight/contain/network"
)

// SocketsOf makes the sockets of a program of what was handed over, in the order of their names ([network.Sockets.All]), and closes
// the files. On an error nothing is left open.
func SocketsOf(names []string, files []*os.File) (network.Sockets, error) {
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			closeAll(files)
			return network.Sockets{}, errors.New("contain: a socket came twice")
		}
		seen[n] = true
	}
	return socketsOf(names, files)
}
