//go:build !unix

package wire

import "net"

// awaitHangUp knows no way to look at a connection without taking octets from it.
func awaitHangUp(*net.TCPConn) (gone bool) { return false }
