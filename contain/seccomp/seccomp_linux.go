package seccomp

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// verdict is what becomes of a system call.
type verdict uint32

const (
	allow = verdict(unix.SECCOMP_RET_ALLOW)
	kill  = verdict(unix.SECCOMP_RET_KILL_PROCESS)
)

func refuse(errno unix.Errno) verdict { return verdict(unix.SECCOMP_RET_ERRNO) | verdict(errno) }

// call is a system call that is refused, or looked at.
type call struct {
	number uint32
	look   []unix.SockFilter // looks at arguments and always returns; empty: then
	then   verdict
}

// Offsets in struct seccomp_data (seccomp(2)). Of an argument the low half is read: all that is looked at are ints or
// flags that fit, of which the kernel reads no more either.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func argument(n uint32) unix.SockFilter { return load(offArgs + 8*n) } // little endian on both architectures

func ret(v verdict) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: uint32(v)}
}

// unless skips the next n instructions where the test does not hold.
func unless(test uint16, k uint32, n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jf: uint8(n)}
}

// oneOf returns hit for the argument n if it is one of values, else miss.
func oneOf(n uint32, values []uint32, hit, miss verdict) []unix.SockFilter {
	out := []unix.SockFilter{argument(n)}
	for _, value := range values {
		out = append(out, unless(unix.BPF_JEQ, value, 1), ret(hit))
	}
	return append(out, ret(miss))
}

// anyOf returns hit if the argument n has one of these bits, else miss.
func anyOf(n, bits uint32, hit, miss verdict) []unix.SockFilter {
	return []unix.SockFilter{argument(n), unless(unix.BPF_JSET, bits, 1), ret(hit), ret(miss)}
}

// sockets are of families that a network namespace parts: UNIX, IPv4, IPv6, and of netlink what getaddrinfo, ss and
// libudev ask for, none of which leads out. All others reach devices or the machine's own host (AF_VSOCK, AF_BLUETOOTH,
// AF_QIPCRTR), or load modules, or take rights that nobody has inside (AF_PACKET, AF_XDP).
func sockets() []unix.SockFilter {
	netlink := oneOf(2, []uint32{unix.NETLINK_ROUTE, unix.NETLINK_SOCK_DIAG, unix.NETLINK_KOBJECT_UEVENT}, allow, refuse(unix.EPROTONOSUPPORT))
	out := []unix.SockFilter{argument(0)}
	for _, family := range []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6} {
		out = append(out, unless(unix.BPF_JEQ, family, 1), ret(allow))
	}
	out = append(out, unless(unix.BPF_JEQ, unix.AF_NETLINK, len(netlink)))
	out = append(out, netlink...)
	return append(out, ret(refuse(unix.EAFNOSUPPORT)))
}

// Flags of clone(2) and unshare(2). CLONE_NEWTIME lies where clone has its signal, whose number is smaller.
const (
	otherNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWTIME
	someNamespaces  = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
)

// calls lists what a contained program may not ask of the kernel. With namespaces, it may make such namespaces as a
// browser's own sandbox needs.
func calls(namespaces bool) []call {
	denied, missing := refuse(unix.EPERM), refuse(unix.ENOSYS)
	flags := uint32(otherNamespaces | someNamespaces)
	if namespaces {
		flags = otherNamespaces
	}
	out := []call{
		{number: unix.SYS_SOCKET, look: sockets()},
		{number: unix.SYS_SOCKETPAIR, look: oneOf(0, []uint32{unix.AF_UNIX}, allow, refuse(unix.EOPNOTSUPP))},
		{number: unix.SYS_CLONE, look: anyOf(0, flags, denied, allow)},
		{number: unix.SYS_UNSHARE, look: anyOf(0, flags, denied, allow)},
		{number: unix.SYS_CLONE3, then: missing}, // its flags lie in memory; libraries fall back to clone
		// Characters that are put into the terminal's input are commands to the shell outside (ioctl_tty(2)).
		{number: unix.SYS_IOCTL, look: oneOf(1, []uint32{unix.TIOCSTI, tioclinux}, denied, allow)},
	}
	for _, number := range []uint32{ // the files that are shown, and the namespaces, stay as they are
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR, unix.SYS_SETNS,
		unix.SYS_OPEN_BY_HANDLE_AT,
		// The kernel itself.
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	} {
		out = append(out, call{number: number, then: denied})
	}
	for _, number := range []uint32{
		// Its requests pass no filter.
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		// For a key the kernel starts a program outside, which looks names up (the type dns_resolver).
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
	} {
		out = append(out, call{number: number, then: missing})
	}
	return out
}

const tioclinux = 0x541c // ioctl_console(2)

// Filter gives the program for the architecture of this build. With namespaces, a contained program may make those that
// a browser's own sandbox needs; never one of mounts.
func Filter(namespaces bool) ([]unix.SockFilter, error) {
	switch runtime.GOARCH {
	case "amd64":
		return assemble(unix.AUDIT_ARCH_X86_64, true, calls(namespaces)), nil
	case "arm64":
		return assemble(unix.AUDIT_ARCH_AARCH64, false, calls(namespaces)), nil
	}
	return nil, fmt.Errorf("the system calls of %s are not known here", runtime.GOARCH)
}

// assemble puts the calls together. All others are let pass.
func assemble(arch uint32, x32 bool, calls []call) []unix.SockFilter {
	return assembleTo(arch, x32, calls, allow)
}

// assembleTo puts the calls together, and says what becomes of all others.
func assembleTo(arch uint32, x32 bool, calls []call, others verdict) []unix.SockFilter {
	// Another architecture has other numbers. A 32-bit program is ended at its first call.
	out := []unix.SockFilter{load(offArch), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arch, Jt: 1}, ret(kill), load(offNumber)}
	if x32 { // the numbers of x32 have this bit (syscall(2))
		out = append(out, unless(unix.BPF_JGE, 0x40000000, 1), ret(refuse(unix.ENOSYS)))
	}
	for _, c := range calls {
		look := c.look
		if len(look) == 0 {
			look = []unix.SockFilter{ret(c.then)}
		}
		out = append(append(out, unless(unix.BPF_JEQ, c.number, len(look))), look...)
	}
	return append(out, ret(others))
}
