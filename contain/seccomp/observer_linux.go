package seccomp

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// observing lists the system calls of a program of Go that reads packets, besides those in older: it has its memory, its threads and
// the files that it was started with. What is not here is refused, so that it opens no other file, no connection and no
// device, sends nothing, and starts no program with more rights than its own.
var observing = []uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_LSEEK,
	unix.SYS_FCNTL, unix.SYS_PIPE2, unix.SYS_EVENTFD2, unix.SYS_PPOLL, unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MREMAP,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL, unix.SYS_RESTART_SYSCALL,
	unix.SYS_CLONE, unix.SYS_EXECVE, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_FUTEX, unix.SYS_RSEQ, unix.SYS_MEMBARRIER,
	unix.SYS_SET_TID_ADDRESS, unix.SYS_SET_ROBUST_LIST, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_GETRANDOM,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
	unix.SYS_UNAME, unix.SYS_PRLIMIT64, unix.SYS_PRCTL, unix.SYS_CAPGET, unix.SYS_CAPSET,
	unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKOPT,
}

// opening are calls by which a file may be opened: its flags, of which those are refused that would let it be changed.
func opening() []unix.SockFilter {
	const changes = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND
	return anyOf(2, changes, refuse(unix.EACCES), allow)
}

// Observer gives the program for a process that reads packets from a socket which it makes itself (AF_PACKET), and has nothing to
// do with the host besides. With libraries, it may open files to read, as a program that is linked with some does when it starts.
func Observer(libraries bool) ([]unix.SockFilter, error) {
	pass := []unix.SockFilter{ret(allow)}
	var calls []call
	for _, number := range append(append([]uint32(nil), observing...), older...) {
		calls = append(calls, call{number: number, look: pass})
	}
	calls = append(calls,
		call{number: unix.SYS_SOCKET, look: oneOf(0, []uint32{unix.AF_PACKET}, allow, refuse(unix.EAFNOSUPPORT))},
		call{number: unix.SYS_BIND, look: pass}, // of such a socket only: no other can be made
		call{number: unix.SYS_CLONE3, then: refuse(unix.ENOSYS)})
	if libraries {
		calls = append(calls, call{number: unix.SYS_OPENAT, look: opening()}, call{number: unix.SYS_READLINKAT, look: pass},
			call{number: unix.SYS_FACCESSAT, look: pass}, call{number: unix.SYS_FACCESSAT2, look: pass}, call{number: unix.SYS_STATX, look: pass})
		for _, number := range olderFiles {
			calls = append(calls, call{number: number, look: pass})
		}
	}
	switch runtime.GOARCH {
	case "amd64":
		return assembleTo(unix.AUDIT_ARCH_X86_64, true, calls, refuse(unix.EPERM)), nil
	case "arm64":
		return assembleTo(unix.AUDIT_ARCH_AARCH64, false, calls, refuse(unix.EPERM)), nil
	}
	return nil, fmt.Errorf("the system calls of %s are not known here", runtime.GOARCH)
}
