// Package unix stands in for the library of that name.
package unix

const (
	SYS_SOCKET         = 41
	SYS_IO_URING_SETUP = 425
)

type Sockaddr any

func Socket(domain, typ, proto int) (int, error)     { return domain + typ + proto, nil }
func Connect(fd int, sa Sockaddr) error              { return nil }
func Bind(fd int, sa Sockaddr) error                 { return nil }
func Socketpair(domain, typ, proto int) (int, error) { return domain + typ + proto, nil }
func Splice(in, out, n int) (int, error)             { return in + out + n, nil }
func PidfdGetfd(pidfd, fd, flags int) (int, error)   { return pidfd + fd + flags, nil }

func Syscall(trap, a1, a2, a3 uintptr) (r1, r2, err uintptr)    { return trap, a1 + a2, a3 }
func RawSyscall(trap, a1, a2, a3 uintptr) (r1, r2, err uintptr) { return trap, a1 + a2, a3 }
