package hull_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWaysPastANetworkNamespaceAreRefused(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		refusals := map[string]string{
			"vsock": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT", "packet": "EAFNOSUPPORT", "generic": "EPROTONOSUPPORT", "raw": "EPERM",
			"io_uring": "ENOSYS", "request_key": "ENOSYS", "keyctl": "ENOSYS", "clone3": "ENOSYS", "bpf": "EPERM", "mount": "EPERM",
			"setns": "EPERM", "unshare ipc": "EPERM", "unshare mounts": "EPERM", "clone user": "EPERM", "clone user mounts": "EPERM",
			"x32": "ENOSYS", "route": "done", "stream": "done",
		}
		var names, wanted []string
		for name, errno := range refusals {
			names, wanted = append(names, name), append(wanted, name+" "+errno)
		}
		r := l.role("calls", names...)
		want(t, "contained", r, strings.Join(wanted, "\n"))
		// An empty network namespace alone lets these pass, or at least looks at them.
		open := []string{"vsock", "io_uring", "request_key", "keyctl", "clone3", "clone user", "generic"}
		if l.uid == 0 {
			open = append(open, "packet", "raw")
		}
		for line := range strings.Lines(l.plain().role("calls", open...).out) {
			for _, name := range open {
				if strings.HasPrefix(line, name+" ") && strings.TrimSpace(line) == name+" "+refusals[name] {
					t.Errorf("without a hull, too: %s", line)
				}
			}
		}
	})
}

func TestNamespacesAreMadeWhereThePlanLetsThem(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		path := filepath.Join(l.dirIn("/srv"), "x.sock")
		listen(t, "unix", path)
		l.spec.Plan.Namespaces = true
		want(t, "contained", l.role("calls", "clone user", "clone user mounts", "unshare mounts", "mount"),
			// The first is a program in new namespaces, with all capabilities over these, that tries to mount.
			"mount EPERM\nclone user done\nclone user mounts EPERM\nunshare mounts EPERM\nmount EPERM")
		want(t, "in a namespace inside", l.run("/usr/bin/unshare", "-U", program, "role:unmount", path), "EPERM closed "+path)
	})
}

func TestNoCapabilityIsLeftButOfRootOverFiles(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		caps := "0000000000000000"
		if l.uid == 0 {
			caps = "00000000000000fb"
		}
		r := l.role("status")
		for _, line := range []string{
			"CapInh:\t0000000000000000", "CapPrm:\t" + caps, "CapEff:\t" + caps, "CapBnd:\t" + caps, "CapAmb:\t0000000000000000",
			"NoNewPrivs:\t1", "Seccomp:\t2",
		} {
			if !strings.Contains(r.out, line+"\n") {
				t.Errorf("no %q in %s", line, r.out)
			}
		}
		if r := l.run("/bin/cat", "/proc/1/environ"); r.code == 0 {
			t.Errorf("its init can be read: %+v", r)
		}
	})
}

func TestRootWorksWithTheFilesOfOthers(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		if l.uid != 0 || os.Getuid() != 0 {
			t.Skip("it is about root alone, who is tested where root runs the tests")
		}
		l.spec.Plan.Dir = l.dirIn("/srv")
		want(t, "contained", l.run("/bin/sh", "-c", "chmod 755 . && touch f && chown 12:34 f && chmod 400 f && cat f && stat -c %u:%g f && setpriv --reuid 12 --regid 34 --clear-groups cat f && echo read"),
			"12:34\nread")
	})
}

// The kernel's automounter has a program of the host look up what is named below it.
func TestTheAutomounterIsNotAsked(t *testing.T) {
	users(t, func(t *testing.T, l *launch) {
		if os.Getuid() != 0 {
			t.Skip("NOT TESTED: only root mounts an automounter")
		}
		asked := automounter(t, "/srv/net")
		want(t, "contained", l.role("look", "/srv/net/canary.example.net"), "ENOENT")
		want(t, "without a hull", l.plain().role("look", "/srv/net/canary.example.net"), "ENOENT")
		if names := asked(); names != "canary.example.net" {
			t.Errorf("asked for %q, want the name once: of the program without a hull", names)
		}
	})
}
