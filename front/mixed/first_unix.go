//go:build unix

package mixed

import (
	"bytes"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// firstRead is how much is read at once with the first octet: the whole of most requests' heads.
const firstRead = 4 << 10

var firstBuffers = sync.Pool{New: func() any { return new([firstRead]byte) }}

// firstOctets waits until the client has said something, and gives it. While it waits it holds no buffer.
func firstOctets(conn *net.TCPConn) (head []byte, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var sysErr error
	err = raw.Read(func(fd uintptr) bool {
		buf := firstBuffers.Get().(*[firstRead]byte)
		defer firstBuffers.Put(buf)
		for {
			var n int
			n, sysErr = unix.Read(int(fd), buf[:])
			switch {
			case sysErr == unix.EINTR:
				continue
			case sysErr == unix.EAGAIN:
				sysErr = nil
				return false
			case sysErr == nil && n == 0:
				sysErr = io.EOF
			case sysErr == nil:
				head = bytes.Clone(buf[:n])
			}
			return true
		}
	})
	if err != nil {
		return nil, err
	}
	return head, sysErr
}
