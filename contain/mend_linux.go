package contain

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// obstacle is a setting of a host by which there are no namespaces for its users, and how it is changed.
type obstacle struct {
	path, value string // what the file says then
	reason      string
	root        bool // root is held up too
}

var obstacles = []obstacle{
	{"/proc/sys/user/max_user_namespaces", "0", "this host allows no user namespaces: `sudo sysctl user.max_user_namespaces=15000`, and the same in /etc/sysctl.d to last", true},
	{"/proc/sys/user/max_net_namespaces", "0", "this host allows no network namespaces: `sudo sysctl user.max_net_namespaces=15000`, and the same in /etc/sysctl.d to last", true},
	{"/proc/sys/kernel/unprivileged_userns_clone", "0", "this host allows user namespaces to root alone: `sudo sysctl kernel.unprivileged_userns_clone=1`, and the same in /etc/sysctl.d to last", false},
	{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor leaves programs without rights in user namespaces of their own: give this one a profile with `userns,` (docs/exec.md has it), or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`", false},
}

// forbidden adds to an error what about this host is the reason for it, as far as that can be seen; otherwise this, if anything.
func forbidden(err error, otherwise string) error {
	if why := cmp.Or(hindrance(os.ReadFile, os.Geteuid() == 0), otherwise); why != "" {
		return fmt.Errorf("%w\n%s", err, why)
	}
	return err
}

// perhapsChroot is the reason that cannot be seen from inside (user_namespaces(7), EPERM).
const perhapsChroot = "no setting of this host is known to forbid it; in a chroot there are none: enter the tree as its root mount, as `bwrap --bind TREE / --dev /dev --proc /proc` does"

// hindrance looks for what holds namespaces up.
func hindrance(read func(string) ([]byte, error), root bool) string {
	if b, err := read("/etc/resolv.conf"); err == nil && strings.HasPrefix(string(b), resolvers(false)) {
		return "this is inside `watertight exec` already, which holds all that is started in it: start the program as it is"
	}
	for _, o := range obstacles {
		b, err := read(o.path)
		if err == nil && strings.TrimSpace(string(b)) == o.value && (o.root || !root) {
			return o.reason
		}
	}
	if b, err := read("/proc/self/status"); err == nil && strings.Contains(string(b), "\nSeccomp:\t2") {
		return "a filter of system calls holds this process, as in containers: let it make namespaces (for Docker: `--security-opt seccomp=unconfined`, and `--security-opt apparmor=unconfined` where there is AppArmor), or run the proxy outside"
	}
	return ""
}

// networkFault says what to do about a network that could not be made.
func networkFault(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return forbidden(fmt.Errorf("make the network: %w: %w", ErrForbidden, err), "")
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("make the network: %w\nthis kernel has no nf_tables with TPROXY, or may not load it: `sudo modprobe -a nf_tables nft_tproxy`, and both names in a file of /etc/modules-load.d to last", err)
	}
	return fmt.Errorf("make the network: %w", err)
}
