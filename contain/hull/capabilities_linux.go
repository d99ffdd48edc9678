package hull

import (
	"golang.org/x/sys/unix"
)

// fileCapabilities is what root keeps: its rights over files and over its own processes, without which programs that
// expect to be root (apt, tar, chown) do not work. They count inside the program's user namespace only, and there
// over no mount, no network and no process of others. Nobody else keeps any.
func fileCapabilities() []int {
	return []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID,
		unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID,
	}
}

// dropCapabilities leaves this thread, and what it starts, those capabilities and no way to others. It reads back what
// it did.
func dropCapabilities(keep []int) error {
	fail := func(what string, err error) error {
		return &Error{Part: PartCapabilities, Reason: what, Err: err}
	}
	last, err := lastCapability()
	if err != nil {
		return err
	}
	var mask uint64
	for _, c := range keep {
		mask |= 1 << c
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fail("ambient capabilities cannot be dropped", err)
	}
	for c := range last + 1 {
		if mask&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fail("the bounding set cannot be made smaller", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	want := [2]unix.CapUserData{
		{Effective: uint32(mask), Permitted: uint32(mask)},
		{Effective: uint32(mask >> 32), Permitted: uint32(mask >> 32)},
	}
	if err := unix.Capset(&header, &want[0]); err != nil {
		return fail("capabilities cannot be dropped", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fail("new privileges cannot be renounced", err)
	}
	var have [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil || have != want {
		return fail("capabilities were not dropped", err)
	}
	for c := range last + 1 {
		if left, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil || (left == 1) != (mask&(1<<c) != 0) {
			return fail("the bounding set was not made smaller", err)
		}
	}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || set != 1 {
		return fail("new privileges were not renounced", err)
	}
	return nil
}
