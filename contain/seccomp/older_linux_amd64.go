package seccomp

import "golang.org/x/sys/unix"

// older are calls that younger architectures have no number for, and olderFiles those of them that look for files.
var (
	older      = []uint32{unix.SYS_POLL, unix.SYS_EPOLL_WAIT, unix.SYS_ARCH_PRCTL, unix.SYS_GETRLIMIT}
	olderFiles = []uint32{unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_NEWFSTATAT, unix.SYS_STAT}
)
