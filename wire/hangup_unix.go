//go:build unix

package wire

import (
	"net"

	"golang.org/x/sys/unix"
)

// awaitHangUp waits until the client says or ends something, and says whether it ended its connection. An end of the
// wait by a deadline is none of the client's.
func awaitHangUp(conn *net.TCPConn) (gone bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var octet [1]byte
	_ = raw.Read(func(fd uintptr) bool { // its error is the deadline, or that conn was closed here
		for {
			n, _, err := unix.Recvfrom(int(fd), octet[:], unix.MSG_PEEK)
			switch err {
			case unix.EINTR:
				continue
			case unix.EAGAIN:
				return false
			}
			gone = err != nil || n == 0
			return true
		}
	})
	return gone
}
