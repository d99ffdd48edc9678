package hull

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attr says how to start the child that will call [Enter]: in new user, network, mount, process, IPC and UTS
// namespaces, as the same user and group as here, with all capabilities over these namespaces and none over the
// host. It must be started with contain.Start, which ties its life to this process.
//
// Every user and group that this process may give away is there too, each under its own number: all of them for
// root, else its own alone, and then supplementary groups keep their rights but are shown as the overflow group.
func Attr() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  unix.SIGKILL,
	}
	last, err := lastCapability()
	if err != nil {
		return nil, err
	}
	for c := range last + 1 {
		attr.AmbientCaps = append(attr.AmbientCaps, uintptr(c)) // they survive the start of the child, whoever the user is
	}
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	if os.Geteuid() == 0 && may(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP) {
		if attr.UidMappings, err = identity("/proc/self/uid_map"); err != nil {
			return nil, err
		}
		if attr.GidMappings, err = identity("/proc/self/gid_map"); err != nil {
			return nil, err
		}
		// Where this namespace may not, one below it may not either (user_namespaces(7)).
		setgroups, err := os.ReadFile("/proc/self/setgroups")
		attr.GidMappingsEnableSetgroups = err == nil && strings.TrimSpace(string(setgroups)) == "allow"
	}
	return attr, nil
}

// identity maps every number that a file of /proc knows here to itself.
func identity(path string) ([]syscall.SysProcIDMap, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, &Error{Part: PartNamespaces, Reason: "the users of this namespace are not known", Err: err}
	}
	defer file.Close()
	var out []syscall.SysProcIDMap
	lines := bufio.NewScanner(file)
	for lines.Scan() && len(out) < 340 { // user_namespaces(7): the kernel takes 340
		var first, outside, count int
		if _, err := fmt.Sscan(strings.TrimSpace(lines.Text()), &first, &outside, &count); err != nil {
			return nil, &Error{Part: PartNamespaces, Reason: path + " cannot be read", Err: err}
		}
		out = append(out, syscall.SysProcIDMap{ContainerID: first, HostID: first, Size: count})
	}
	return out, lines.Err()
}

// may says whether this process has all of these capabilities.
func may(caps ...int) bool {
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}

// lastCapability is the highest one that this kernel knows (capabilities(7)).
func lastCapability() (int, error) {
	for c := range 64 {
		if _, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err != nil {
			if c <= unix.CAP_SYS_ADMIN {
				return 0, &Error{Part: PartCapabilities, Reason: "the kernel does not tell its capabilities", Err: err}
			}
			return c - 1, nil
		}
	}
	return 63, nil
}
