//go:build !linux

package wire

import (
	"net"
	"syscall"
)

// hearRefusals is for Linux: elsewhere a socket that is connected to nobody is told of none.
func hearRefusals(syscall.RawConn) error { return nil }

// forget is for Linux.
func forget(*net.UDPConn) bool { return false }
