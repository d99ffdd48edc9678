package seccomp

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestAnObserverReadsPacketsAndDoesNothingElse(t *testing.T) {
	for _, libraries := range []bool{false, true} {
		code, err := Observer(libraries)
		if err != nil || len(code) > 4096 {
			t.Fatalf("%d instructions: %v", len(code), err)
		}
		read := refuse(unix.EPERM)
		written := read
		if libraries {
			read, written = allow, refuse(unix.EACCES)
		}
		for _, c := range []struct {
			what   string
			number uint32
			args   []uint32
			want   verdict
		}{
			{"read", unix.SYS_READ, nil, allow},
			{"a thread", unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
			{"packets", unix.SYS_SOCKET, []uint32{unix.AF_PACKET, unix.SOCK_DGRAM, 0}, allow},
			{"a stream", unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM, 0}, refuse(unix.EAFNOSUPPORT)},
			{"a socket of the file system", unix.SYS_SOCKET, []uint32{unix.AF_UNIX, unix.SOCK_STREAM, 0}, refuse(unix.EAFNOSUPPORT)},
			{"netlink", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, 0}, refuse(unix.EAFNOSUPPORT)},
			{"a connection", unix.SYS_CONNECT, nil, refuse(unix.EPERM)},
			{"to send", unix.SYS_SENDTO, nil, refuse(unix.EPERM)},
			{"to send by message", unix.SYS_SENDMSG, nil, refuse(unix.EPERM)},
			{"a ring", unix.SYS_IO_URING_SETUP, nil, refuse(unix.EPERM)},
			{"to look into others", unix.SYS_PTRACE, nil, refuse(unix.EPERM)},
			{"others' memory", unix.SYS_PROCESS_VM_READV, nil, refuse(unix.EPERM)},
			{"a signal to others", unix.SYS_KILL, nil, refuse(unix.EPERM)},
			{"a mount", unix.SYS_MOUNT, nil, refuse(unix.EPERM)},
			{"to open a file", unix.SYS_OPENAT, []uint32{0, 0, unix.O_RDONLY | unix.O_CLOEXEC}, read},
			{"to change a file", unix.SYS_OPENAT, []uint32{0, 0, unix.O_RDWR}, written},
			{"to make a file", unix.SYS_OPENAT, []uint32{0, 0, unix.O_CREAT}, written},
			{"to remove a file", unix.SYS_UNLINKAT, nil, refuse(unix.EPERM)},
			{"x32", 0x40000000 + unix.SYS_SOCKET, []uint32{unix.AF_PACKET}, refuse(unix.ENOSYS)},
		} {
			if got := ask(t, code, unix.AUDIT_ARCH_X86_64, c.number, c.args...); got != c.want {
				t.Errorf("%s (libraries: %v): %#x, want %#x", c.what, libraries, got, c.want)
			}
		}
	}
}
