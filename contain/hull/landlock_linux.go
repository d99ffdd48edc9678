package hull

import (
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// landlock puts this thread, and what it starts, under Landlock (landlock(7)) as far as this kernel has it, and says
// what that holds. It takes no right over files away that a program had, and stands behind the other parts: mounts
// cannot be changed even past the filter; signals do not leave; and where the kernel can (ABI 9, Linux 7.1), no socket
// that was made outside is reached but the allowed ones, later ones included.
func landlock(sockets []string) (string, error) {
	abi, err := ruleset(nil, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if err != nil {
		return "nothing: this kernel does not have it: " + err.Error(), nil
	}
	if abi < 2 { // there, files could not be moved between directories
		return fmt.Sprintf("nothing: its version %d here would break programs", abi), nil
	}
	// A ruleset that handles any right over files forbids changes of mounts. These two stay allowed everywhere.
	const everywhere = unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	attr := unix.LandlockRulesetAttr{Handled_access_fs: everywhere}
	held := []string{"mounts"}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		held = append(held, "abstract sockets", "signals")
	}
	if abi >= 9 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
		held = append(held, "sockets")
	}
	fail := func(what string, err error) (string, error) {
		return "", &Error{Part: PartLandlock, Reason: what, Err: err}
	}
	set, err := ruleset(&attr, 0)
	if err != nil {
		return fail("no rules can be made", err)
	}
	defer unix.Close(set)
	if err := rule(set, "/", everywhere); err != nil {
		return fail("the rule for files cannot be made", err)
	}
	if abi >= 9 {
		for _, path := range sockets {
			if err := rule(set, path, unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX); err != nil {
				return fail("the rule for "+path+" cannot be made", err)
			}
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(set), 0, 0); errno != 0 {
		return fail("the rules cannot be put into force", errno)
	}
	return fmt.Sprintf("version %d: %s", abi, strings.Join(held, ", ")), nil
}

func ruleset(attr *unix.LandlockRulesetAttr, flags uintptr) (int, error) {
	size := uintptr(0)
	if attr != nil {
		size = unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped)
		if attr.Scoped == 0 {
			size = unsafe.Offsetof(attr.Handled_access_net) // what version 2 knows
		}
	}
	n, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(attr)), size, flags)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

func rule(set int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
