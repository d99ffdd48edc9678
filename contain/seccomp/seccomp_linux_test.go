package seccomp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ask runs a filter as the kernel would.
func ask(t *testing.T, code []unix.SockFilter, arch, number uint32, args ...uint32) verdict {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, c := range code {
		raw = append(raw, bpf.RawInstruction{Op: c.Code, Jt: c.Jt, Jf: c.Jf, K: c.K})
	}
	instructions, all := bpf.Disassemble(raw)
	if !all {
		t.Fatal("an instruction is none")
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 64) // struct seccomp_data, in the order of octets of this machine's words for the virtual one
	binary.BigEndian.PutUint32(data[offNumber:], number)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], a)
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return verdict(got)
}

func TestTheFilterKnowsWhatItLooksAt(t *testing.T) {
	const arch = unix.AUDIT_ARCH_X86_64
	strict, open := assemble(arch, true, calls(false)), assemble(arch, true, calls(true))
	for _, c := range []struct {
		what   string
		number uint32
		args   []uint32
		strict verdict
		open   verdict
	}{
		{"a file", unix.SYS_OPENAT, nil, allow, allow},
		{"a stream", unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM, 0}, allow, allow},
		{"a vsock", unix.SYS_SOCKET, []uint32{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, refuse(unix.EAFNOSUPPORT), refuse(unix.EAFNOSUPPORT)},
		{"routes", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allow, allow},
		{"audit", unix.SYS_SOCKET, []uint32{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, refuse(unix.EPROTONOSUPPORT), refuse(unix.EPROTONOSUPPORT)},
		{"a pair", unix.SYS_SOCKETPAIR, []uint32{unix.AF_UNIX, unix.SOCK_STREAM, 0}, allow, allow},
		{"a pair of TIPC", unix.SYS_SOCKETPAIR, []uint32{unix.AF_TIPC, unix.SOCK_STREAM, 0}, refuse(unix.EOPNOTSUPP), refuse(unix.EOPNOTSUPP)},
		{"a fork", unix.SYS_CLONE, []uint32{uint32(unix.SIGCHLD)}, allow, allow},
		{"a thread", unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SETTLS}, allow, allow},
		{"a user namespace", unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER | uint32(unix.SIGCHLD)}, refuse(unix.EPERM), allow},
		{"a sandbox", unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET}, refuse(unix.EPERM), allow},
		{"mounts", unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWUSER | unix.CLONE_NEWNS}, refuse(unix.EPERM), refuse(unix.EPERM)},
		{"files of its own", unix.SYS_UNSHARE, []uint32{unix.CLONE_FS | unix.CLONE_FILES}, allow, allow},
		{"clone3", unix.SYS_CLONE3, nil, refuse(unix.ENOSYS), refuse(unix.ENOSYS)},
		{"input", unix.SYS_IOCTL, []uint32{0, unix.TIOCSTI}, refuse(unix.EPERM), refuse(unix.EPERM)},
		{"a size", unix.SYS_IOCTL, []uint32{0, unix.TIOCGWINSZ}, allow, allow},
		{"a mount", unix.SYS_MOVE_MOUNT, nil, refuse(unix.EPERM), refuse(unix.EPERM)},
		{"a ring", unix.SYS_IO_URING_SETUP, nil, refuse(unix.ENOSYS), refuse(unix.ENOSYS)},
		{"a key", unix.SYS_REQUEST_KEY, nil, refuse(unix.ENOSYS), refuse(unix.ENOSYS)},
		{"x32", 0x40000000 + unix.SYS_SOCKET, []uint32{unix.AF_INET}, refuse(unix.ENOSYS), refuse(unix.ENOSYS)},
	} {
		if got := ask(t, strict, arch, c.number, c.args...); got != c.strict {
			t.Errorf("%s: %#x, want %#x", c.what, got, c.strict)
		}
		if got := ask(t, open, arch, c.number, c.args...); got != c.open {
			t.Errorf("%s, with namespaces: %#x, want %#x", c.what, got, c.open)
		}
	}
	if got := ask(t, strict, unix.AUDIT_ARCH_I386, 102, 1); got != kill {
		t.Errorf("another architecture: %#x", got)
	}
	if got := ask(t, assemble(unix.AUDIT_ARCH_AARCH64, false, calls(false)), unix.AUDIT_ARCH_AARCH64, unix.SYS_SOCKET, unix.AF_INET6); got != allow {
		t.Errorf("arm64: %#x", got)
	}
	// What is looked at in clone's first argument must not be taken for flags where it is the signal.
	for signal := range uint32(65) {
		if got := ask(t, strict, arch, unix.SYS_CLONE, signal); got != allow {
			t.Errorf("a child that ends with signal %d: %#x", signal, got)
		}
	}
}

func TestTheFilterIsNoLongerThanTheKernelTakes(t *testing.T) {
	code, err := Filter(false)
	if err != nil || len(code) == 0 || len(code) > 4096 {
		t.Errorf("%d instructions: %v", len(code), err)
	}
}
