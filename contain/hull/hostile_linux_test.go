package hull_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// play is a hostile program: it tries one way out and prints what came of it, one line each.
func play(role string, args []string) int {
	switch role {
	case "connect":
		for _, path := range args {
			fmt.Println(connect(path))
		}
	case "listen":
		ln, err := net.Listen("unix", args[0])
		if err == nil {
			err = os.Chmod(args[0], 0o777)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("listening")
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = ln.Close()
	case "status":
		status()
	case "calls":
		for _, name := range args {
			fmt.Println(name, attempt(name))
		}
	case "unmount":
		fmt.Println(told(unix.Unmount("/run", unix.MNT_DETACH)), connect(args[0]))
	case "descriptors":
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			to, _ := os.Readlink("/proc/self/fd/" + e.Name())
			if !strings.HasPrefix(to, "/sys/fs/cgroup/") { // Go's own
				fmt.Println(e.Name(), to)
			}
		}
	case "processes": // ways to the files of others
		found, _ := filepath.Glob("/proc/[0-9]*/root" + args[0])
		for _, path := range found {
			fmt.Println(connect(path))
		}
		others, _ := filepath.Glob("/proc/[0-9]*")
		fmt.Println(len(others), "processes")
	case "environment":
		env := os.Environ()
		slices.Sort(env)
		fmt.Println(strings.Join(env, "\n"))
	case "anew": // connects descriptor 0, which was connected elsewhere, to 127.0.0.1 and a port
		var port uint16
		_, _ = fmt.Sscan(args[0], &port)
		dissolve := [16]byte{}
		anew := [16]byte{unix.AF_INET, 0, byte(port >> 8), byte(port), 127, 0, 0, 1}
		_, _, _ = unix.Syscall(sysConnect(), 0, uintptr(unsafe.Pointer(&dissolve)), 16)
		_, _, errno := unix.Syscall(sysConnect(), 0, uintptr(unsafe.Pointer(&anew)), 16)
		fmt.Println(toldErrno(errno))
	case "inject":
		c := byte('x')
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&c)))
		fmt.Println("inject", toldErrno(errno))
	case "write":
		for _, path := range args {
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				file.Close()
			}
			fmt.Println(path, told(err))
		}
	case "look":
		_, err := os.Stat(args[0])
		fmt.Println(told(err))
	}
	return 0
}

func status() {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		for _, key := range []string{"Cap", "NoNewPrivs", "Seccomp:"} {
			if strings.HasPrefix(line, key) {
				fmt.Print(line)
			}
		}
	}
}

// connect says whether a socket answers, of whatever type.
func connect(path string) string {
	for _, network := range []string{"unix", "unixgram", "unixpacket"} {
		if conn, err := net.Dial(network, path); err == nil {
			conn.Close()
			return "open " + path
		}
	}
	return "closed " + path
}

// told is "done", or the name of what the kernel said.
func told(err error) string {
	if err == nil {
		return "done"
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return toldErrno(errno)
	}
	return err.Error()
}

func toldErrno(errno unix.Errno) string {
	if errno == 0 {
		return "done"
	}
	return unix.ErrnoName(errno)
}

// Numbers that only package wire may name.
func sysSocket() uintptr  { return map[string]uintptr{"amd64": 41, "arm64": 198}[runtime.GOARCH] }
func sysConnect() uintptr { return map[string]uintptr{"amd64": 42, "arm64": 203}[runtime.GOARCH] }

const sysIOUringSetup = 425

// attempt makes a system call, and says what the kernel said. What it makes is closed again; a namespace ends with this
// process.
func attempt(name string) string {
	socket := func(domain, kind, protocol uintptr) string {
		fd, _, errno := unix.Syscall(sysSocket(), domain, kind, protocol)
		if errno == 0 {
			_ = unix.Close(int(fd))
		}
		return toldErrno(errno)
	}
	text := func(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData([]byte(s + "\x00")))) }
	call := func(number uintptr, args ...uintptr) string {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		return toldErrno(errno)
	}
	switch name {
	case "vsock":
		return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	case "alg":
		return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)
	case "packet":
		return socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	case "raw":
		return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	case "generic":
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC)
	case "route":
		return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	case "stream":
		return socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	case "io_uring":
		var params [120]byte
		return call(sysIOUringSetup, 4, uintptr(unsafe.Pointer(&params)))
	case "request_key": // as a kernel's file system does for a name: its helper, outside, resolves it
		return call(unix.SYS_REQUEST_KEY, text("dns_resolver"), text("canary.example.net"), text(""), 0)
	case "keyctl":
		return call(unix.SYS_KEYCTL, 0, uintptr(^uint32(3)+1), 0) // the identifier of the session's keyring
	case "clone3":
		return call(unix.SYS_CLONE3, 0, 0)
	case "mount":
		return told(unix.Mount("tmpfs", "/mnt", "tmpfs", 0, ""))
	case "setns":
		file, err := os.Open("/proc/self/ns/ipc")
		if err != nil {
			return told(err)
		}
		return told(unix.Setns(int(file.Fd()), 0))
	case "unshare ipc":
		return told(unix.Unshare(unix.CLONE_NEWIPC))
	case "unshare mounts":
		return told(unix.Unshare(unix.CLONE_NEWNS))
	case "clone user":
		return clone(unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET)
	case "clone user mounts":
		return clone(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)
	case "bpf":
		return call(unix.SYS_BPF, 0, 0, 0)
	case "x32":
		return call(0x40000000 + 39)
	}
	return "unknown"
}
