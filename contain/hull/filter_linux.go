package hull

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"watertight/contain/seccomp"
)

// installFilter puts this thread, and what it starts, under the filter. New privileges must be renounced before.
func installFilter(namespaces bool) error {
	code, err := seccomp.Filter(namespaces)
	if err != nil {
		return &Error{Part: PartSeccomp, Reason: "system calls cannot be filtered", Err: err, Mend: "run it on amd64 or arm64"}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(&prog)
	if err != nil {
		return &Error{Part: PartSeccomp, Reason: "system calls cannot be filtered", Err: err, Mend: "it takes a kernel with CONFIG_SECCOMP_FILTER"}
	}
	if mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil || mode != unix.SECCOMP_MODE_FILTER {
		return &Error{Part: PartSeccomp, Reason: "system calls are not filtered", Err: err}
	}
	return nil
}
