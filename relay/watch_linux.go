package relay

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// watch waits, after the clean end of src, until src is shut by the end of the other way, or reset. Nobody else notices
// a reset while dst says nothing: the other way, which has nobody to carry to any more, gets its term, so that dst can
// finish what it is about. Where the other way has ended too, that changes nothing. While it waits the flow holds
// neither buffer nor pipe.
func (f *flow) watch() {
	if f.from == nil || f.from.Read(f.broken) != nil {
		return // no kernel socket; or woken, and all is over
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = os.NewSyscallError("poll", f.sysErr)
	f.endSoon()
}

// broken says whether src, which has ended, can be written no more, and leaves in sysErr why.
func (f *flow) broken(fd uintptr) bool {
	// POLLERR and POLLHUP are always looked for; a socket that only one side has ended shows neither (poll(2)). An
	// error of poll itself, as by a signal, means that nothing was found: what comes later wakes the wait again.
	p := [1]unix.PollFd{{Fd: int32(fd)}}
	if n, _ := unix.Poll(p[:], 0); n <= 0 {
		return false
	}
	// Of a reset that follows an end the kernel says EPIPE, or nothing where a write has said it already.
	f.sysErr = unix.ECONNRESET
	if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 && unix.Errno(code) != unix.EPIPE {
		f.sysErr = unix.Errno(code)
	}
	return true
}

// taken says whether the far side of a kernel socket has got all that was sent to it, the end included. Such a side
// can be reset without taking anything from it.
func taken(c net.Conn) bool {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	left := -1
	err = raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			left = n
		}
	})
	return err == nil && left == 0
}
