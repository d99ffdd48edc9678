package contain

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHindrance_NamesTheSettingAndItsMend(t *testing.T) {
	for _, c := range []struct {
		file, text string
		root       bool
		want       string // empty: nothing is known
	}{
		{"/proc/sys/user/max_user_namespaces", "0\n", false, "sysctl user.max_user_namespaces="},
		{"/proc/sys/user/max_user_namespaces", "0\n", true, "sysctl user.max_user_namespaces="},
		{"/proc/sys/user/max_user_namespaces", "10\n", false, ""},
		{"/proc/sys/user/max_net_namespaces", "0\n", true, "sysctl user.max_net_namespaces="},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n", false, "sysctl kernel.unprivileged_userns_clone=1"},
		{"/proc/sys/kernel/unprivileged_userns_clone", "0\n", true, ""},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", false, "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", true, ""},
		{"/proc/self/status", "Name:\tx\nSeccomp:\t2\n", true, "--security-opt seccomp=unconfined"},
		{"/proc/self/status", "Name:\tx\nSeccomp:\t0\n", true, ""},
		{"/etc/resolv.conf", resolvers(true), true, "inside `watertight exec` already"},
		{"/etc/resolv.conf", "nameserver 192.0.2.1\n", true, ""},
	} {
		got := hindrance(func(path string) ([]byte, error) {
			if path == c.file {
				return []byte(c.text), nil
			}
			return nil, os.ErrNotExist
		}, c.root)
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s is %q, root %v: %q", c.file, c.text, c.root, got)
		}
	}
}

func TestNetworkFault_SaysWhatAKernelLacksAndWhatMendsIt(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{unix.ENOENT, "modprobe -a nf_tables nft_tproxy"}, // the expression is not there and cannot be loaded
		{unix.EOPNOTSUPP, "modprobe -a nf_tables nft_tproxy"},
		{unix.EPROTONOSUPPORT, "modprobe -a nf_tables nft_tproxy"}, // there is no netlink of netfilter
		{unix.EPERM, "does not allow user namespaces"},
		{unix.EINVAL, "make the network: the rule TPROXY: invalid argument"},
	} {
		if got := networkFault(fmt.Errorf("the rule TPROXY: %w", c.err)).Error(); !strings.Contains(got, c.want) || !strings.Contains(got, "the rule TPROXY") {
			t.Errorf("%v: %s", c.err, got)
		}
	}
}
