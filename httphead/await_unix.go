//go:build unix

package httphead

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// await reads what comes next into a buffer that is taken when something is there, and not before.
func (r *Reader) await(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sysErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			r.ensure(1)
			var n int
			n, sysErr = unix.Read(int(fd), r.buf)
			switch {
			case sysErr == unix.EINTR:
				continue
			case sysErr == unix.EAGAIN:
				sysErr = nil
				r.Release()
				return false
			case sysErr != nil:
				sysErr = os.NewSyscallError("read", sysErr)
			case n == 0:
				sysErr = io.EOF
			default:
				r.end = n
			}
			return true
		}
	})
	if err != nil {
		return err
	}
	return sysErr
}
