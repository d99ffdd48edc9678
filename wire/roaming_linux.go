package wire

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hearRefusals has the kernel tell of errors of ICMP on a socket that is connected to nobody (ip(7), IP_RECVERR).
func hearRefusals(raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
	})
}

// forget empties the queue of errors, which takes room from what comes. It says whether there was one.
func forget(conn *net.UDPConn) (had bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) {
		var b, oob [1]byte
		for range 1024 {
			if _, _, _, _, err := unix.Recvmsg(int(fd), b[:], oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT); err != nil {
				return
			}
			had = true
		}
	})
	return had
}
