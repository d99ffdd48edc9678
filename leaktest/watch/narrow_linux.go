package watch

import (
	"debug/elf"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"watertight/contain/seccomp"
)

// The two names under which this program is the observer: while it gives up what it does not need, and then.
const (
	narrowName   = "watertight-watch-narrow"
	observerName = "watertight-watch"
)

// self is this program's own file.
const self = "/proc/self/exe"

// nobody is the user that the observer becomes, where root starts it and there is such a user.
const nobody = 65534

// Child becomes the observer, if this process was started for that; otherwise it returns at once. It must be called before
// anything else in main.
func Child() {
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case narrowName:
		err := narrow()
		_ = say(os.Stdout, word{Blind: err.Error()}) // if nobody hears it, nobody wants to know
		os.Exit(1)
	case observerName:
		os.Exit(observe())
	}
}

// narrow gives up all rights but one, and starts anew without them: a thread has rights of its own, and what is started by one
// has no more than it.
func narrow() error {
	runtime.LockOSThread()
	libraries, err := linked()
	if err != nil {
		return err
	}
	if err := onlyPackets(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("new privileges cannot be renounced: %w", err)
	}
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("files cannot be kept from the observer: %w", err)
	}
	code, err := seccomp.Observer(libraries)
	if err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(&prog)
	if err != nil {
		return fmt.Errorf("system calls cannot be filtered: %w", err)
	}
	err = unix.Exec(self, []string{observerName, os.Args[1]}, []string{"GOMEMLIMIT=256MiB", "GOMAXPROCS=2"})
	return fmt.Errorf("the observer cannot be started: %w", err)
}

// linked says whether this program needs libraries, as one that is built for tests may.
func linked() (bool, error) {
	f, err := elf.Open(self)
	if err != nil {
		return false, fmt.Errorf("this program's own file cannot be read: %w", err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return true, nil
		}
	}
	return false, nil
}

// onlyPackets leaves this thread CAP_NET_RAW, and no other capability.
func onlyPackets() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return fmt.Errorf("capabilities cannot be read: %w", err)
	}
	if have[0].Permitted&(1<<unix.CAP_NET_RAW) == 0 {
		return errNoRight
	}
	if have[0].Permitted&(1<<unix.CAP_SETPCAP) != 0 { // who may not, is not root, and gets no right by starting a program
		if err := bound(); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("the right to read packets cannot be kept: %w", err)
	}
	if err := beNobody(); err != nil {
		return err
	}
	want := [2]unix.CapUserData{{Effective: 1 << unix.CAP_NET_RAW, Permitted: 1 << unix.CAP_NET_RAW, Inheritable: 1 << unix.CAP_NET_RAW}}
	if have != want { // a service may not be let ask for what it has
		if err := unix.Capset(&header, &want[0]); err != nil {
			return fmt.Errorf("capabilities cannot be dropped: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_RAW, 0, 0); err != nil {
		return fmt.Errorf("the right to read packets cannot be kept: %w", err)
	}
	return nil
}

// bound makes the set of all capabilities that can ever be had the one that is needed.
func bound() error {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return fmt.Errorf("the capabilities of this kernel are not known: %w", err)
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("the capabilities of this kernel are not known: %w", err)
	}
	for c := range last + 1 {
		if c == unix.CAP_NET_RAW {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("the bounding set cannot be made smaller: %w", err)
		}
	}
	return nil
}

// beNobody becomes a user who owns nothing, where root starts it. It stays who it is in a user namespace without that user, and
// where others may not execute this program's file; no file can be opened then either.
func beNobody() error {
	info, err := os.Stat(self)
	if err != nil {
		return fmt.Errorf("this program's own file cannot be read: %w", err)
	}
	if os.Getuid() != 0 || info.Mode()&1 == 0 || !mapped("/proc/self/uid_map") || !mapped("/proc/self/gid_map") {
		return nil
	}
	if err := syscall.Setgroups(nil); err != nil {
		return fmt.Errorf("the groups cannot be left: %w", err)
	}
	if err := syscall.Setresgid(nobody, nobody, nobody); err != nil {
		return fmt.Errorf("the group cannot be changed: %w", err)
	}
	if err := syscall.Setresuid(nobody, nobody, nobody); err != nil {
		return fmt.Errorf("the user cannot be changed: %w", err)
	}
	return nil
}

// mapped says whether a user namespace has nobody in it (user_namespaces(7)).
func mapped(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for l := range strings.Lines(string(text)) {
		var inside, outside, count uint64
		if n, _ := fmt.Sscan(l, &inside, &outside, &count); n == 3 && inside <= nobody && nobody < inside+count {
			return true
		}
	}
	return false
}

// become gives this thread the right that the program was started with (a file's capability is not in force by itself).
func become() error {
	const right = 1 << unix.CAP_NET_RAW
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err == nil && have[0].Effective == right {
		return nil
	}
	want := [2]unix.CapUserData{{Effective: right, Permitted: right}}
	if err := unix.Capset(&header, &want[0]); err != nil {
		return errNoRight
	}
	return nil
}
