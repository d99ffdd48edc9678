//go:build !linux

package control

import "net"

// checkPeer leaves it to the modes of the socket and its directory.
func checkPeer(*net.UnixConn) error { return nil }
