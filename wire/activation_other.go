//go:build !linux

package wire

import (
	"errors"
	"net"
	"os"
	"strconv"
)

// Activated takes the listening sockets that a service manager passed to this process, which only Linux has. Being
// passed any is an error; otherwise the map is empty.
func Activated() (map[string][]*net.TCPListener, error) {
	if os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		return nil, errors.New("wire: socket activation works on Linux only")
	}
	return nil, nil
}
